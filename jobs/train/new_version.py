"""A version before it has a number: all that its manifest and its report are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.train.attempt import Attempt
from jobs.train.checkpoints.spool import Epoch
from jobs.train.data.dataset import Dataset
from jobs.train.data.learnt import Learnt
from jobs.train.data.taken_up import TakenUp
from jobs.train.data.yolo_dataset import classes_of
from jobs.train.judging import Judged
from jobs.train.training import InitialWeights, Trained
from shared.labelstudio.controls import Control


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """What a training made of a control, and what is known of it."""

    attempt: Attempt
    control: Control
    start: InitialWeights
    dataset: Dataset
    learnt: Learnt  # what it learnt from, as a file
    trained: Trained
    epochs: Sequence[Epoch]  # of this attempt
    graph: Path
    judged: Judged
    taken_up: TakenUp  # the predictions of the served version

    @property
    def names(self) -> tuple[str, ...]:
        """Class index → label."""
        return classes_of(self.control)

    @property
    def compared(self) -> tuple[int, ...]:
        """The classes that both models know."""
        ours, theirs = self.judged.ours, self.judged.theirs
        return tuple(class_ for class_ in ours.classes if theirs is None or class_ in theirs.classes)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the report."""
        return (*self.judged.notes, *self.trained.notes, *filter(None, [self.trained.stopped]))
