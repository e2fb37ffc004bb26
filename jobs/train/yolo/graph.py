"""The graph of trained weights: what a version is served from, without torch. Made once, compared with them, then
published.

ultralytics' own exporter makes it: batch, height and width are free, and suppression stays outside, so that thresholds
keep their meaning. Its metadata say what it is.
"""

import logging
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jobs.train.yolo.memory import short_of_memory
from shared.errors import ModelError, SettingsError
from shared.geometry.tiles import Tiling
from shared.inference.graph import TILES, tiling_metadata

logger = logging.getLogger(__name__)


def check_packages() -> None:
    """Before hours of training: raises SettingsError if a package is missing that the graph needs at its end."""
    missing = [name for name in ("onnx", "openvino") if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"no version can be published without the Python package {' and '.join(missing)}: install labelloop[train] "
            "where jobs run"
        )


def make_graph(weights: Path, tiling: Tiling | None = None) -> Path:
    """Write the graph of `weights` beside them. Raises ModelError, and OSError where it cannot be written.

    `tiling`: how large pictures are cut for it.
    """
    try:
        return export_graph(weights, tiling)
    except (ModelError, OSError):
        raise
    except Exception as error:  # of torch, ultralytics and onnx, each of its own kind
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, MemoryError) or short_of_memory(why):
            why = "this machine has too little memory for it; give it more, or take smaller LABELLOOP_BASE_WEIGHTS"
        raise ModelError(f"the weights cannot be written as a graph, nothing is published: {why}") from error


def export_graph(weights: Path, tiling: Tiling | None = None) -> Path:
    """Write the ONNX graph of `weights` beside them. Raises whatever torch and ultralytics raise."""
    import onnx
    from ultralytics.models import YOLO

    started = time.perf_counter()
    model: Any = YOLO(str(weights))
    names = dict(model.model.names)
    with warnings.catch_warnings(action="ignore"):  # torch's, of what it traces and of the way it takes
        # Of two heads the one whose boxes are suppressed afterwards. Simplifying takes longer than all the rest, and
        # whatever runs the graph does it by itself.
        path = Path(model.export(format="onnx", dynamic=True, nms=None, simplify=False))
    graph: Any = onnx.load(path)
    for entry in graph.metadata_props:
        if entry.key == "names":  # ultralytics turns codes of ImageNet into words; labels stay as they are written
            entry.value = str(names)
        if entry.key == "description":  # it would name a folder of this machine
            entry.value = f"labelloop, {model.task}"
    if tiling:
        graph.metadata_props.add(key=TILES, value=tiling_metadata(tiling))
    onnx.save(graph, path)
    logger.info(
        "the graph is made",
        extra={"event": "graph_made", "bytes": path.stat().st_size, "seconds": round(time.perf_counter() - started, 1)},
    )
    return path
