"""Records of one run, kept below `runs/<uid>/<run_id>/`, and TRAIN_REQUEST, which tells a job its run."""

import logging
import secrets
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import AwareDatetime, Field, ValidationError

from shared.errors import AlreadyExists, BadRequest, StoreRefusal
from shared.labelstudio.requests import ProjectCounters
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.budget import NO_BUDGET, Budget
from shared.state.records import AnyRecord, Record, find, load

logger = logging.getLogger(__name__)

RunPhase = Literal[
    "launching",
    "prepare",
    "export",
    "dataset",
    "train",
    "gate",
    "publish",
    "promote",
    "finished",
    "unchanged",
    "failed",
    "interrupted",
    "stopped",
]
ENDED: tuple[RunPhase, ...] = ("finished", "unchanged", "failed", "stopped")


def new_run_id(now: datetime) -> str:
    """A new id. It begins with the time, so that the order of run ids is that of a project's runs.

    To the second: no project has two runs in one.
    """
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"


class Totals(Record):
    """Label Studio's own counters of a project, by its names."""

    task_number: int = 0
    total_annotations_number: int = 0
    num_tasks_with_annotations: int = 0
    useful_annotation_number: int = 0
    ground_truth_number: int = 0
    skipped_annotations_number: int = 0

    @classmethod
    def of(cls, counters: ProjectCounters) -> Self:
        """As Label Studio has told them."""
        return cls.model_validate(counters.model_dump(include=set(cls.model_fields)))


class Baseline(Record):
    """What Label Studio held when a run started its export: changes are counted from there."""

    totals: Totals
    read_at: AwareDatetime  # Label Studio's clock
    digest: str | None = None  # of all (annotation id, updated_at); None: the run failed before it had read them
    labels: dict[str, dict[str, int]] = Field(default_factory=dict)  # control → label → annotated tasks that hold it,
    # also labels that the config did not have; a control that lacks: an older labelloop did not count


class RunRequest(Record):
    """`request.json`: what a run is to do. TRAIN_REQUEST says only where it is."""

    run_id: str
    project_uid: str
    project_id: int
    reason: str
    created_at: AwareDatetime
    settings: dict[str, Any] = Field(default_factory=dict)  # training settings, with the project's overrides


class TrainRequest(Record):
    """TRAIN_REQUEST: the variable that a launcher sets for its job."""

    store: str
    project_uid: str
    run_id: str
    kind: str = "train"  # a RunKind
    base_weights: str = ""  # of a prelabelling: those that the trigger knows, whatever the job's settings say. Else
    # each would write another version than the trigger waits for, and be followed by the next one
    workers: int = Field(default=1, ge=1)  # jobs that this launch starts at once, all with this request
    budget: Budget = NO_BUDGET  # as the trigger's settings and the project's overrides say

    @classmethod
    def parse(cls, text: str) -> "TrainRequest":
        """Raises BadRequest."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise BadRequest(
                f"TRAIN_REQUEST is not a request of labelloop: {error.error_count()} problems in {len(text)} characters"
            ) from error


class Progress(Record):
    """`progress.json`: how far the run is, for people; nothing is decided by it."""

    phase: str  # a RunPhase, or a word of a newer labelloop
    attempt: int
    updated_at: AwareDatetime
    control: str | None = None
    epoch: int | None = None
    epochs: int | None = None
    eta_seconds: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)  # of the newest epoch, on the val set
    val_tasks: int = 0  # tasks that the metrics were measured on
    val_things: int = 0  # annotated objects in those tasks
    checkpoint: str | None = None  # key of the newest one
    checkpoint_sha256: str | None = None
    message: str = ""
    error: str | None = None


class Writing(Record):
    """`prelabel.json`: how far a project's newest prelabelling is, for people; nothing is decided by it."""

    run_id: str
    version: str  # model_version of the predictions
    done: int  # tasks that it has looked at
    tasks: int  # that it has to look at
    updated_at: AwareDatetime


class RunFiles:
    """The files of one project's runs."""

    def __init__(self, store: ObjectStore, uid: str) -> None:
        self._store = store
        self._uid = uid

    def write_request(self, request: RunRequest) -> None:
        """Create the request of a run; a later attempt keeps the first one."""
        with suppress(AlreadyExists):
            self._store.create(self._key(request.run_id, "request.json"), request.to_json())

    def request(self, run_id: str) -> RunRequest:
        """The request of a run. Raises NotFound."""
        return load(RunRequest, self._store, self._key(run_id, "request.json"))[0]

    def write_progress(self, run_id: str, progress: Progress) -> None:
        """Write without condition: the last write wins."""
        self._store.put(self._key(run_id, "progress.json"), progress.to_json())

    def progress(self, run_id: str) -> Progress | None:
        """None before the first write."""
        return self._told(Progress, self._key(run_id, "progress.json"))

    def write_writing(self, writing: Writing) -> None:
        """Write how far a prelabelling is, without condition: the last write wins."""
        self._store.put(keys.prelabel(self._uid), writing.to_json())

    def writing(self) -> Writing | None:
        """How far the newest prelabelling is; None before the first."""
        return self._told(Writing, keys.prelabel(self._uid))

    def _told(self, kind: type[AnyRecord], key: str) -> AnyRecord | None:
        """A record that only informs: one that is no valid one is as none, and the next write replaces it."""
        try:
            return find(kind, self._store, key)[0]
        except StoreRefusal as error:
            logger.warning(str(error), extra={"event": "progress_not_told", "project": self._uid})
            return None

    def kept_an_epoch(self, run_id: str, attempt: int) -> bool:
        """Whether an attempt left a checkpoint of its own in the store."""
        name = f"/{keys.checkpoint_index(attempt)}"
        return any(key.endswith(name) for key in self._store.list(f"{keys.checkpoints(self._uid, run_id)}/"))

    def _key(self, run_id: str, name: str) -> str:
        return keys.run(self._uid, run_id, name)
