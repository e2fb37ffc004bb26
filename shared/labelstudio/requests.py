"""What Label Studio sends: bodies of its calls to an ML backend and of its webhooks. Unknown fields are ignored."""

import json
import re
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, FailFast, Field, ValidationError

from shared.errors import BadRequest

Count = Annotated[int, BeforeValidator(lambda value: 0 if value is None else value)]
"""A counter; Label Studio sends null for a project that was made just now."""
_UID = re.compile(r"([0-9]{1,18})(\.[0-9]{1,18})?")


class Received(BaseModel):
    """A body that somebody else wrote."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Raises BadRequest, which names the fields and never repeats their values."""
        try:
            try:
                return cls.model_validate_json(body)
            except ValidationError as error:
                if "recursion limit" not in error.errors(include_url=False, include_input=False)[0]["msg"]:
                    raise
            # Label Studio lets a value be nested deeper than pydantic reads: the other tasks of the request go on.
            return cls.model_validate(json.loads(body))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)
            where = "; ".join(
                f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}" for problem in problems[:3]
            )
            raise BadRequest(f"the request is not a {cls.__name__} of Label Studio: {where}") from error
        except (RecursionError, ValueError) as error:
            raise BadRequest(f"the request is nested too deep, or is no {cls.__name__} of Label Studio") from error


class Task(Received):
    """One task, as `/predict` receives it."""

    id: int | None = None  # absent in a preview of the labeling config
    data: dict[str, Any] = Field(default_factory=dict)


class PredictRequest(Received):
    """`POST /predict`. `project` is the uid."""

    tasks: Annotated[list[Task], FailFast()]  # or each of a million wrong ones becomes an error in memory
    project: str
    label_config: str


class TaskList(Received):
    """`POST /predict` for who only counts the tasks."""

    tasks: list[Any]


class SetupRequest(Received):
    """`POST /setup`. `hostname` and `access_token` of the body are left out on purpose: they are never used."""

    project: str
    schema_: str = Field(alias="schema")
    extra_params: Any = None


class ValidateRequest(Received):
    """`POST /validate`: a labeling config."""

    config: str


class ProjectCounters(Received):
    """The project inside a webhook. Deletion events of organisation-wide webhooks carry the id alone."""

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
        """The project uid, as Label Studio itself makes it: `<id>.<int(created_at timestamp)>`."""
        return f"{self.id}.{int(self.created_at.timestamp())}" if self.created_at else None


class Event(Received):
    """`POST /webhook`: an event, or START_TRAINING from the button. With "send payload" off only `action` comes."""

    action: str
    project: ProjectCounters | None = None


class JobStatusRequest(Received):
    """`POST /job_status`. `job` is what the answer to START_TRAINING named: `<uid>/<run_id>`."""

    job: str


class TrainCall(Received):
    """`POST /train` of older Label Studios. `project` is the uid."""

    project: str


def project_id(uid: str) -> int:
    """Label Studio's id in a project uid `<id>.<timestamp>`. Raises BadRequest."""
    found = _UID.fullmatch(uid)
    if found is None:
        raise BadRequest(f"{json.dumps(uid)[:80]} is not a project uid (<id>.<created_at timestamp>)")
    return int(found[1])
