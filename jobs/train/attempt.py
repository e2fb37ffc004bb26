"""One attempt of one run: the parts and facts that all its steps need."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.train.checkpoints.spool import Spool
from jobs.train.checkpoints.store import Checkpoints
from jobs.train.data.files import ImageFiles
from jobs.train.data.snapshot import Snapshot
from jobs.train.experiment_tracker import Tracker
from jobs.train.progress import ProgressWriter
from jobs.train.training import Trained, Trainer, TrainingSettings
from shared.errors import BudgetSpent, SettingsError
from shared.labelstudio.controls import Control
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.heartbeat import Heartbeat
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim
from shared.state.registry import Registry
from shared.state.spending import Spending

_TRAINING_SHARE = 0.9  # of the longest run


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
    seconds_left: Callable[[], float]  # until the run has taken `settings.longest_run`
    spending: Spending
    min_part: float  # of the longest run, or of a smaller budget, that must be left for one control's training
    tracker: Tracker
    last: bool  # no attempt follows: the run fails if this attempt fails

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.claim.run_id

    def check_of(self, control: Control) -> Callable[[], None]:
        """A function to call before each task of a control's dataset is read.

        It raises ClaimLost, or if too little time is left to train and no earlier attempt left a checkpoint,
        SettingsError (of the longest run) or BudgetSpent (of the budget: there will be more).
        """
        can_resume = self.claim.attempt > 1 and self.checkpoints_of(control).are_left()
        longest = self.settings.longest_run

        def check() -> None:
            self.heartbeat.check()
            if can_resume:
                return
            left = self.seconds_left()
            if left < self.min_part * longest:
                raise SettingsError(
                    f"reading annotations and images{', and earlier attempts,' if self.claim.spent else ''} took "
                    f"{longest - left:.0f} of the {longest:.0f} s that a run may take: too little is left to train. "
                    "Set LABELLOOP_LONGEST_RUN higher (with more LABELLOOP_FETCH_CONCURRENCY images may come faster)"
                )
            if self.spending.seconds_left() < self.min_part * min(longest, self.spending.longest):
                raise BudgetSpent(f"too little time is left to train: {self.spending.why}")

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

    def stopped_early(self, trained: Trained, spool: Spool, epochs: int) -> str:
        """A sentence about a training that its time ended before its epochs or its patience did; else empty."""
        if trained.epochs >= epochs or not spool.is_over():
            return ""
        budget = self.spending.seconds_left() < self.seconds_left()
        why = self.spending.why if budget else f"LABELLOOP_LONGEST_RUN is {self.settings.longest_run:.0f} s"
        return f"the training stopped after {trained.epochs} of {epochs} epochs: {why}"

    def spool_of(self, control: Control, *, controls_left: int) -> Spool:
        """The spool of a control's training, which may take an equal share of the time and of the budget that is left.

        A tenth is kept back for validation and upload: a trained model is lost if the claim ends before its upload.
        """
        left = min(self.seconds_left(), self.spending.seconds_left())
        stop_at = time.time() + _TRAINING_SHARE * left / controls_left
        return Spool(self.folder_of(control, f"spool-{self.claim.attempt}"), self.abort, stop_at)
