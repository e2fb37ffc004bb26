"""The parts of the job: what `__main__` builds and `run` uses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from jobs.train.data.addresses import reference
from jobs.train.data.annotations import ExportedTask
from jobs.train.experiment_tracker import NoTracker, Tracker
from jobs.train.training import Trainer
from shared.labelstudio.api import ProjectState
from shared.media.fetch import Fetcher
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.budget import NO_BUDGET, Budget


class Exporter(Protocol):
    """Reads a project of Label Studio; waits out its short outages."""

    def project(self, project_id: int) -> ProjectState:
        """Counters, config and Label Studio's clock. Raises ProjectGone, Unauthorized, LabelStudioError."""

    def shown_versions(self, project_id: int) -> list[str]:
        """The model_version of each prediction that Label Studio holds, each once. Raises the same errors."""

    def tasks(self, project_id: int, is_same: Callable[[int, str], bool]) -> Iterator[ExportedTask]:
        """All tasks, by ascending id; of those of which `is_same(id, seen)` is true without annotations.

        Raises ProjectGone, Unauthorized, LabelStudioError.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What one attempt of a run works with."""

    store: ObjectStore
    project_uid: str
    exporter: Exporter
    images: Fetcher
    videos: Fetcher
    trainer: Trainer
    settings: Settings
    folder: Path  # scratch of this run
    budget: Budget = NO_BUDGET
    adopt: Callable[[str], str] = reference  # an image's address → what stands for it in the snapshot
    tracker: Tracker = field(default_factory=NoTracker)
    image_key: Callable[[str], str] | None = None  # an image's address → its key in the store; None: not kept there
