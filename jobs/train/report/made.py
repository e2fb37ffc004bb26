"""What a report is about."""

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.train.attempt import Attempt
from jobs.train.checkpoints.spool import Epoch
from jobs.train.data.dataset import Dataset
from jobs.train.data.learnt import Learnt
from jobs.train.data.taken_up import TakenUp
from jobs.train.data.yolo_dataset import classes_of
from jobs.train.judging import Judged
from shared.labelstudio.controls import Control


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a training made, and what is known of it."""

    attempt: Attempt
    control: Control
    dataset: Dataset
    judged: Judged
    taken_up: TakenUp
    learnt: Learnt  # what it learnt from
    epochs: Sequence[Epoch]  # of this attempt
    notes: Sequence[str]

    @property
    def names(self) -> tuple[str, ...]:
        """Class index → label."""
        return classes_of(self.control)

    @property
    def compared(self) -> tuple[int, ...]:
        """The classes that both models know."""
        ours, theirs = self.judged.ours, self.judged.theirs
        return tuple(class_ for class_ in ours.classes if theirs is None or class_ in theirs.classes)
