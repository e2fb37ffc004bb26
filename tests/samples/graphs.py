"""Graphs of every YOLO task for tests: weights, and what ultralytics' exporter makes of them."""

import warnings
from pathlib import Path
from typing import NamedTuple

from shared.yolo_task import YoloTask
from tests.samples.yolo_weights import make_weights


class Exported(NamedTuple):
    """The same network twice."""

    weights: Path
    graph: Path


def make_graph(
    folder: Path, architecture: str, yolo_task: YoloTask, *, end_to_end: bool = False, names: tuple[str, ...] = ()
) -> Exported:
    """`end_to_end`: of two heads the one that suppresses by itself. `names`: of the classes, again and again."""
    folder.mkdir(parents=True, exist_ok=True)
    return export(make_weights(folder, architecture, yolo_task, names=names), end_to_end=end_to_end)


def export(weights: Path, *, end_to_end: bool = False) -> Exported:
    """Weights that are there, with a graph beside them: batch, height and width are free."""
    from ultralytics.models import YOLO

    nms = False if end_to_end else None
    with warnings.catch_warnings(action="ignore"):  # torch's: of the way that it takes, and of what it traces
        found = YOLO(weights).export(format="onnx", dynamic=True, nms=nms, simplify=False, verbose=False)
    return Exported(weights, Path(found))
