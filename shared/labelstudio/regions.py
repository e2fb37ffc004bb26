"""Regions of Label Studio ↔ boxes: the row of each control's writer and reader.

Formats: https://labelstud.io/guide/export (percent of the upright image, label under the key named like the type).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from shared.geometry import Detections, Floats, clip_xyxy, envelope, percent_to_xyxy, rotated_corners, xyxy_to_percent
from shared.labelstudio.config import Control

_FAR = 1e9  # percent of the image: no number that a person drew


def class_labels(names: Iterable[str], control: Control) -> list[str | None]:
    """For each class name of a model the label that it means in this control, or None.

    A label's `predicted_values` win; otherwise names are compared with its value (and what annotators see instead of an
    alias) without regard to case.
    """
    by_name: dict[str, str] = {}
    for label in control.labels:
        by_name.setdefault(label.value.casefold(), label.value)
        by_name.setdefault((label.shown or label.value).casefold(), label.value)
    for label in control.labels:
        by_name.update((value.casefold(), label.value) for value in label.predicted_values)
    return [by_name.get(name.casefold()) for name in names]


def write_rectangles(found: Detections, labels: list[str | None], control: Control) -> list[dict[str, Any]]:
    """Regions of type rectanglelabels. `labels` maps class index → label; None becomes a region without a label.

    Label Studio stores and shows `rectanglelabels: []`; the type `rectangle` it refuses for such a control. Boxes
    without area inside the image are left out.
    """
    boxes = xyxy_to_percent(found.xyxy, found.width, found.height)
    regions = []
    for number, ((x, y, width, height), score, class_) in enumerate(
        zip(boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True)
    ):
        if not (width > 0 and height > 0):
            continue
        label = labels[class_]
        regions.append(
            {
                "id": f"{control.name}-{number}",  # regions with the same id become one
                "from_name": control.name,
                "to_name": control.to_name,
                "type": "rectanglelabels",
                "original_width": found.width,
                "original_height": found.height,
                "image_rotation": 0,
                "score": score,
                "value": {
                    "x": x,
                    "y": y,
                    "width": width,
                    "height": height,
                    "rotation": 0,
                    "rectanglelabels": [label] if label else [],
                },
            }
        )
    return regions


def read_rectangles(
    result: Iterable[Mapping[str, Any]], control: Control, width: int, height: int
) -> tuple[Floats, list[str]]:
    """Boxes of one control in an annotation: (N, 4) pixel corners clipped to the image, and a label for each.

    `width` and `height` are those of the upright image itself. A rotated rectangle becomes its clipped envelope.
    Left out: regions of other controls, without or with unknown label, and boxes that have no area inside the image
    or no finite place.
    A region with several labels counts once for each.
    """
    known = frozenset(control.label_values)
    values, labels = [], []
    for region in result:
        value = region.get("value")
        if region.get("from_name") != control.name or not isinstance(value, Mapping):
            continue
        try:
            box = [float(value[key]) for key in ("x", "y", "width", "height")] + [float(value.get("rotation") or 0.0)]
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        given = value.get("rectanglelabels")
        if not isinstance(given, list) or not (np.abs(box) < _FAR).all():  # nor NaN
            continue
        for label in given:
            if isinstance(label, str) and label in known:
                values.append(box)
                labels.append(label)
    table = np.array(values, dtype=np.float64).reshape(-1, 5)
    xyxy = clip_xyxy(
        envelope(rotated_corners(percent_to_xyxy(table[:, :4], width, height), table[:, 4])), width, height
    )
    kept = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    return xyxy[kept], [label for label, keep in zip(labels, kept, strict=True) if keep]
