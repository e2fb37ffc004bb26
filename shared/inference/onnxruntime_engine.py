"""Graphs on a GPU, in half precision, by ONNX Runtime's CUDA provider; on the processor by its own."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from shared.errors import LabelloopError, ModelError, SettingsError
from shared.inference import cuda
from shared.inference.engine import DeviceLost, EngineError, Outputs, Pixels
from shared.inference.kept_files import note_digests, remove_if_damaged

CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_LARGEST_BATCH = 32
_USABLE_MEMORY = 0.5
"""Part of a GPU's free memory that one batch may take."""
_UNREADABLE = ("InvalidGraph", "InvalidProtobuf", "NotImplemented", "NoModel")
"""Names of ONNX Runtime's errors that are of the file."""


class OnnxRuntimeEngine:
    """One image or batch after the other, on the whole device."""

    def __init__(
        self, path: Path, *, gpu: int | None, threads: int, float32: bool = False, cache_dir: Path | None = None
    ) -> None:
        """`gpu`: number of a CUDA device; None: the processor, with so many `threads`. `float32`: never fewer bits.

        `cache_dir`: a folder for the graph in half precision. Raises ModelError if the file is no graph that can be
        run, SettingsError if CUDA cannot be used, LabelloopError if it cannot be loaded now.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = threads
        options.enable_mem_pattern = False  # pictures have many shapes
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would take the cores
        self.batch = 1
        self._gpu = gpu
        providers: list[Any] = [_CPU]
        if gpu is not None:
            onnxruntime.preload_dlls()  # CUDA's libraries where they came with pip
            exact = {"use_tf32": 0} if float32 else {}  # of float32 it drops 13 bits
            providers = [(CUDA, {"device_id": gpu, "cudnn_conv_algo_search": "HEURISTIC"} | exact)]
        half = _in_half(path, cache_dir) if gpu is not None and not float32 else None
        try:
            self._session = onnxruntime.InferenceSession(half or path, options, providers=providers)
        except Exception as error:
            if half is not None:  # it may be damaged: next time it is made anew
                half.unlink(missing_ok=True)
            elif type(error).__name__ in _UNREADABLE:
                raise ModelError(f"ONNX Runtime cannot read {path.name}: {error}") from error
            raise LabelloopError(f"ONNX Runtime cannot load {path.name} now: {error}") from error
        if gpu is not None:
            _require_cuda(self._session.get_providers())
        self._session.disable_fallback()  # else it goes on with the processor where a call fails
        self._input = self._session.get_inputs()[0].name

    def run(self, batch: Pixels) -> Outputs:
        """As `Engine.run`."""
        import cv2

        try:
            floats = cv2.dnn.blobFromImages(list(batch), 1 / 255, swapRB=True)
            outputs = self._session.run(None, {self._input: floats})
        except Exception as error:
            if self._gpu is not None and cuda.is_lost(self._gpu):
                raise DeviceLost(f"cuda:{self._gpu} fails every call of this process: {error}") from error
            raise EngineError(f"ONNX Runtime failed: {error}") from error
        return [np.asarray(output, dtype=np.float32) for output in outputs]

    def warm_up(self, image_size: int) -> None:
        """As `Engine.warm_up`."""
        blank = np.zeros((1, image_size, image_size, 3), dtype=np.uint8)
        before = cuda.free_bytes(self._gpu) if self._gpu is not None else 0
        self.run(blank)
        if self._gpu is not None:
            free = cuda.free_bytes(self._gpu)
            self.batch = int(min(max(free * _USABLE_MEMORY // max(before - free, 1), 1), _LARGEST_BATCH))


def _require_cuda(loaded: list[str]) -> None:
    """Raises SettingsError: ONNX Runtime goes on with the processor by itself where CUDA's libraries are not found."""
    if CUDA in loaded:
        return
    try:
        found = f"onnxruntime-gpu {version('onnxruntime-gpu')}"
    except PackageNotFoundError:
        found = "onnxruntime without GPU"
    raise SettingsError(
        f"LABELLOOP_DEVICE asks for CUDA, and {found} could not load it: pip install 'labelloop[predict-cuda]' brings "
        "its libraries, the driver has to know their version of CUDA (nvidia-smi); or set LABELLOOP_DEVICE=cpu"
    )


def _in_half(path: Path, cache_dir: Path | None) -> Path:
    """The graph with weights and sums of 16 bits; what goes in and comes out stays float32. Made once, if it is whole.

    Raises SettingsError, LabelloopError.
    """
    try:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise SettingsError(
            f"half precision needs {error.name}: pip install 'labelloop[predict-cuda]', or LABELLOOP_PRECISION=float32"
        ) from error
    folder = cache_dir or path.with_suffix(".compiled")
    half = folder / f"{path.stem}.half.onnx"
    try:
        remove_if_damaged(folder)
        if half.is_file():
            return half
        folder.mkdir(parents=True, exist_ok=True)
        model = convert_float_to_float16(onnx.load(path), keep_io_types=True)
        with TemporaryDirectory(dir=folder) as unfinished:  # another process may make it too
            made = Path(unfinished) / half.name
            onnx.save(model, made)
            made.replace(half)
        note_digests(folder)
    except Exception as error:
        raise LabelloopError(f"{path.name} cannot be turned into half precision: {error}") from error
    return half
