"""Fits a training to its machine: devices, batch size, dataloader processes; and sets ultralytics' environment."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.cores import usable_cores
from shared.errors import SettingsError
from shared.yolo.environment import ultralytics_environ

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (where torch's dataloader processes put batches)
_MIN_FREE = 256 << 20  # bytes: checkpoints of the smallest models, and a few hundred images
_REPORTING = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
_CPU_BATCH = 8  # images
_STEP_IMAGES = 64  # images for one optimizer step, ultralytics' default of `nbs`
_MIN_STEPS = 4  # optimizer steps in an epoch
_MULTI_GPU_BATCH = 8  # images a device: ultralytics finds a batch size by itself on one GPU only
_MAX_WORKERS = 8  # processes a device
_UNKNOWN_BATCH = 64  # images, assumed while ultralytics has not chosen yet
_MASK_RATIO = 4  # of an image's side to its masks'
_BATCHES_AHEAD = 12  # a worker; train: 4, val: 2 with twice the workers and twice the batch


def prepare_ultralytics(folder: Path, threads: int) -> dict[str, str]:
    """Write ultralytics' settings below `folder`; answers environment variables to set before it or torch is imported.

    The settings forbid reporting integrations and writes outside of `folder`. `threads` of OpenMP (0: the usable
    cores), which ultralytics would set to 1.
    """
    config = folder / "Ultralytics"
    config.mkdir(parents=True, exist_ok=True)
    places = {name: str(folder / name.removesuffix("_dir")) for name in ("weights_dir", "runs_dir", "datasets_dir")}
    (config / "settings.json").write_text(json.dumps(places | dict.fromkeys(_REPORTING, False)))
    return ultralytics_environ(folder) | {"OMP_NUM_THREADS": str(threads or usable_cores())}


def checked_work_dir(folder: Path) -> None:
    """Raise SettingsError if `folder` cannot be written to or has too little space left."""
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
    """Free bytes of shared memory; None if the machine has no such file system."""
    return shutil.disk_usage(path).free if path.is_dir() else None


def devices(asked: str) -> list[int] | str:
    """ultralytics' argument `device`; `auto`: all visible GPUs, else the CPU."""
    if asked != "auto":
        return asked
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return list(range(count)) if count else "cpu"


def batch_size(asked: int, device: list[int] | str) -> int:
    """Images a step, at least one for each device; `asked` 0: chosen. -1: ultralytics measures the GPU's memory."""
    if asked:
        return max(asked, len(device)) if isinstance(device, list) else asked
    if isinstance(device, list) and len(device) > 1:
        return _MULTI_GPU_BATCH * len(device)
    on_gpu = isinstance(device, list) or device.startswith("cuda") or device.isdigit()
    return -1 if on_gpu else _CPU_BATCH


def use_bfloat16(trainer: Any) -> None:
    """Let the network of a training on a processor multiply in bfloat16, where the processor can.

    A callback of ultralytics' event `on_train_start`; on GPUs ultralytics chooses for itself. The filters lie in memory
    with the channels last, which is faster too. The loss stays in float32: a border 8 strides away would be rounded to
    a sixteenth of a stride.
    """
    if trainer.device.type != "cpu" or not _has_bfloat16():
        return
    import torch
    from torch.utils._pytree import tree_map_only

    for network in (trainer.model, trainer.ema.ema):
        network.to(memory_format=torch.channels_last)
    predict = trainer.model.predict

    def predicted(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = predict(*args, **kwargs)
        return tree_map_only(torch.Tensor, torch.Tensor.float, outputs)

    trainer.model.predict = predicted


def _has_bfloat16() -> bool:
    import torch

    # Older releases of torch do not tell.
    found: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def step_images(images: int, batch: int) -> int:
    """ultralytics' argument `nbs`: the number of images whose gradients make one step of the optimizer.

    With its default 64, a training on 20 images would make one step in three epochs. So small datasets get at least
    four steps an epoch, as far as the batch allows; from 256 images on it is the default.
    """
    min_images = batch if batch > 0 else 16  # ultralytics has not chosen yet
    return min(_STEP_IMAGES, max(images // _MIN_STEPS, min_images))


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
    """Dataloader processes for each device, as many as the cores and half of the free shared memory allow.

    `asked` -1: chosen. `shared_memory`: free bytes, None: no limit; when it is full, processes die with "Bus error". 0
    loads in the training's own process; on the CPU ultralytics always does. `outlines`: masks an image has, each with a
    quarter of its side; a mosaic has those of four images.
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
