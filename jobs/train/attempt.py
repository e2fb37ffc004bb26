"""One attempt of one run: what all its steps need, in one frozen value."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.train.checkpoints.spool import Spool
from jobs.train.checkpoints.store import Checkpoints
from jobs.train.data.files import ImageFiles
from jobs.train.data.snapshot import Snapshot
from jobs.train.heartbeat import Heartbeat
from jobs.train.progress import ProgressWriter
from jobs.train.training import Trainer, TrainingSettings
from shared.errors import SettingsError
from shared.labelstudio.config import Control
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.claims import Claim
from shared.state.jobs import Jobs
from shared.state.registry import Registry

_TRAINING_SHARE = 0.9  # of the longest run
MIN_TO_TRAIN = 0.1
"""What the export and the images must leave of the longest run, for all controls together: with less, a training would
be cut off after a few epochs, and what it had learnt by then would be judged as if it were done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The parts and facts of an attempt whose data is frozen."""

    store: ObjectStore  # waits out an outage until the claim is lost
    raw_store: ObjectStore  # does not: for what must not stop the training
    jobs: Jobs
    registry: Registry
    trainer: Trainer
    images: ImageFiles
    heartbeat: Heartbeat
    progress: ProgressWriter
    claim: Claim
    snapshot: Snapshot
    settings: TrainingSettings
    folder: Path  # scratch of this run
    abort: Path  # when this file appears, training ends
    fetch_concurrency: int
    seconds_left: Callable[[], float]  # until the longest run is over
    min_seconds: float  # that a control needs to train
    last: bool  # the run fails if this attempt does

    @property
    def run_id(self) -> str:
        """Of the run."""
        return self.claim.run_id

    def check_of(self, control: Control) -> Callable[[], None]:
        """What to call before each task of a control's dataset; it raises ClaimLost.

        And SettingsError if images took the time to train, unless an earlier attempt left a checkpoint to end with.
        """
        goes_on = self.claim.attempt > 1 and self.checkpoints_of(control).are_left()
        longest = self.settings.longest_run

        def check() -> None:
            self.heartbeat.check()
            left = self.seconds_left()
            if left < self.min_seconds and not goes_on:
                raise SettingsError(
                    f"reading annotations and images{', and earlier attempts,' if self.claim.spent else ''} took "
                    f"{longest - left:.0f} of the {longest:.0f} s that a run may take: too little is left to train. "
                    "Set LABELLOOP_LONGEST_RUN higher (with more LABELLOOP_FETCH_CONCURRENCY images may come faster)"
                )

        return check

    def folder_of(self, control: Control, name: str) -> Path:
        """A folder for one control's files of one kind."""
        path = self.folder / keys.encode(control.name) / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def checkpoints_of(self, control: Control) -> Checkpoints:
        """The store's checkpoints of a control."""
        return Checkpoints(
            self.raw_store, self.jobs, self.run_id, control.name, self.claim.attempt, read_from=self.store
        )

    def spool_of(self, control: Control, *, controls_left: int) -> Spool:
        """Where a training leaves its epochs; it may take its share of the time that is left.

        Some of it stays for validation and upload: a claim that ends with a trained model in hand loses it.
        """
        stop_at = time.time() + _TRAINING_SHARE * self.seconds_left() / controls_left
        return Spool(self.folder_of(control, f"spool-{self.claim.attempt}"), self.abort, stop_at)
