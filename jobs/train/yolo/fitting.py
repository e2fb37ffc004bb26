"""One training with ultralytics, which is imported inside functions only, as torch is."""

import contextlib
import csv
import json
import logging
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jobs.train.checkpoints.spool import Spool, TrainingAborted
from jobs.train.checkpoints.store import Resumed
from jobs.train.data.yolo_scan import scan_notes
from jobs.train.training import Trained, TrainingSettings
from jobs.train.yolo import arguments
from jobs.train.yolo.class_rows import with_classes_of
from jobs.train.yolo.data_yaml import count_images, outlines_per_image, place
from jobs.train.yolo.machine import batch_size, dataloader_workers, shared_memory_free, use_bfloat16
from jobs.train.yolo.memory import short_of_memory
from jobs.train.yolo.weights import open_weights, write_published
from shared.cores import usable_cores
from shared.errors import ModelError

logger = logging.getLogger(__name__)


class Fitting:
    """A training on one dataset. When memory runs out, it continues with half the batch."""

    def __init__(
        self,
        data: Path,
        settings: TrainingSettings,
        spool: Spool,
        *,
        folder: Path,
        device: list[int] | str,
        workers: int,
        float32: bool,
        tried: Mapping[str, Any],
    ) -> None:
        """`data`: data.yaml. `folder`: scratch. `device`: ultralytics' argument. `workers`: as LABELLOOP_WORKERS.

        `float32`: in no fewer bits. `tried`: arguments of ultralytics that replace labelloop's.
        """
        self._data = data
        self._settings = settings
        self._spool = spool
        self._folder = folder
        self._save_dir = (folder / "training").resolve()
        self._device = device
        self._workers = workers
        self._float32 = float32
        self._tried = tried
        self._described: dict[str, Any] = json.loads(data.read_text(encoding="utf-8"))

    def run(self, start: Path, resumed: Resumed | None) -> Trained:
        """Train from the weights `start`, or go on from `resumed`; answers the best epoch. Raises as `Trainer.fit`."""
        settings = self._settings
        shutil.rmtree(self._save_dir, ignore_errors=True)  # of an attempt that was killed on this machine
        batch = None if resumed else batch_size(settings.batch, self._device)
        mirrored = arguments.mirroring_of(self._described, settings)
        notes = (mirrored.why_not,) if mirrored.why_not else ()
        learning = arguments.of_learning(settings, mirrored, len(self._described["names"]))
        begun = start if resumed else self._begun(start)
        while True:
            model = open_weights(resumed.last if resumed else begun)
            for event, callback in self._spool.callbacks().items():
                model.add_callback(event, callback)
            model.add_callback("on_train_start", use_default_sigmas)
            if not self._float32:
                model.add_callback("on_train_start", use_bfloat16)
            try:
                with _translated_errors(self._spool):
                    model.train(**(self._arguments(model, batch, resumed, learning) | dict(self._tried)))
            except _OutOfMemory as error:
                batch, resumed = _smaller(model.trainer, resumed, error)
                continue
            trainer = model.trainer
            best = trainer.best if trainer.best.exists() else trainer.last
            scanned = scan_notes(self._data, settings)
            for note in scanned:
                logger.warning(note, extra={"event": "dataset_note"})
            published = write_published(best, self._data, self._folder / "weights.pt")
            return Trained(published, finished_epochs(trainer), trainer.batch_size, learning, notes + scanned)

    def _begun(self, start: Path) -> Path:
        """The weights that the first epoch begins with: `start`, with the labels as its classes."""
        import torch

        torch.manual_seed(self._settings.seed)  # for the new tensors of the head
        self._folder.mkdir(parents=True, exist_ok=True)
        names, aliases = self._described["names"], self._described.get("control", {}).get("predicted_values", {})
        return with_classes_of(open_weights(start), names, aliases, self._folder / "begun.pt") or start

    def _arguments(
        self, model: Any, batch: int | None, resumed: Resumed | None, learning: dict[str, Any]
    ) -> dict[str, Any]:
        """The arguments of ultralytics' `train`. `learning`: those that the manifest holds too."""
        data, settings = self._data, self._settings
        workers = dataloader_workers(
            self._workers,
            device=self._device,
            cores=usable_cores(),
            shared_memory=shared_memory_free(),
            batch=batch or -1,
            image_size=settings.image_size,
            outlines=outlines_per_image(data, model.task),
        )
        found = {
            "data": place(data, model.task),
            "device": self._device,
            "workers": workers,
            "save_dir": str(self._save_dir),
            "plots": False,
            "amp": not self._float32,
        }
        if batch is not None:
            found["batch"] = batch
        if resumed is None:
            images, layers = count_images(data), len(model.model.model)
            first = arguments.of_first_attempt(
                settings, model.task, images=images, batch=-1 if batch is None else batch, layers=layers
            )
            return found | learning | first
        # The checkpoint holds the rest. Its best epoch has to be where ultralytics looks for it: ultralytics writes
        # that file only when an epoch is better.
        best = self._save_dir / "weights" / "best.pt"
        best.parent.mkdir(parents=True, exist_ok=True)
        if resumed.best and resumed.best != best:
            shutil.copyfile(resumed.best, best)
        return found | {"resume": True}


def _smaller(trainer: Any, resumed: Resumed | None, error: Exception) -> tuple[int, Resumed | None]:
    """Half the batch, and this process's newest checkpoint, if any, to continue from. Raises ModelError."""
    tried = int(trainer.batch_size)
    if tried <= max(trainer.world_size, 1):
        raise ModelError(
            "the device has too little memory even for one image a step: set LABELLOOP_IMAGE_SIZE smaller or take "
            "smaller LABELLOOP_BASE_WEIGHTS"
        ) from error
    logger.warning(
        f"out of memory with {tried} images a step: continuing with {tried // 2}",
        extra={"event": "out_of_memory", "batch": tried},
    )
    if trainer.last.exists():
        best = trainer.best if trainer.best.exists() else None
        resumed = Resumed(trainer.last, best, getattr(trainer, "epoch", 0), trainer.epochs)
    return tried // 2, resumed


def finished_epochs(trainer: Any) -> int:
    """Number of finished epochs of a training that is over. With several GPUs, other processes wrote it into a file."""
    if not trainer.ddp:
        return int(trainer.epoch) + 1
    with trainer.csv.open(encoding="utf-8", newline="") as rows:
        *_, last = csv.DictReader(rows)
    return int(last["epoch"])


def use_default_sigmas(trainer: Any) -> None:
    """Let the loss use the default sigmas of ultralytics: with those of the validation, points far off are not learnt.

    The other processes of a training on several GPUs load this function by its name.
    """
    from ultralytics.utils.torch_utils import unwrap_model

    for network in (unwrap_model(trainer.model), trainer.ema.ema):
        if hasattr(network, "kpt_oks_sigmas"):
            network.kpt_oks_sigmas = None


class _OutOfMemory(Exception):
    """The device's memory is too small for the batch."""


@contextlib.contextmanager
def _translated_errors(spool: Spool) -> Iterator[None]:
    """Raise TrainingAborted or _OutOfMemory for the errors that mean so, also those of other GPUs' processes."""
    spool.forget_failure()
    try:
        yield
    except (RuntimeError, subprocess.CalledProcessError) as error:
        message = f"{error} {spool.failure()}"
        if spool.abort.exists():
            raise TrainingAborted("the training was told to stop") from error
        if short_of_memory(message):
            raise _OutOfMemory(message) from error
        raise
