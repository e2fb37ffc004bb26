"""One attempt of one run: what all its steps need, in one frozen value."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.train.checkpoints import Checkpoints
from jobs.train.frozen import Frozen
from jobs.train.heartbeat import Heartbeat
from jobs.train.images import Pictures
from jobs.train.progress import ProgressWriter
from jobs.train.spool import Spool
from jobs.train.training import Trainer, TrainingSettings
from shared.claims import Claim
from shared.jobs import Jobs
from shared.labelstudio.config import Control
from shared.objectstore import ObjectStore
from shared.registry import Registry, encode_control

_TRAINING_SHARE = 0.9  # of the longest run


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The parts and facts of an attempt whose data is frozen."""

    store: ObjectStore
    jobs: Jobs
    registry: Registry
    trainer: Trainer
    pictures: Pictures
    heartbeat: Heartbeat
    progress: ProgressWriter
    claim: Claim
    frozen: Frozen
    settings: TrainingSettings
    folder: Path  # scratch of this run
    abort: Path  # when this file appears, training ends
    fetch_concurrency: int
    seconds_left: Callable[[], float]  # until the longest run is over

    @property
    def run_id(self) -> str:
        """Of the run."""
        return self.claim.run_id

    def folder_of(self, control: Control, name: str) -> Path:
        """A folder for one control's files of one kind."""
        path = self.folder / encode_control(control.name) / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def checkpoints_of(self, control: Control) -> Checkpoints:
        """The store's checkpoints of a control."""
        return Checkpoints(self.store, self.jobs, self.run_id, control.name, self.claim.attempt)

    def spool_of(self, control: Control, *, controls_left: int) -> Spool:
        """Where a training leaves its epochs; it may take its share of the time that is left.

        Some of it stays for validation and upload: a claim that ends with a trained model in hand loses it.
        """
        stop_at = time.time() + _TRAINING_SHARE * self.seconds_left() / controls_left
        return Spool(self.folder_of(control, f"spool-{self.claim.attempt}"), self.abort, stop_at)
