"""A folder in which a running training writes each epoch's metrics and a copy of its checkpoint, for the uploader.

ultralytics pickles callbacks into the processes of a multi-GPU training. So they hold paths and numbers only, no client
and no lock, and this module imports neither torch nor ultralytics.
"""

import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shared.errors import LabelloopError


class TrainingAborted(LabelloopError):
    """The training stopped because the abort file exists."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One finished epoch."""

    number: int  # from 1
    epochs: int  # that the training will have
    metrics: dict[str, float]  # see named_metrics
    best: bool  # the best so far
    finished_at: float  # time.time()


def named_metrics(found: dict[str, Any]) -> dict[str, float]:
    """ultralytics' metrics under labelloop's names.

    precision, recall, mAP50 and mAP50-95 are those of masks (M) or poses (P) if the model has them, with `box mAP50-95`
    of the boxes (B); else those of boxes, rotated or not. Of a classifier: top1 and top5. What is no number (NaN, as
    where a training diverges) is left out: no record can hold it.
    """
    shape = next((letter for letter in "MPB" if f"metrics/mAP50-95({letter})" in found), "")
    keys = {name: f"metrics/{name}({shape})" for name in ("precision", "recall", "mAP50", "mAP50-95")}
    keys |= {"top1": "metrics/accuracy_top1", "top5": "metrics/accuracy_top5"}
    if shape != "B":
        keys["box mAP50-95"] = "metrics/mAP50-95(B)"
    named = {name: float(found[key]) for name, key in keys.items() if key in found}
    return {name: value for name, value in named.items() if math.isfinite(value)}


def finish_file_of(abort: Path) -> Path:
    """The file beside an abort file; once it exists, the training ends at its next checkpoint, which is judged."""
    return abort.with_name(f"{abort.name}-enough")


@dataclass(frozen=True, slots=True)
class Spool:
    """The folder, and the callbacks that write to it."""

    folder: Path
    abort: Path  # the training ends at once if this file exists
    stop_at: float  # time.time() after which no further epoch starts; nor once `finish_file_of(abort)` exists

    def is_over(self) -> bool:
        """Whether the training has no time left."""
        return time.time() >= self.stop_at or finish_file_of(self.abort).exists()

    def callbacks(self) -> dict[str, Callable[[Any], None]]:
        """ultralytics event → callback."""
        return {
            "on_train_batch_end": self.on_batch,
            "on_model_save": self.on_model_save,
            "teardown": self.on_teardown,
        }

    def on_batch(self, trainer: Any) -> None:
        """After each batch: raise TrainingAborted if the abort file exists; end the training if its time is over."""
        if self.abort.exists():
            raise TrainingAborted("the training was told to stop")
        # With several GPUs no process may leave an epoch alone: there `on_model_save` ends the training.
        if trainer.world_size <= 1 and self.is_over():
            trainer.stop = True

    def on_model_save(self, trainer: Any) -> None:
        """After each epoch: copy its checkpoint, which ultralytics overwrites in the next one, and write its event."""
        epoch = Epoch(
            number=trainer.epoch + 1,
            epochs=trainer.epochs,
            metrics=named_metrics(trainer.metrics),
            best=trainer.best_fitness == trainer.fitness,
            finished_at=time.time(),
        )
        self.add(epoch, trainer.last)
        if self.is_over():
            trainer.stop = True

    def on_teardown(self, trainer: Any) -> None:  # noqa: ARG002  (ultralytics gives it)
        """Write the error that ends this process to a file: with several GPUs the parent would not learn it."""
        error = sys.exc_info()[1]
        if error is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "failure.txt").write_text(f"{type(error).__name__}: {error}")

    def failure(self) -> str:
        """The error that ended a training process; empty if none was written."""
        path = self.folder / "failure.txt"
        return path.read_text() if path.exists() else ""

    def forget_failure(self) -> None:
        """Remove the error before the training is tried again."""
        (self.folder / "failure.txt").unlink(missing_ok=True)

    def add(self, epoch: Epoch, checkpoint: Path) -> None:
        """Copy the checkpoint, then write the event: an event's checkpoint is always complete."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / "checkpoint.part"
        shutil.copyfile(checkpoint, partial)
        partial.replace(self.checkpoint(epoch))
        partial = self.folder / "event.part"
        partial.write_text(json.dumps(asdict(epoch)))
        partial.replace(self._event(epoch))

    def epochs(self) -> Iterator[Epoch]:
        """All epochs in the folder, oldest first."""
        for path in sorted(self.folder.glob("*.json")):
            yield Epoch(**json.loads(path.read_text()))

    def checkpoint(self, epoch: Epoch) -> Path:
        """The path of an epoch's checkpoint."""
        return self.folder / f"{epoch.number:06d}.pt"

    def remove(self, epoch: Epoch) -> None:
        """Remove an epoch and its checkpoint."""
        self._event(epoch).unlink(missing_ok=True)
        self.checkpoint(epoch).unlink(missing_ok=True)

    def _event(self, epoch: Epoch) -> Path:
        return self.folder / f"{epoch.number:06d}.json"
