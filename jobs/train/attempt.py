"""One attempt of one run: the parts and facts that all its steps need."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.train.checkpoints.spool import Spool
from jobs.train.checkpoints.store import Checkpoints
from jobs.train.data.files import ImageFiles
from jobs.train.data.snapshot import Snapshot
from jobs.train.progress import ProgressWriter
from jobs.train.training import Trainer, TrainingSettings
from shared.errors import SettingsError
from shared.labelstudio.controls import Control
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.heartbeat import Heartbeat
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim
from shared.state.registry import Registry

_TRAINING_SHARE = 0.9  # of the longest run
MIN_TO_TRAIN = 0.1
"""Part of the longest run that must be left for training, all controls together, once annotations and images are read.

With less, training would end after a few epochs and the gate would judge a half-trained model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt whose snapshot is written."""

    store: ObjectStore  # a PatientStore: retries during an outage until the claim is lost
    raw_store: ObjectStore  # fails at once: for checkpoints, which must not delay the training
    jobs: Jobs
    registry: Registry
    trainer: Trainer
    images: ImageFiles
    heartbeat: Heartbeat
    progress: ProgressWriter
    claim: Claim
    snapshot: Snapshot
    settings: TrainingSettings
    folder: Path  # scratch folder of this run
    abort: Path  # training ends as soon as this file exists
    fetch_concurrency: int
    seconds_left: Callable[[], float]  # until the run has taken `settings.longest_run`
    min_seconds: float  # that must be left for one control's training
    last: bool  # no attempt follows: the run fails if this attempt fails

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.claim.run_id

    def check_of(self, control: Control) -> Callable[[], None]:
        """A function to call before each task of a control's dataset is read.

        It raises ClaimLost, or SettingsError if too little time is left to train and no earlier attempt left a
        checkpoint.
        """
        can_resume = self.claim.attempt > 1 and self.checkpoints_of(control).are_left()
        longest = self.settings.longest_run

        def check() -> None:
            self.heartbeat.check()
            left = self.seconds_left()
            if left < self.min_seconds and not can_resume:
                raise SettingsError(
                    f"reading annotations and images{', and earlier attempts,' if self.claim.spent else ''} took "
                    f"{longest - left:.0f} of the {longest:.0f} s that a run may take: too little is left to train. "
                    "Set LABELLOOP_LONGEST_RUN higher (with more LABELLOOP_FETCH_CONCURRENCY images may come faster)"
                )

        return check

    def folder_of(self, control: Control, name: str) -> Path:
        """The scratch folder `name` of one control; made if it does not exist."""
        path = self.folder / keys.encode(control.name) / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def checkpoints_of(self, control: Control) -> Checkpoints:
        """The checkpoints of a control in the store."""
        return Checkpoints(
            self.raw_store, self.jobs, self.run_id, control.name, self.claim.attempt, read_from=self.store
        )

    def spool_of(self, control: Control, *, controls_left: int) -> Spool:
        """The spool of a control's training, which may take an equal share of the time that is left.

        A tenth is kept back for validation and upload: a trained model is lost if the claim ends before its upload.
        """
        stop_at = time.time() + _TRAINING_SHARE * self.seconds_left() / controls_left
        return Spool(self.folder_of(control, f"spool-{self.claim.attempt}"), self.abort, stop_at)
