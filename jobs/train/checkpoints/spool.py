"""What a training leaves behind for the job while it goes on: epoch events and checkpoint copies in a folder.

ultralytics' multi-GPU training pickles its callbacks into other processes. So they hold paths and numbers only, no
client and no lock, and this module imports neither torch nor ultralytics.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shared.errors import LabelloopError


class TrainingAborted(LabelloopError):
    """The job told its training to stop at once."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One finished epoch."""

    number: int  # from 1
    epochs: int
    metrics: dict[str, float]
    best: bool  # the best so far: its checkpoint is both the newest and the best one
    finished_at: float  # time.time()


def named_metrics(found: dict[str, Any]) -> dict[str, float]:
    """ultralytics' metrics under labelloop's names.

    precision, recall, mAP50 and mAP50-95 are those of masks (M) or poses (P) where the model makes them, with the
    boxes' (B) mAP50-95 beside; else those of its boxes, rotated or not. Of a classifier: top1 and top5.
    """
    shape = next((letter for letter in "MPB" if f"metrics/mAP50-95({letter})" in found), "")
    keys = {name: f"metrics/{name}({shape})" for name in ("precision", "recall", "mAP50", "mAP50-95")}
    keys |= {"top1": "metrics/accuracy_top1", "top5": "metrics/accuracy_top5"}
    if shape != "B":
        keys["box mAP50-95"] = "metrics/mAP50-95(B)"
    return {name: float(found[key]) for name, key in keys.items() if key in found}


@dataclass(frozen=True, slots=True)
class Spool:
    """The folder, and the callbacks that fill it."""

    folder: Path
    abort: Path  # when this file appears, training ends at once
    stop_at: float  # time.time() after which no further epoch starts

    def callbacks(self) -> dict[str, Callable[[Any], None]]:
        """ultralytics event → callback."""
        return {
            "on_train_batch_end": self.on_batch,
            "on_model_save": self.on_model_save,
            "teardown": self.on_teardown,
        }

    def on_batch(self, trainer: Any) -> None:
        """Abort or time is up: look once a batch. Raises TrainingAborted."""
        if self.abort.exists():
            raise TrainingAborted("the training was told to stop")
        # In multi-GPU training one process alone must not leave the epoch: there the end of the epoch decides.
        if trainer.world_size <= 1 and time.time() >= self.stop_at:
            trainer.stop = True

    def on_model_save(self, trainer: Any) -> None:
        """After each epoch's checkpoint: copy it (ultralytics overwrites the file in place) and note the epoch."""
        epoch = Epoch(
            number=trainer.epoch + 1,
            epochs=trainer.epochs,
            metrics=named_metrics(trainer.metrics),
            best=trainer.best_fitness == trainer.fitness,
            finished_at=time.time(),
        )
        self.add(epoch, trainer.last)
        if time.time() >= self.stop_at:
            trainer.stop = True

    def on_teardown(self, trainer: Any) -> None:  # noqa: ARG002  (ultralytics gives it)
        """A process of a multi-GPU training dies without telling its parent why: note what is being raised."""
        error = sys.exc_info()[1]
        if error is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "failure.txt").write_text(f"{type(error).__name__}: {error}")

    def failure(self) -> str:
        """What ended a training process; empty if nothing was noted."""
        path = self.folder / "failure.txt"
        return path.read_text() if path.exists() else ""

    def forget_failure(self) -> None:
        """Before the training is tried again."""
        (self.folder / "failure.txt").unlink(missing_ok=True)

    def add(self, epoch: Epoch, checkpoint: Path) -> None:
        """The event appears only when its checkpoint is complete."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / "checkpoint.part"
        shutil.copyfile(checkpoint, partial)
        partial.replace(self.checkpoint(epoch))
        partial = self.folder / "event.part"
        partial.write_text(json.dumps(asdict(epoch)))
        partial.replace(self._event(epoch))

    def epochs(self) -> Iterator[Epoch]:
        """What is there, oldest first."""
        for path in sorted(self.folder.glob("*.json")):
            yield Epoch(**json.loads(path.read_text()))

    def checkpoint(self, epoch: Epoch) -> Path:
        """The checkpoint of an epoch."""
        return self.folder / f"{epoch.number:06d}.pt"

    def remove(self, epoch: Epoch) -> None:
        """Forget an epoch."""
        self._event(epoch).unlink(missing_ok=True)
        self.checkpoint(epoch).unlink(missing_ok=True)

    def _event(self, epoch: Epoch) -> Path:
        return self.folder / f"{epoch.number:06d}.json"
