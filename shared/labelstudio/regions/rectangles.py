"""RectangleLabels, and Rectangle with Labels: upright boxes, and rotated ones for obb."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.geometry import Detections, clip_xyxy, envelope, percent_to_xyxy, rotated_corners, xyxy_to_percent
from shared.labelstudio.config import Control
from shared.labelstudio.regions.labelled import labelled, written

_FAR = 1e9  # percent of the image: no number that a person drew


def write_rectangles(found: Detections, labels: Sequence[str | None], control: Control) -> list[dict[str, Any]]:
    """Boxes without area inside the image are left out."""
    boxes = xyxy_to_percent(found.xyxy, found.width, found.height)
    regions = []
    for number, ((x, y, width, height), score, class_) in enumerate(
        zip(boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True)
    ):
        if not (width > 0 and height > 0):
            continue
        value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
        regions += written(value, control, f"{control.name}-{number}", labels[class_], score, found)
    return regions


def read_rectangles(result: Sequence[Mapping[str, Any]], control: Control, width: int, height: int) -> Detections:
    """A rotated rectangle is there as it is, and as its clipped envelope."""
    values, classes = [], []
    for region, class_ in labelled(result, control):
        value = region["value"]
        try:
            box = [float(value[key]) for key in ("x", "y", "width", "height")] + [float(value.get("rotation") or 0.0)]
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        if not (np.abs(box) < _FAR).all():  # nor NaN
            continue
        values.append(box)
        classes.append(class_)
    table = np.array(values, dtype=np.float64).reshape(-1, 5)
    xyxy = clip_xyxy(
        envelope(rotated_corners(percent_to_xyxy(table[:, :4], width, height), table[:, 4])), width, height
    )
    found = Detections(width, height, xyxy, np.ones(len(xyxy)), np.array(classes, dtype=np.int64), control.label_values)
    return found.only((xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1]))
