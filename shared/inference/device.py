"""Which engine runs a graph here: OpenVINO on processors, ONNX Runtime on CUDA."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from shared.errors import SettingsError
from shared.inference import cuda
from shared.inference.engine import Engine

logger = logging.getLogger(__name__)

_MOST_STREAMS = 4
"""Each holds what a network computes for one image, some 50 to 100 MB."""
_INSTALL = "pip install 'labelloop[predict]'"


@dataclass(frozen=True, slots=True)
class Device:
    """Where graphs run, and how."""

    gpu: int | None  # number of a CUDA device; None: the processor
    threads: int  # of the processor
    float32: bool  # never fewer bits, whatever the hardware is fast in

    @property
    def streams(self) -> int:
        """Calls at once that are worth it: side by side, on a few cores each, images are done sooner than in turn."""
        return 1 if self.gpu is not None else min(self.threads, _MOST_STREAMS)


def choose_device(setting: str, *, threads: int, float32: bool) -> Device:
    """`setting` is LABELLOOP_DEVICE: auto, cpu, cuda or cuda:1. Raises SettingsError if it cannot be used here."""
    if setting == "auto":
        return Device(0 if _cuda_is_there() else None, threads, float32)
    if setting == "cpu":
        return Device(None, threads, float32)
    asked = re.fullmatch(r"cuda(?::(\d+))?", setting)
    if asked is None:
        raise SettingsError(f"LABELLOOP_DEVICE={setting!r} is none of auto, cpu, cuda, cuda:1, …")
    number, found = int(asked[1] or 0), cuda.devices()
    if number >= found:
        raise SettingsError(
            f"LABELLOOP_DEVICE={setting!r} cannot be used: NVIDIA's driver shows {found} devices; set auto or cpu"
        )
    if not find_spec("onnxruntime"):
        raise SettingsError(
            f"LABELLOOP_DEVICE={setting!r} needs ONNX Runtime for GPUs: pip install 'labelloop[predict-cuda]'"
        )
    return Device(number, threads, float32)


def open_engine(path: Path, device: Device, cache_dir: Path | None = None) -> Engine:
    """A graph, loaded. `cache_dir`: a folder for what is made of it for this machine.

    Raises ModelError if the file is no graph that can be run, SettingsError, LabelloopError if it cannot be loaded now.
    """
    return import_engine(device)(path, cache_dir=cache_dir)


def import_engine(device: Device) -> Callable[..., Engine]:
    """What opens graphs on a device, by their path and `cache_dir`. Raises SettingsError, or as the import."""
    if device.gpu is None and find_spec("openvino"):
        from shared.inference.openvino_engine import OpenVinoEngine

        return partial(OpenVinoEngine, threads=device.threads, streams=device.streams, float32=device.float32)
    if not find_spec("onnxruntime"):
        raise SettingsError(f"there is neither openvino nor onnxruntime to run graphs: {_INSTALL}")
    from shared.inference.onnxruntime_engine import OnnxRuntimeEngine

    return partial(OnnxRuntimeEngine, gpu=device.gpu, threads=device.threads, float32=device.float32)


def _cuda_is_there() -> bool:
    """Whether there is a device, and an ONNX Runtime that is made for it."""
    if cuda.devices() == 0:
        if _is_made_for_cuda():
            logger.warning(
                "NVIDIA's driver shows no GPU, so the processor computes, which is many times slower: give this "
                "machine or container a GPU and its driver. LABELLOOP_DEVICE=cuda refuses to go on without",
                extra={"event": "no_gpu"},
            )
        return False
    if find_spec("onnxruntime"):
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            return True
    logger.warning(
        "there is a GPU that is not used: pip install 'labelloop[predict-cuda]' for ONNX Runtime on CUDA",
        extra={"event": "gpu_not_used"},
    )
    return False


def _is_made_for_cuda() -> bool:
    """Whether somebody has installed ONNX Runtime for NVIDIA's GPUs. It is not imported."""
    try:
        distribution("onnxruntime-gpu")
    except PackageNotFoundError:
        return False
    return True
