"""What is written about one run under `runs/<run_id>/`, and the one line that tells a job which run it is."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, ValidationError

from shared.errors import BadRequest
from shared.records import Record

RunPhase = Literal[
    "launching",
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
]
ENDED: tuple[RunPhase, ...] = ("finished", "unchanged", "failed")


class RunRequest(Record):
    """`runs/<run_id>/request.json`: everything a run needs. TRAIN_REQUEST holds only where to find it."""

    run_id: str
    project_uid: str
    project_id: int
    reason: str
    created_at: datetime
    settings: dict[str, Any] = Field(default_factory=dict)  # training settings, project overrides applied


class TrainRequest(Record):
    """TRAIN_REQUEST: what a launcher tells the job."""

    store: str
    project_uid: str
    run_id: str

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
    """`runs/<run_id>/progress.json`: for people and for resuming; nothing is decided by it."""

    phase: RunPhase
    attempt: int
    updated_at: datetime
    control: str | None = None
    epoch: int | None = None
    epochs: int | None = None
    eta_seconds: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    checkpoint: str | None = None  # key of the newest
    checkpoint_sha256: str | None = None
    message: str = ""
    error: str | None = None
