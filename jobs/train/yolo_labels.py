"""Detections as lines of YOLO label files: one writer a YOLO task.

Formats: https://docs.ultralytics.com/datasets (numbers are fractions of the image's width and height).
"""

from collections.abc import Callable

import numpy as np

from shared.geometry import Detections, Floats, xyxy_to_xywhn
from shared.labelstudio.config import YoloTask


def label_lines(found: Detections, yolo_task: YoloTask) -> list[str]:
    """One line a thing, class index first, ending in a line break."""
    rows = _WRITERS[yolo_task](found)
    return [
        f"{class_} {' '.join(f'{value:.6f}' for value in row.tolist())}\n"
        for class_, row in zip(found.classes.tolist(), rows, strict=True)
    ]


def _boxes(found: Detections) -> list[Floats]:
    """Centre and size."""
    return list(xyxy_to_xywhn(found.xyxy, found.width, found.height))


def _poses(found: Detections) -> list[Floats]:
    """Centre and size, then x, y and visibility of each point: 2 visible, 0 missing (Label Studio knows no hidden)."""
    assert found.keypoints is not None
    points = found.keypoints / (found.width, found.height, 1.0)
    points[..., 2] = np.where(found.keypoints[..., 2] > 0, 2.0, 0.0)
    return list(np.hstack([_boxes(found), points.reshape(len(found), -1)])) if len(found) else []


_WRITERS: dict[str, Callable[[Detections], list[Floats]]] = {"detect": _boxes, "pose": _poses}
