"""RectangleLabels, and Rectangle with Labels: upright boxes, and rotated ones for obb."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.geometry.detections import (
    Detections,
    Floats,
    Ints,
    percent_to_xyxy,
    rotated_corners,
    xywhr_to_corners,
    xyxy_to_percent,
)
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.fields import numbers, region_items, rotation_of
from shared.labelstudio.regions.rotated import fit_rotated


def write_rectangles(found: Detections, labels: Sequence[str | None], control: Control) -> list[dict[str, Any]]:
    """One region an object, clipped to the image. Boxes without area inside it are left out."""
    rows, table = _upright(found) if found.rotated is None else _rotated(found.rotated, found.width, found.height)
    classes, scores = found.classes[rows].tolist(), found.scores[rows].tolist()
    regions = []
    for number, box, class_, score in zip(rows.tolist(), table.tolist(), classes, scores, strict=True):
        value = dict(zip(("x", "y", "width", "height", "rotation"), box, strict=True))
        regions += region_items(value, control, f"{control.name}-{number}", labels[class_], score, found)
    return regions


def _upright(found: Detections) -> tuple[Ints, Floats]:
    """(M,) rows of the boxes with area, and (M, 5) x, y, width, height in percent, rotation in degrees."""
    boxes = xyxy_to_percent(found.xyxy, found.width, found.height)
    rows = np.flatnonzero((boxes[:, 2] > 0) & (boxes[:, 3] > 0))
    return rows, np.hstack([boxes[rows], np.zeros((len(rows), 1))])


def _rotated(rotated: Floats, width: int, height: int) -> tuple[Ints, Floats]:
    rows, boxes = fit_rotated(rotated, width, height)
    size = np.array([width, height])
    corner = np.minimum(xywhr_to_corners(boxes)[:, 0] / size, 1.0)
    degrees = np.rad2deg(boxes[:, 4:]) % 360.0
    return rows, np.hstack([corner * 100.0, boxes[:, 2:4] / size * 100.0, degrees])


def rectangle_corners(value: Mapping[str, Any], width: int, height: int) -> Floats | None:
    """(4, 2) in pixels, not clipped; None if the value is not a rectangle. In old data, sides may be negative.

    Label Studio rotates a rectangle around (x, y), also if it extends left or up from there.
    """
    box, turn = numbers(value, "x", "y", "width", "height"), rotation_of(value)
    if box is None or turn is None:
        return None
    corners: Floats = rotated_corners(percent_to_xyxy(np.array([box]), width, height), np.array([turn]))[0]
    return corners
