"""Graphs on the processor, by OpenVINO: in the precision that it is fastest in, bfloat16 where it has that."""

import logging
import shutil
import sys
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from shared.errors import LabelloopError, ModelError
from shared.imports import undo_failed_import
from shared.inference.engine import EngineError, Outputs, Pixels
from shared.inference.kept_files import note_digests, remove_if_damaged

with undo_failed_import("openvino", keep="openvino._pyopenvino"):
    # To Python it is not there: OpenVINO's converter, which tells its maker of every import and takes 0.3 s for it.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.preprocess import ColorFormat, PrePostProcessor

logger = logging.getLogger(__name__)

_KEPT = "pixels-1"
"""Name of the files that `_kept` writes. Its number is raised when `_of_pixels` changes."""


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
        core = openvino.Core()
        try:
            # OpenVINO's name of what it compiled depends on this file and the processor, and not on the precision
            kept = None if cache_dir is None else _kept(path, cache_dir / f"{_KEPT}-{'f32' if float32 else 'fast'}.xml")
            if kept is not None:
                core.set_property({"CACHE_DIR": str(cache_dir)})
            self._compiled = core.compile_model(kept or _of_pixels(_read(path)), "CPU", options)
        except (RuntimeError, MemoryError) as error:
            if cache_dir is not None:  # a file there may be damaged: next time they are made anew
                shutil.rmtree(cache_dir, ignore_errors=True)
            raise LabelloopError(f"OpenVINO cannot load {path.name} now: {_line(error)}") from error
        if kept is not None:
            note_digests(kept.parent)
        self._threads = threading.local()

    def run(self, batch: Pixels) -> Outputs:
        """As `Engine.run`."""
        try:
            request = getattr(self._threads, "request", None)
            if request is None:
                request = self._threads.request = self._compiled.create_infer_request()
            request.infer(batch, share_inputs=True)
            return [request.get_output_tensor(number).data for number in range(len(self._compiled.outputs))]
        except (RuntimeError, MemoryError) as error:
            raise EngineError(f"OpenVINO failed: {_line(error)}") from error

    def warm_up(self, image_size: int) -> None:
        """As `Engine.warm_up`: nothing, since the first picture of each shape pays for that shape, and for no other."""


def _kept(path: Path, kept: Path) -> Path | None:
    """The network of `_of_pixels` as a file in OpenVINO's own format, which is mapped and not read. Made once.

    None where a disk takes no such file: that costs time at each load. Raises as `_read`, RuntimeError, MemoryError.
    """
    try:
        remove_if_damaged(kept.parent)
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=kept.parent) as unfinished:
                made = Path(unfinished) / kept.name
                openvino.save_model(_of_pixels(_read(path)), made, compress_to_fp16=False)
                for suffix in (".bin", ".xml"):
                    made.with_suffix(suffix).replace(kept.with_suffix(suffix))
    except (RuntimeError, OSError) as error:
        if _short_of_memory(error):  # to try without the files would end the process
            raise
        shutil.rmtree(kept.parent, ignore_errors=True)
        logger.warning(
            f"{path.name} is loaded without a cache: {_line(error)}",
            extra={"event": "cache_not_used", "file": path.name},
        )
        return None
    return kept


def _read(path: Path) -> Any:
    """The network in a file.

    If it cannot be read, once more by the reader of ONNX alone: where memory is too short for it, others refuse the
    file. No other thread of the process runs while it reads. Raises ModelError, LabelloopError, OSError.
    """
    with suppress(Exception):  # of several classes
        return openvino.Core().read_model(path)
    try:
        reader = FrontEndManager().load_by_framework("onnx")
    except Exception as error:  # of a class of its own
        raise LabelloopError(f"OpenVINO cannot read ONNX now: {_line(error)}") from error
    if reader is None:
        raise LabelloopError("OpenVINO cannot read ONNX now: it finds no reader")
    try:
        return reader.convert(reader.load(str(path)))
    except Exception as error:  # of several classes of its own
        if _short_of_memory(error):
            raise LabelloopError(f"there is no memory for {path.name} now: {_line(error)}") from error
        with path.open("rb"):  # raises OSError if it left the cache, or too many files are open: no fault of the file
            pass
        raise ModelError(f"OpenVINO cannot read {path.name}: {_line(error)}") from error


def _of_pixels(model: Any) -> Any:
    """The same network for (B, H, W, 3) bytes, blue first: what turns them into its input becomes part of it."""
    whole = PrePostProcessor(model)
    pixels = whole.input().tensor()
    pixels.set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    whole.input().model().set_layout(openvino.Layout("NCHW"))
    steps = whole.input().preprocess().convert_element_type(openvino.Type.f32)
    steps.convert_color(ColorFormat.RGB).scale(255.0)
    return whole.build()


def _short_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "bad_alloc" in str(error) or "alloc" in str(error).lower()


def _line(error: Exception) -> str:
    """The last line, which names the cause; those before it name places in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
