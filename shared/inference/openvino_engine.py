"""Graphs on the processor, by OpenVINO: in the precision that it is fastest in, bfloat16 where it has that."""

import logging
import shutil
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

from shared.errors import LabelloopError, ModelError
from shared.imports import undo_failed_import
from shared.inference.engine import EngineError, Outputs, Pixels
from shared.inference.kept_files import note_digests, remove_if_damaged

with undo_failed_import("openvino", keep="openvino._pyopenvino"):
    # Hide OpenVINO's converter from Python: it reports every import to its maker, which takes 0.3 s.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    import openvino
    from openvino.frontend import FrontEndManager

logger = logging.getLogger(__name__)


def _finish_binding() -> None:
    """Run a network that does nothing: to be called by one thread, before others call OpenVINO.

    Tables of its Python binding are made when they are first needed, and who needs them meanwhile waits with Python's
    lock held: after two first calls at once, no thread of the process would ever run again.
    """
    pixel = openvino.op.Parameter(openvino.Type.u8, openvino.PartialShape([1]))
    request = openvino.Core().compile_model(openvino.Model([pixel], [pixel], "nothing"), "CPU").create_infer_request()
    request.infer(np.zeros(1, np.uint8), share_inputs=True)
    assert request.get_output_tensor(0).data.dtype == np.uint8


_finish_binding()


class OpenVinoEngine:
    """A graph for several calls side by side."""

    batch = 1

    def __init__(self, path: Path, *, threads: int, streams: int, float32: bool, cache_dir: Path | None) -> None:
        """`threads`: processor threads of all streams, which are calls at once. `float32`: never fewer bits.

        `cache_dir`: a folder for what was compiled, from which it is mapped into memory next time, if it is whole.
        Raises ModelError if the file is no graph that can be run, LabelloopError if it cannot be loaded now, OSError.
        """
        options: dict[str, int | bool | str] = {
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # two processes of a machine would be pinned to the same cores
        }
        if float32:
            options["INFERENCE_PRECISION_HINT"] = "f32"
        # OpenVINO's name of what it compiled depends on this file and the processor, and not on the precision
        kept = _usable(cache_dir / ("float32" if float32 else "fast")) if cache_dir is not None else None
        core = openvino.Core()
        if kept is not None:
            core.set_property({"CACHE_DIR": str(kept)})
        try:
            self._compiled = core.compile_model(path, "CPU", options)
        except (RuntimeError, MemoryError) as error:
            if kept is not None:  # a file there may be damaged: next time it is made anew
                shutil.rmtree(kept, ignore_errors=True)
            if not _short_of_memory(error):  # to try again at once would end the process
                _refuse(path)
            raise LabelloopError(f"OpenVINO cannot load {path.name} now: {_line(error)}") from error
        if kept is not None:
            note_digests(kept)
        self._threads = threading.local()

    def run(self, batch: Pixels) -> Outputs:
        """As `Engine.run`."""
        import cv2  # a quarter of a second: not before the first image

        try:
            request = getattr(self._threads, "request", None)
            if request is None:
                request = self._threads.request = self._compiled.create_infer_request()
            request.infer(cv2.dnn.blobFromImages(list(batch), 1 / 255, swapRB=True), share_inputs=True)
            return [request.get_output_tensor(number).data for number in range(len(self._compiled.outputs))]
        except (RuntimeError, MemoryError, cv2.error) as error:
            raise EngineError(f"OpenVINO failed: {_line(error)}") from error

    def warm_up(self, image_size: int) -> None:
        """As `Engine.warm_up`: nothing, since the first picture of each shape pays for that shape, and for no other."""


def _usable(folder: Path) -> Path | None:
    """The folder, whose files are whole; None where a disk has none: that costs time at each load."""
    try:
        remove_if_damaged(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.warning(
            f"the compiled model cannot be cached for the next start: {error}", extra={"event": "cache_not_used"}
        )
        return None
    return folder


def _refuse(path: Path) -> None:
    """Say what is wrong with a file that was not loaded. Raises ModelError, LabelloopError, OSError; or returns.

    First as a load does, then by the reader of ONNX alone: where memory is too short for it, others refuse the file.
    No other thread of the process runs while that reads.
    """
    with suppress(Exception):  # of several classes
        openvino.Core().read_model(path)
        return
    try:
        reader = FrontEndManager().load_by_framework("onnx")
    except Exception as error:  # of a class of its own
        raise LabelloopError(f"OpenVINO cannot read ONNX now: {_line(error)}") from error
    if reader is None:
        raise LabelloopError("OpenVINO cannot read ONNX now: it finds no reader")
    try:
        reader.convert(reader.load(str(path)))
    except Exception as error:  # of several classes of its own
        if _short_of_memory(error):
            raise LabelloopError(f"there is no memory for {path.name} now: {_line(error)}") from error
        with path.open("rb"):  # raises OSError if it left the cache, or too many files are open: no fault of the file
            pass
        raise ModelError(f"OpenVINO cannot read {path.name}: {_line(error)}") from error


def _short_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "bad_alloc" in str(error) or "alloc" in str(error).lower()


def _line(error: Exception) -> str:
    """The last line, which names the cause; those before it name places in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
