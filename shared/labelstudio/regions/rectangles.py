"""RectangleLabels, and Rectangle with Labels: upright boxes, and rotated ones for obb."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.geometry import (
    Detections,
    Floats,
    Ints,
    clip_xyxy,
    envelope,
    percent_to_xyxy,
    rotated_corners,
    xywhr_to_corners,
    xyxy_to_percent,
)
from shared.labelstudio.config import Control
from shared.labelstudio.regions.labelled import labelled, numbers, written
from shared.labelstudio.regions.turned import fit_rotated


def write_rectangles(found: Detections, labels: Sequence[str | None], control: Control) -> list[dict[str, Any]]:
    """Boxes are clipped to the image; those without area inside it are left out."""
    rows, table = _upright(found) if found.rotated is None else _rotated(found.rotated, found.width, found.height)
    classes, scores = found.classes[rows].tolist(), found.scores[rows].tolist()
    regions = []
    for number, box, class_, score in zip(rows.tolist(), table.tolist(), classes, scores, strict=True):
        value = dict(zip(("x", "y", "width", "height", "rotation"), box, strict=True))
        regions += written(value, control, f"{control.name}-{number}", labels[class_], score, found)
    return regions


def _upright(found: Detections) -> tuple[Ints, Floats]:
    """Rows of the boxes that are left, and their x, y, width, height in percent, rotation in degrees."""
    boxes = xyxy_to_percent(found.xyxy, found.width, found.height)
    rows = np.flatnonzero((boxes[:, 2] > 0) & (boxes[:, 3] > 0))
    return rows, np.hstack([boxes[rows], np.zeros((len(rows), 1))])


def _rotated(rotated: Floats, width: int, height: int) -> tuple[Ints, Floats]:
    rows, boxes = fit_rotated(rotated, width, height)
    size = np.array([width, height])
    corner = np.minimum(xywhr_to_corners(boxes)[:, 0] / size, 1.0)
    degrees = np.rad2deg(boxes[:, 4:]) % 360.0
    return rows, np.hstack([corner * 100.0, boxes[:, 2:4] / size * 100.0, degrees])


def read_rectangles(result: Sequence[Mapping[str, Any]], control: Control, width: int, height: int) -> Detections:
    """A rotated rectangle is there as it was drawn (`rotated`), and as its clipped envelope."""
    values, classes = [], []
    for region, class_ in labelled(result, control):
        box = numbers(region["value"], "x", "y", "width", "height")
        turn = numbers(region["value"], "rotation") if region["value"].get("rotation") else [0.0]
        if box and turn:
            values.append(box + turn)
            classes.append(class_)
    table = np.array(values, dtype=np.float64).reshape(-1, 5)
    unturned = percent_to_xyxy(table[:, :4], width, height)
    corners = rotated_corners(unturned, table[:, 4])
    rotated = np.hstack([corners.mean(axis=1), unturned[:, 2:] - unturned[:, :2], np.deg2rad(table[:, 4:])])
    xyxy = clip_xyxy(envelope(corners), width, height)
    found = Detections(
        width=width,
        height=height,
        xyxy=xyxy,
        scores=np.ones(len(xyxy)),
        classes=np.array(classes, dtype=np.int64),
        names=control.label_values,
        rotated=rotated,
    )
    return found.only((xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1]) & (rotated[:, 2:4] > 0).all(axis=1))
