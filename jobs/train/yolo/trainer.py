"""Fine-tuning and validation with ultralytics. torch and ultralytics are imported here only, inside functions."""

import contextlib
import csv
import json
import logging
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from jobs.train.checkpoints.spool import Spool, TrainingAborted
from jobs.train.checkpoints.store import Resumed
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.data.yolo_scan import scan_notes
from jobs.train.training import InitialWeights, Measured, Trained, TrainingSettings
from jobs.train.yolo.arguments import measured, mirroring_of, schedule
from jobs.train.yolo.class_rows import with_classes_of
from jobs.train.yolo.machine import (
    batch_size,
    dataloader_workers,
    devices,
    shared_memory_free,
    step_images,
    task_image_size,
)
from jobs.train.yolo.sides import Mirroring
from jobs.train.yolo.tracking_scores import TrackingCounts
from jobs.train.yolo.transfer import transferred
from shared.cores import usable_cores
from shared.digest import sha256_of
from shared.errors import ModelError, SettingsError
from shared.labelstudio.controls import Control
from shared.yolo.base_weights import base_weights_file
from shared.yolo_task import YoloTask

logger = logging.getLogger(__name__)

_AMP_CHECK = "yolo26n.pt"  # the weights that ultralytics would download to see whether half precision works
_FULLEST = 16  # images
_VALIDATED = 8  # images at once
_FONTS = ("Arial.ttf", "Arial.Unicode.ttf")  # that it would download for plots, also when it draws none
_CLASSIFY = {"auto_augment": None, "erasing": 0.0, "scale": 0.1}
"""ultralytics' own distort colours, hide parts of the image and cut half of it away, as ImageNet's millions bear. On
dozens of images, which people often tell apart by just these, a classifier learnt in half of the epochs without."""


class YoloTrainer:
    """One ultralytics for one job. `folder` is scratch; `surroundings` is what YOLO_CONFIG_DIR names."""

    def __init__(
        self, folder: Path, *, surroundings: Path, weights_folder: Path, device: str = "auto", workers: int = -1
    ) -> None:
        self._folder = folder
        self._save_dir = (folder / "training").resolve()
        self._surroundings = surroundings
        self._weights_folder = weights_folder
        self._device = device
        self._workers = workers

    def base(self, name: str, yolo_task: YoloTask) -> InitialWeights:
        """The base weights. A bare name is one that ultralytics knows and downloads. Raises ModelError.

        Weights for detect serve every task: its architecture takes over the tensors that fit.
        """
        path = base_weights_file(name, self._weights_folder)
        model = _model(path)
        if model.task == yolo_task:
            return InitialWeights(path, path.name, sha256_of(path))
        self._folder.mkdir(parents=True, exist_ok=True)
        weights, said = transferred(model, yolo_task, path, self._folder)
        return InitialWeights(weights, said, sha256_of(path), own=False)

    def check(self, weights: Path, yolo_task: YoloTask) -> None:
        """Raises ModelError as predict does, SettingsError if the packages of this machine cannot read the file."""
        from ultralytics.models import YOLO

        try:
            found = YOLO(str(weights)).task
        except TypeError as error:  # ultralytics' word for a file that is damaged, or no checkpoint of its own
            raise ModelError(f"{weights.name} cannot be loaded: {error}") from error
        except (KeyError, AttributeError, ModuleNotFoundError) as error:
            raise SettingsError(
                f"{weights.name} cannot be loaded by ultralytics {package_version('ultralytics')} of this machine "
                f"({type(error).__name__}: {error}): install the version that made it, or a newer one"
            ) from error
        if found != yolo_task:
            raise ModelError(f"{weights.name} is for {found}, its manifest says {yolo_task}")

    def fit(
        self, data: Path, start: Path, settings: TrainingSettings, spool: Spool, resumed: Resumed | None
    ) -> Trained:
        """Train until the last epoch, `patience`, or the spool says that time is up; the best epoch's weights.

        Raises TrainingAborted, ModelError if even a batch of one image needs too much memory.
        """
        device = devices(self._device)
        if resumed and (resumed.finished or time.time() >= spool.stop_at):
            return Trained(self._published(resumed.best or resumed.last, data), resumed.epoch, batch=None)
        self._surround(start)
        shutil.rmtree(self._save_dir, ignore_errors=True)  # of an attempt that was killed on this machine
        batch: int | None = None if resumed else batch_size(settings.batch, device)
        described = json.loads(data.read_text(encoding="utf-8"))
        mirrored = mirroring_of(described, settings)
        notes = (mirrored.why_not,) if mirrored.why_not else ()
        told = self._told(settings, mirrored)
        begun = start if resumed else self._begun(start, described, settings.seed)
        while True:
            model = _model(resumed.last if resumed else begun)
            for event, callback in spool.callbacks().items():
                model.add_callback(event, callback)
            model.add_callback("on_train_start", learn_points_from_afar)
            try:
                with _told_apart(spool):
                    model.train(**self._arguments(data, model, settings, device, batch, resumed, told))
            except _OutOfMemory as error:
                batch, resumed = self._smaller(model, resumed, error)
                continue
            trainer = model.trainer
            best = trainer.best if trainer.best.exists() else trainer.last
            scanned = scan_notes(data, settings)
            for note in scanned:
                logger.warning(note, extra={"event": "dataset_note"})
            published = self._published(best, data)
            return Trained(published, finished_epochs(trainer), trainer.batch_size, told, notes + scanned)

    def evaluate(
        self,
        weights: Path,
        data: Path,
        control: Control,
        settings: TrainingSettings,
        *,
        trained: bool,
        points: Sequence[str],
    ) -> Measured:
        """What `weights` show on the val set of `data`, run as predict runs them. Raises ModelError."""
        from jobs.train.yolo.validation import measure

        device = devices(self._device)
        batch = settings.batch or _VALIDATED
        while True:
            try:
                with _broken_weights(weights):
                    return measure(
                        _model(weights),
                        data,
                        control,
                        settings,
                        trained=trained,
                        points=points,
                        batch=batch,
                        device=device[0] if isinstance(device, list) else device,
                        workers=self._dataloader_workers(settings, device, batch, _outlines(data, control.yolo_task)),
                        plots=False,
                        verbose=False,
                        project=str(self._folder.resolve()),
                        name="val",
                        exist_ok=True,
                    )
            except (RuntimeError, MemoryError) as error:
                if not (isinstance(error, MemoryError) or _short_of_memory(str(error))) or batch == 1:
                    raise
                logger.warning(
                    f"out of memory validating {batch} images at once: going on with {batch // 2}",
                    extra={"event": "out_of_memory", "batch": batch},
                )
            batch //= 2  # outside of the except clause, which holds what took the memory
            _free_memory()

    def track(
        self,
        weights: Path,
        videos: Iterable[tuple[SnapshotTask, Path]],
        control: Control,
        settings: TrainingSettings,
        *,
        trained: bool,
        max_pixels: int,
    ) -> dict[str, TrackingCounts]:
        """How well the objects in annotated videos are followed, by task."""
        from jobs.train.yolo.tracking import track_metrics

        device = devices(self._device)
        first = device[0] if isinstance(device, list) else device
        return track_metrics(
            weights,
            videos,
            control,
            trained=trained,
            image_size=settings.image_size,
            device=first,
            max_pixels=max_pixels,
        )

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
        arguments: dict[str, Any] = {
            "data": _place(data, model.task),
            "device": device,
            "workers": self._dataloader_workers(settings, device, batch or -1, _outlines(data, model.task)),
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
                    "nbs": step_images(_count_images(data), -1 if batch is None else batch),
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
        # The rest is in the checkpoint. Its best epoch has to be where ultralytics looks for it: it is written
        # again only when an epoch is better.
        best = self._save_dir / "weights" / "best.pt"
        best.parent.mkdir(parents=True, exist_ok=True)
        if resumed.best and resumed.best != best:
            shutil.copyfile(resumed.best, best)
        return arguments | {"resume": True}

    def _told(self, settings: TrainingSettings, mirrored: Mirroring) -> dict[str, Any]:
        """What differs from ultralytics' defaults in what is learnt: for the manifest, too."""
        flips = {"fliplr": mirrored.fliplr, "flipud": mirrored.flipud}
        return measured(settings) | schedule(settings.epochs) | flips

    def _begun(self, start: Path, described: dict[str, Any], seed: int) -> Path:
        """The weights that the first epoch begins with: their classes are the labels."""
        import torch

        torch.manual_seed(seed)  # of what is new in the head
        self._folder.mkdir(parents=True, exist_ok=True)
        aliases = described.get("control", {}).get("predicted_values", {})
        return with_classes_of(_model(start), described["names"], aliases, self._folder / "begun.pt") or start

    def _smaller(self, model: Any, resumed: Resumed | None, error: Exception) -> tuple[int, Resumed | None]:
        """Half the batch, going on from the newest checkpoint of this process if it has one."""
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

    def _surround(self, weights: Path) -> None:
        """Put what ultralytics would download where it looks first; its multi-GPU processes find it there too."""
        import matplotlib
        from ultralytics.utils import WEIGHTS_DIR

        config = self._surroundings / "Ultralytics"
        config.mkdir(parents=True, exist_ok=True)
        font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
        for name in _FONTS:
            if not (config / name).exists():
                shutil.copyfile(font, config / name)
        WEIGHTS_DIR.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(weights, WEIGHTS_DIR / _AMP_CHECK)

    def _published(self, weights: Path, data: Path) -> Path:
        """A copy without optimizer and EMA twins, whose names are the labels as they were written."""
        from ultralytics.utils.torch_utils import strip_optimizer

        path = self._folder / "weights.pt"
        shutil.copyfile(weights, path)
        strip_optimizer(path)
        described = json.loads(data.read_text(encoding="utf-8"))
        names = {"names": dict(enumerate(described["names"]))}
        if "kpt_names" in described:
            names["kpt_names"] = {int(index): points for index, points in described["kpt_names"].items()}
        model = _model(path)
        # A classifier's are those of folders; of others, ultralytics turns codes of ImageNet into words.
        wrong = {key: value for key, value in names.items() if getattr(model.model, key, None) != value}
        for key, value in wrong.items():
            setattr(model.model, key, value)
        if wrong:
            model.save(path)
        return path


def _place(data: Path, yolo_task: YoloTask) -> str:
    """What ultralytics calls a dataset: a file, of a classifier the folder of its classes."""
    return str((data.parent if yolo_task == "classify" else data).resolve())


def _count_images(data: Path) -> int:
    """Images to train on, of a `data.yaml` that this project wrote."""
    images = data.parent / json.loads(data.read_text(encoding="utf-8"))["train"]
    return sum(1 for path in images.rglob("*") if path.is_file())


def _outlines(data: Path, yolo_task: YoloTask) -> float:
    """How many an image has, on average over the fullest batch of a large machine."""
    if yolo_task != "segment":
        return 0.0
    counts = (len(path.read_text().splitlines()) for path in (data.parent / "labels").rglob("*.txt"))
    fullest = sorted(counts, reverse=True)[:_FULLEST]
    return sum(fullest) / max(len(fullest), 1)


def finished_epochs(trainer: Any) -> int:
    """Of a training that is over. With several GPUs they were counted in other processes, which wrote them down."""
    if not trainer.ddp:
        return int(trainer.epoch) + 1
    with trainer.csv.open(encoding="utf-8", newline="") as rows:
        *_, last = csv.DictReader(rows)
    return int(last["epoch"])


def learn_points_from_afar(trainer: Any) -> None:
    """Let the loss take ultralytics' own sigmas: by those of the validation, points far away would not come nearer.

    Other processes of a training on several GPUs load it by name.
    """
    from ultralytics.utils.torch_utils import unwrap_model

    for network in (unwrap_model(trainer.model), trainer.ema.ema):
        if hasattr(network, "kpt_oks_sigmas"):
            network.kpt_oks_sigmas = None


def _short_of_memory(said: str) -> bool:
    """torch says so on a GPU; its allocator on the processor raises a plain RuntimeError."""
    return "out of memory" in said.lower() or "can't allocate memory" in said.lower()


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class _OutOfMemory(Exception):
    """The device's memory is too small for the batch."""


def _model(path: Path) -> Any:
    """Raises ModelError if the file holds no model."""
    from ultralytics.models import YOLO

    with _broken_weights(path):
        return YOLO(str(path))


@contextlib.contextmanager
def _told_apart(spool: Spool) -> Iterator[None]:
    """Translate what a training raises, in this process or in those of several GPUs."""
    spool.forget_failure()
    try:
        yield
    except (RuntimeError, subprocess.CalledProcessError) as error:
        said = f"{error} {spool.failure()}"
        if spool.abort.exists():
            raise TrainingAborted("the training was told to stop") from error
        if _short_of_memory(said):
            raise _OutOfMemory(said) from error
        raise


@contextlib.contextmanager
def _broken_weights(path: Path) -> Iterator[None]:
    """Whatever unpickling finds wrong is one kind of error here."""
    import pickle

    try:
        yield
    except (pickle.UnpicklingError, EOFError, KeyError, AttributeError, ModuleNotFoundError, TypeError) as error:
        raise ModelError(f"{path.name} holds no model that ultralytics can load: {error}") from error
