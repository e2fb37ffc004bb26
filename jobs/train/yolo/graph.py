"""The graph of trained weights: what a version can be served from without torch. Made once, compared, then published.

ultralytics' own exporter makes it: batch, height and width are free, and suppression stays outside, so that thresholds
keep their meaning. Its metadata say what it is.
"""

import json
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version as package_version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.train.yolo.memory import short_of_memory
from shared.errors import ModelError, SettingsError

logger = logging.getLogger(__name__)

_PICTURES = 2
"""At most: each is run twice. A graph that was traced wrongly is wrong on any."""
_TOLERANCE = 1e-4
"""By which a number of the output may differ, as a share of the largest of its kind, or of 1. Rounding of float32 is
5e-6. A box of 30 pixels in a picture of 640 is off by 0.06 pixels then, which moves no mAP50-95 by 0.005."""


def check_packages() -> None:
    """Before hours of training: raises SettingsError if a package is missing that the graph needs at its end."""
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"no version can be published without the Python package {' and '.join(missing)}: install labelloop[train] "
            "where jobs run"
        )


def make_graph(weights: Path, data: Path) -> Path:
    """Write the graph of `weights` beside them; on the val set of `data`, a data.yaml, it answers as they do.

    Raises ModelError, and OSError where it cannot be written.
    """
    try:
        graph = export_graph(weights)
        check_agreement(graph, weights, val_pictures(data))
    except (ModelError, OSError):
        raise
    except Exception as error:  # of torch, ultralytics, onnx and ONNX Runtime, each of its own kind
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, MemoryError) or short_of_memory(why):
            why = "this machine has too little memory for it; give it more, or take smaller LABELLOOP_BASE_WEIGHTS"
        raise ModelError(f"the trained weights cannot be written as a graph, nothing is published: {why}") from error
    return graph


def export_graph(weights: Path) -> Path:
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
    onnx.save(graph, path)
    logger.info(
        "the graph is made",
        extra={"event": "graph_made", "bytes": path.stat().st_size, "seconds": round(time.perf_counter() - started, 1)},
    )
    return path


def check_agreement(graph: Path, weights: Path, pictures: Sequence[Path]) -> None:
    """Raises ModelError if the graph answers otherwise than the weights do, on pictures of the val set.

    Each is shown as the trainer would show it, in a batch with its mirror image: so sizes and batches differ.
    """
    differences = [0.0]
    for ours, theirs in _answers(graph, weights, pictures):
        axes = tuple(axis for axis in range(theirs.ndim) if axis != 1)
        size = np.maximum(np.abs(theirs).max(axis=axes, keepdims=True), 1)
        differences.append((np.abs(ours - theirs) / size).max())
    worst = np.max(differences)
    if not worst <= _TOLERANCE:  # also where it is no number
        releases = ", ".join(f"{name} {package_version(name)}" for name in ("torch", "ultralytics", "onnx"))
        raise ModelError(
            f"the graph of the trained weights does not answer as they do, so nothing is published: on {len(pictures)} "
            f"pictures of the val set its numbers differ by up to {worst:.2g}, where {_TOLERANCE:g} may be rounding; "
            f"try other releases of the packages that made it ({releases})"
        )


def val_pictures(data: Path) -> list[Path]:
    """Some pictures of the val set of `data`, a data.yaml that this project wrote."""
    folder = data.parent / json.loads(data.read_text(encoding="utf-8"))["val"]
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return found[:: -(-len(found) // _PICTURES)] if found else []


def _answers(
    graph: Path, weights: Path, pictures: Sequence[Path]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Of each picture each array of the raw output, by the graph and by the weights: (B, numbers, candidates)."""
    import onnxruntime
    import torch
    from ultralytics.models import YOLO

    model: Any = YOLO(str(weights))
    network = model.model.float().eval()
    network.end2end = False
    head = network.model[-1]
    head.export, head.format, head.dynamic = True, "onnx", True  # nothing but what a graph answers
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    for picture in pictures:
        batch = _batch(picture, _longest(model.overrides["imgsz"]), int(max(network.stride)))
        with torch.inference_mode():
            theirs = network(torch.from_numpy(batch))
        theirs = theirs if isinstance(theirs, list | tuple) else (theirs,)
        for ours, tensor in zip(session.run(None, {"images": batch}), theirs, strict=True):
            yield ours, tensor.numpy()


def _longest(image_size: Any) -> int:
    return int(max(image_size) if isinstance(image_size, list | tuple) else image_size)


def _batch(picture: Path, image_size: int, stride: int) -> NDArray[np.float32]:
    """(2, 3, H, W) a picture and its mirror image, RGB from 0 to 1, sides multiples of `stride`."""
    from ultralytics.data.augment import LetterBox
    from ultralytics.utils.patches import imread

    image: Any = LetterBox((image_size, image_size), auto=True, stride=stride)(image=imread(str(picture)))
    both = np.stack([image, image[:, ::-1]])[..., ::-1].transpose(0, 3, 1, 2)
    return np.ascontiguousarray(both, dtype=np.float32) / np.float32(255)
