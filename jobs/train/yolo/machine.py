"""What a training takes from its machine: devices, dataloader processes, batch; and what ultralytics may not touch."""

import json
import shutil
import tempfile
from pathlib import Path

from shared.cores import usable_cores
from shared.errors import SettingsError
from shared.yolo_task import YoloTask

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (where torch puts the batches that dataloader processes make)
_MIN_FREE = 256 << 20  # bytes: checkpoints of the smallest models, and a few hundred images
_REPORTING = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
_CPU_BATCH = 8
_STEP_IMAGES = 64  # of one optimizer step, as ultralytics means it (`nbs`)
_MIN_STEPS = 4  # an epoch
_CLASSIFIED_SHARE = 224 / 640
_MIN_CLASSIFIED = 64  # pixels; with less a last batch of one image cannot be normalised (one value a channel)
_MULTI_GPU_BATCH = 8  # a device; ultralytics finds the best batch by itself on one GPU only
_MAX_WORKERS = 8  # a device
_UNKNOWN_BATCH = 64  # images; for the estimate while ultralytics has not chosen yet
_MASK_RATIO = 4  # of the side of an image to that of its masks
_BATCHES_AHEAD = 12  # train: 4 a worker; val: twice the workers, twice the batch, 2 a worker


def surround_ultralytics(folder: Path, threads: int) -> dict[str, str]:
    """Write ultralytics' settings below `folder`; answers the variables to set before torch and it are imported.

    No installs, no telemetry, no integrations that report elsewhere, no writes outside of `folder`. ultralytics sets
    one OpenMP thread where nothing is set. OpenMP threads that wait by spinning make a training ten times slower as
    soon as anything else computes on the machine.
    """
    config = folder / "Ultralytics"
    config.mkdir(parents=True, exist_ok=True)
    places = {name: str(folder / name.removesuffix("_dir")) for name in ("weights_dir", "runs_dir", "datasets_dir")}
    (config / "settings.json").write_text(json.dumps(places | dict.fromkeys(_REPORTING, False)))
    return {
        "YOLO_CONFIG_DIR": str(folder),
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "MPLCONFIGDIR": str(folder / "matplotlib"),
        "OMP_NUM_THREADS": str(threads or usable_cores()),
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def checked_work_dir(folder: Path) -> None:
    """Raise SettingsError if a training could not keep its files there: before anything is fetched for it."""
    asked = f"LABELLOOP_WORK_DIR={str(folder)!r}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable-"):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        raise SettingsError(f"{asked} cannot be written to ({error.strerror}): name another folder") from error
    if free < _MIN_FREE:
        raise SettingsError(
            f"{asked} has {free >> 20} MB left, a training needs {_MIN_FREE >> 20}: free some, or name another folder"
        )


def shared_memory_free(path: Path = SHARED_MEMORY) -> int | None:
    """Free bytes of shared memory; None where there is no such file system and no such limit."""
    return shutil.disk_usage(path).free if path.is_dir() else None


def devices(asked: str) -> list[int] | str:
    """ultralytics' `device`: what was asked for; auto: every visible GPU, else the processor."""
    if asked != "auto":
        return asked
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return list(range(count)) if count else "cpu"


def batch_size(asked: int, device: list[int] | str) -> int:
    """Images a step, at least one a device. -1: ultralytics measures the memory of one GPU itself."""
    if asked:
        return max(asked, len(device)) if isinstance(device, list) else asked
    if isinstance(device, list) and len(device) > 1:
        return _MULTI_GPU_BATCH * len(device)
    on_gpu = isinstance(device, list) or device.startswith("cuda") or device.isdigit()
    return -1 if on_gpu else _CPU_BATCH


def step_images(images: int, batch: int) -> int:
    """ultralytics' `nbs`: how many images' gradients make one step of the optimizer.

    Its 64 would mean one step in three epochs for twenty images, which learns next to nothing in fifty epochs. So small
    datasets get at least four steps an epoch, as far as the batch allows; from 256 images on it is ultralytics' own.
    """
    least = batch if batch > 0 else 16  # not chosen yet
    return min(_STEP_IMAGES, max(images // _MIN_STEPS, least))


def task_image_size(yolo_task: YoloTask, image_size: int) -> int:
    """Longest side in pixels that a model of this task sees, `image_size` being that of detection.

    A classifier needs no small objects: it gets ultralytics' own 224 where others get 640, and so in proportion.
    """
    if yolo_task != "classify":
        return image_size
    return max(_MIN_CLASSIFIED, round(image_size * _CLASSIFIED_SHARE / 32) * 32)


def dataloader_workers(
    asked: int,
    *,
    device: list[int] | str,
    cores: int,
    shared_memory: int | None,
    batch: int,
    image_size: int,
    outlines: float = 0.0,
) -> int:
    """Dataloader processes a device: as many as cores allow and half of the free shared memory holds.

    `shared_memory` in bytes (None: no limit). `outlines`: of an image, each a mask of a quarter of its side; a mosaic
    has those of four images. A process that finds it full dies with "Bus error"; 0 loads in the training's own process
    and needs none. On the processor ultralytics takes 0 in any case.
    """
    if asked >= 0:
        return asked
    if device in ("cpu", "mps"):
        return 0
    gpus = len(device) if isinstance(device, list) else 1
    workers = min(_MAX_WORKERS, cores // gpus)
    if shared_memory is None:
        return workers
    images = batch if batch > 0 else _UNKNOWN_BATCH
    image_bytes = round((3 + 4 * outlines / _MASK_RATIO**2) * image_size**2)
    worker_bytes = _BATCHES_AHEAD * max(images // gpus, 1) * image_bytes * gpus
    return min(workers, shared_memory // 2 // worker_bytes)
