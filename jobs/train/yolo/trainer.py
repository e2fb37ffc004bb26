"""Fine-tuning and validation with ultralytics, which is imported inside functions only, as torch is."""

import contextlib
import csv
import json
import logging
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jobs.train.checkpoints.spool import Spool, TrainingAborted
from jobs.train.checkpoints.store import Resumed
from jobs.train.data.sides import Mirroring
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.data.yolo_scan import scan_notes
from jobs.train.tracking_scores import TrackingCounts
from jobs.train.training import (
    Contender,
    InitialWeights,
    Measured,
    Prepared,
    Seen,
    Trained,
    TrainingSettings,
    task_image_size,
)
from jobs.train.yolo.arguments import measured, mirroring_of, optimizer, schedule
from jobs.train.yolo.class_rows import with_classes_of
from jobs.train.yolo.data_yaml import count_images, outlines_per_image, place
from jobs.train.yolo.graph import check_packages
from jobs.train.yolo.machine import (
    batch_size,
    dataloader_workers,
    devices,
    shared_memory_free,
    step_images,
)
from jobs.train.yolo.memory import short_of_memory
from jobs.train.yolo.networks import Networks
from jobs.train.yolo.offline import place_downloads
from jobs.train.yolo.transfer import transferred
from jobs.train.yolo.weights import base_weights_file, check_weights, open_weights, write_published
from shared.cores import usable_cores
from shared.digest import sha256_of
from shared.errors import ModelError
from shared.geometry.tiles import Tiling
from shared.yolo_task import YoloTask

logger = logging.getLogger(__name__)

_CLASSIFY = {"auto_augment": None, "erasing": 0.0, "scale": 0.1}
"""Augmentation of a classifier. ultralytics' defaults distort colours, hide parts of the image and cut half of it away,
which suits ImageNet's millions of images. On dozens, whose classes often differ in just these, a classifier learnt in
half of the epochs without."""


class YoloTrainer:
    """Trains and validates with ultralytics, for one job (see `jobs.train.training.Trainer`)."""

    def __init__(
        self,
        folder: Path,
        *,
        surroundings: Path,
        weights_folder: Path,
        device: str = "auto",
        workers: int = -1,
        threads: int = 0,
    ) -> None:
        """`folder`: scratch. `surroundings`: what YOLO_CONFIG_DIR names. `weights_folder`: for downloaded base weights.

        `device`, `workers` and `threads` as LABELLOOP_DEVICE, LABELLOOP_WORKERS and LABELLOOP_THREADS.
        """
        self._folder = folder
        self._save_dir = (folder / "training").resolve()
        self._surroundings = surroundings
        self._weights_folder = weights_folder
        self._device = device
        self._workers = workers
        self._threads = threads
        self._networks = Networks(device, threads)

    def prepare(self, weights: str) -> Prepared:
        """Weights with their graph. A name without a folder may be one that ultralytics downloads.

        Raises ModelError, LabelloopError if a download failed, and SettingsError if a package is missing.
        """
        check_packages()
        path = base_weights_file(weights, self._weights_folder)
        from ultralytics.utils import ASSETS

        from jobs.train.yolo.agreement import require_same_answers

        open_weights(path)  # whose errors name the file as the operator did
        self._folder.mkdir(parents=True, exist_ok=True)
        copy = self._folder / "prepared.pt"
        shutil.copyfile(path, copy)
        graph = self.export(copy, self._folder)
        networks = Networks("cpu", self._threads)  # a GPU rounds more
        network, _ = networks.of_graph(graph)
        require_same_answers(network, networks.of_weights(copy, network), sorted(ASSETS.glob("*.jpg")))
        return Prepared(copy, graph, network.graph.yolo_task, network.graph.names)

    def base(self, path: Path, yolo_task: YoloTask) -> InitialWeights:
        """The base weights for a YOLO task.

        Detection weights serve every task: a model of the task's architecture takes over the tensors that fit. Raises
        ModelError, and SettingsError if a package is missing.
        """
        check_packages()
        model = open_weights(path)
        if model.task == yolo_task:
            return InitialWeights(path, path.name, sha256_of(path))
        self._folder.mkdir(parents=True, exist_ok=True)
        weights, called = transferred(model, yolo_task, path, self._folder)
        return InitialWeights(weights, called, sha256_of(path), own=False)

    def check(self, weights: Path, yolo_task: YoloTask) -> None:
        """Raises ModelError as predict does, SettingsError if the packages of this machine cannot read the file."""
        check_packages()
        check_weights(weights, yolo_task)

    def fit(
        self, data: Path, start: Path, settings: TrainingSettings, spool: Spool, resumed: Resumed | None
    ) -> Trained:
        """Train until the last epoch, until `patience` is used up or the spool's time is; answers the best epoch.

        Raises TrainingAborted, and ModelError if even a batch of one image needs too much memory.
        """
        device = devices(self._device)
        if resumed and (resumed.finished or spool.is_over()):
            return Trained(
                write_published(resumed.best or resumed.last, data, self._folder / "weights.pt"),
                resumed.epoch,
                batch=None,
            )
        place_downloads(self._surroundings, start)
        shutil.rmtree(self._save_dir, ignore_errors=True)  # of an attempt that was killed on this machine
        batch: int | None = None if resumed else batch_size(settings.batch, device)
        described = json.loads(data.read_text(encoding="utf-8"))
        mirrored = mirroring_of(described, settings)
        notes = (mirrored.why_not,) if mirrored.why_not else ()
        told = self._told(settings, mirrored, len(described["names"]))
        begun = start if resumed else self._begun(start, described, settings.seed)
        while True:
            model = open_weights(resumed.last if resumed else begun)
            for event, callback in spool.callbacks().items():
                model.add_callback(event, callback)
            model.add_callback("on_train_start", learn_points_from_afar)
            try:
                with _translated_errors(spool):
                    model.train(**self._arguments(data, model, settings, device, batch, resumed, told))
            except _OutOfMemory as error:
                batch, resumed = self._smaller(model, resumed, error)
                continue
            trainer = model.trainer
            best = trainer.best if trainer.best.exists() else trainer.last
            scanned = scan_notes(data, settings)
            for note in scanned:
                logger.warning(note, extra={"event": "dataset_note"})
            published = write_published(best, data, self._folder / "weights.pt")
            return Trained(published, finished_epochs(trainer), trainer.batch_size, told, notes + scanned)

    def export(self, weights: Path, folder: Path, tiling: Tiling | None = None) -> Path:
        """Write the graph of weights into a folder of scratch. Raises ModelError."""
        from jobs.train.yolo.graph import make_graph

        folder.mkdir(parents=True, exist_ok=True)
        copy = folder / weights.name  # ultralytics writes beside what it reads
        if not (copy.exists() and copy.samefile(weights)):
            shutil.copyfile(weights, copy)
        return make_graph(copy, tiling)

    def evaluate(self, contender: Contender, data: Path, weights: Path | None = None) -> Measured:
        """Measure a model on the val set of `data` (data.yaml), run as predict runs it.

        Raises ModelError, also if `weights`, of which the graph was made, do not answer as it does.
        """
        from jobs.train.yolo.agreement import answer_alike, require_same_score
        from jobs.train.yolo.val_set import ValSet
        from jobs.train.yolo.validation import measure

        network, at_once = self._networks.of_contender(contender)
        found = measure(network, contender, data, at_once=at_once)
        if weights is not None:
            theirs = self._networks.of_weights(weights, network, max_objects=contender.settings.max_objects)
            if not answer_alike(network, theirs, ValSet.of(data).pictures()):
                require_same_score(found.evidence, measure(theirs, contender, data, at_once=1).evidence)
        return found

    def look(self, contender: Contender, data: Path, pictures: Sequence[str]) -> list[Seen]:
        """What a model finds in some pictures of the val set. Raises ModelError."""
        from jobs.train.yolo.validation import look

        network, _ = self._networks.of_contender(contender)
        return look(network, contender, data, pictures)

    def track(
        self, contender: Contender, videos: Iterable[tuple[SnapshotTask, Path]], max_pixels: int
    ) -> dict[str, TrackingCounts]:
        """Id of the task → how well the objects in its annotated video are followed. Raises ModelError."""
        from jobs.train.yolo.tracking import track_metrics

        network, _ = self._networks.of_contender(contender)
        return track_metrics(network, contender, videos, max_pixels)

    def _arguments(
        self,
        data: Path,
        model: Any,
        settings: TrainingSettings,
        device: list[int] | str,
        batch: int | None,
        resumed: Resumed | None,
        told: dict[str, Any],
    ) -> dict[str, Any]:
        """The arguments of ultralytics' `train`. `told`: those that are noted in the manifest."""
        arguments: dict[str, Any] = {
            "data": place(data, model.task),
            "device": device,
            "workers": self._dataloader_workers(settings, device, batch or -1, outlines_per_image(data, model.task)),
            "save_dir": str(self._save_dir),
            "plots": False,
        }
        if batch is not None:
            arguments["batch"] = batch
        if resumed is None:
            return (
                arguments
                | told
                | {
                    "epochs": settings.epochs,
                    "imgsz": task_image_size(model.task, settings.image_size),
                    "nbs": step_images(count_images(data), -1 if batch is None else batch),
                    "freeze": min(settings.freeze, len(model.model.model) - 1) or None,  # never the head itself
                    "patience": settings.patience,
                    "seed": settings.seed,
                    "deterministic": True,
                    "exist_ok": True,
                    "verbose": False,
                    "cls_remap": False,  # ours is `class_rows`
                }
                | (_CLASSIFY if model.task == "classify" else {})
            )
        # The checkpoint holds the rest. Its best epoch has to be where ultralytics looks for it: ultralytics writes
        # that file only when an epoch is better.
        best = self._save_dir / "weights" / "best.pt"
        best.parent.mkdir(parents=True, exist_ok=True)
        if resumed.best and resumed.best != best:
            shutil.copyfile(resumed.best, best)
        return arguments | {"resume": True}

    def _told(self, settings: TrainingSettings, mirrored: Mirroring, classes: int) -> dict[str, Any]:
        """Arguments that change what is learnt, against ultralytics' defaults; the manifest holds them too."""
        flips = {"fliplr": mirrored.fliplr, "flipud": mirrored.flipud}
        return measured(settings) | schedule(settings.epochs) | optimizer(settings.learning_rate, classes) | flips

    def _begun(self, start: Path, described: dict[str, Any], seed: int) -> Path:
        """The weights that the first epoch begins with: `start`, with the labels as its classes."""
        import torch

        torch.manual_seed(seed)  # for the new tensors of the head
        self._folder.mkdir(parents=True, exist_ok=True)
        aliases = described.get("control", {}).get("predicted_values", {})
        return with_classes_of(open_weights(start), described["names"], aliases, self._folder / "begun.pt") or start

    def _smaller(self, model: Any, resumed: Resumed | None, error: Exception) -> tuple[int, Resumed | None]:
        """Half the batch, and this process's newest checkpoint, if any, to continue from. Raises ModelError."""
        trainer = model.trainer
        tried = int(trainer.batch_size)
        if tried <= max(trainer.world_size, 1):
            raise ModelError(
                "the device has too little memory even for one image a step: set LABELLOOP_IMAGE_SIZE smaller or take "
                "smaller LABELLOOP_BASE_WEIGHTS"
            ) from error
        logger.warning(
            f"out of memory with {tried} images a step: going on with {tried // 2}",
            extra={"event": "out_of_memory", "batch": tried},
        )
        if trainer.last.exists():
            best = trainer.best if trainer.best.exists() else None
            resumed = Resumed(trainer.last, best, getattr(trainer, "epoch", 0), trainer.epochs)
        return tried // 2, resumed

    def _dataloader_workers(
        self, settings: TrainingSettings, device: list[int] | str, batch: int, outlines: float
    ) -> int:
        return dataloader_workers(
            self._workers,
            device=device,
            cores=usable_cores(),
            shared_memory=shared_memory_free(),
            batch=batch,
            image_size=settings.image_size,
            outlines=outlines,
        )


def finished_epochs(trainer: Any) -> int:
    """Number of finished epochs of a training that is over. With several GPUs, other processes wrote it into a file."""
    if not trainer.ddp:
        return int(trainer.epoch) + 1
    with trainer.csv.open(encoding="utf-8", newline="") as rows:
        *_, last = csv.DictReader(rows)
    return int(last["epoch"])


def learn_points_from_afar(trainer: Any) -> None:
    """Let the loss use ultralytics' own sigmas: with those of the validation, points that are far off learn nothing.

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
