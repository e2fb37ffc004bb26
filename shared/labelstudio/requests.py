"""Bodies of Label Studio's calls to an ML backend and of its webhooks. Unknown fields are ignored."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Self, overload

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from shared.errors import BadRequest
from shared.labelstudio.deep_json import parse_deep_json
from shared.labelstudio.json_reader import only_members
from shared.labelstudio.predict_body import PredictBody

Count = Annotated[int, BeforeValidator(lambda value: 0 if value is None else value)]
"""A counter; Label Studio sends null for a new project."""


def _or(default: Any) -> WrapValidator:
    """Validator that replaces an invalid value by `default`."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            return default

    return WrapValidator(validate)


_UID = re.compile(r"([0-9]{1,18})(\.[0-9]{1,18})?")


class Received(BaseModel):
    """Base of the bodies that labelloop receives."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Parse a body. Raises BadRequest, which names the invalid fields but never their values."""
        try:
            return cls._read(body)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)
            where = "; ".join(
                f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}" for problem in problems[:3]
            )
            raise BadRequest(f"the request is not a {cls.__name__} of Label Studio: {where}") from error

    @classmethod
    def _read(cls, body: bytes) -> Self:
        """Parse with pydantic, which is fast but refuses deep JSON and lone surrogates; else with `parse_deep_json`.

        Raises ValidationError.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as refused:
            try:
                return cls.model_validate(parse_deep_json(body))
            except ValueError as error:
                if isinstance(error, ValidationError):
                    raise
                raise refused from error


class Task(Received):
    """One task of `POST /predict`."""

    id: Annotated[int | None, _or(None)] = None  # absent in a preview of the labeling config
    data: Annotated[dict[str, Any], _or({})] = Field(default_factory=dict)
    is_labeled: Annotated[bool, _or(False)] = False  # it has as many annotations as the project wants
    drafts: Any = None  # of the first task of a request: the annotations that are not submitted yet


class Tasks(Sequence[Task]):
    """The tasks of a body, each parsed at access: a million tasks take no more memory than the body."""

    def __init__(self, body: PredictBody) -> None:
        self._body = body

    def __len__(self) -> int:
        return len(self._body)

    @overload
    def __getitem__(self, which: int) -> Task: ...

    @overload
    def __getitem__(self, which: slice) -> list[Task]: ...

    def __getitem__(self, which: int | slice) -> Task | list[Task]:
        chosen = range(len(self))[which]
        return [self._read(index) for index in chosen] if isinstance(chosen, range) else self._read(chosen)

    def _read(self, index: int) -> Task:
        """One task; a task without data if it is malformed, so that the others are answered."""
        try:
            return Task._read(self._body.task(index))
        except ValidationError:
            return Task()


INTERACTIVE_SECONDS = 4.0
"""How long an annotator's smart tool waits for an answer, at most: then it is answered empty."""


class InteractiveParams(Received):
    """`params` of `POST /predict`."""

    context: Any = None  # the regions drawn with a smart tool


class PredictRequest(Received):
    """`POST /predict`. `project` is the uid. A malformed task is a task without data; the others are answered."""

    tasks: list[Annotated[Task, _or(Task())]]
    project: str
    label_config: str
    params: Annotated[InteractiveParams, _or(InteractiveParams())] = Field(default_factory=InteractiveParams)

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """As `receive`, of a whole body."""
        return cls.receive([body])

    @classmethod
    def receive(cls, chunks: Iterable[bytes]) -> Self:
        """Parse a body from a stream; `tasks` are `Tasks`. Raises BadRequest, and what `chunks` raises."""
        body = PredictBody(chunks)
        return super().parse(body.rest).model_copy(update={"tasks": Tasks(body)})

    @property
    def interactive(self) -> bool:
        """Whether an annotator's smart tool asks (a click or a box to be turned into a region)."""
        return self.params.context is not None


class SetupRequest(Received):
    """`POST /setup`. The body's `hostname` and `access_token` are left out on purpose: they are never used."""

    project: str
    schema_: str = Field(alias="schema")
    extra_params: Any = None


class ValidateRequest(Received):
    """`POST /validate`: a labeling config."""

    config: str


class ProjectCounters(Received):
    """The project of a webhook's event. Deletion events of organisation-wide webhooks have only its id."""

    id: int
    title: str = ""
    label_config: str = ""
    created_at: AwareDatetime | None = None
    task_number: Count = 0
    total_annotations_number: Count = 0
    num_tasks_with_annotations: Count = 0
    useful_annotation_number: Count = 0
    ground_truth_number: Count = 0
    skipped_annotations_number: Count = 0

    @property
    def uid(self) -> str | None:
        """The project uid, as Label Studio makes it: `<id>.<int(created_at timestamp)>`; None without `created_at`."""
        return f"{self.id}.{int(self.created_at.timestamp())}" if self.created_at else None


class Event(Received):
    """`POST /webhook`: an event, or START_TRAINING from the button. With "send payload" off it has only `action`."""

    action: str
    project: ProjectCounters | None = None

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Parse only `action` and `project`: payloads hold whole tasks and masks. Raises BadRequest."""
        return super().parse(only_members(body, (b'"action"', b'"project"')))


class JobStatusRequest(Received):
    """`POST /job_status`. `job` is from the answer to START_TRAINING: `<uid>/<run_id>`."""

    job: str


class TrainCall(Received):
    """`POST /train` of older Label Studios. `project` is the uid."""

    project: str


class PrelabelCall(Received):
    """`POST /prelabel` of `labelloop prelabel`. `project` is the uid."""

    project: str


class StopCall(Received):
    """`POST /stop` of `labelloop stop`. `project` is the uid."""

    project: str
    only: Literal["training", "predictions"] | None = None  # None: both


def is_uid(text: str) -> bool:
    """Whether it is a project uid `<id>.<timestamp>`, or an id alone."""
    return _UID.fullmatch(text) is not None


def project_id(uid: str) -> int:
    """Label Studio's project id, from a project uid `<id>.<timestamp>`. Raises BadRequest."""
    found = _UID.fullmatch(uid)
    if found is None:
        raise BadRequest(f"{json.dumps(uid)[:80]} is not a project uid (<id>.<created_at timestamp>)")
    return int(found[1])
