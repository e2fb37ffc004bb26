"""Choices: classes of a whole image, or (perRegion) of its regions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from shared.geometry.detections import Detections, Floats
from shared.labelstudio.controls import REGION_SELECTED, Control
from shared.labelstudio.items import without_labels
from shared.labelstudio.regions.extents import upright_box
from shared.labelstudio.regions.fields import region_id, words_of
from shared.labelstudio.regions.reading import Reading, drawn_labels, finish_reading, region_name

_SHAPES = ("x", "points", "rle")
"""Keys of shapes; the value of a drawn region has one of them."""


def write_choices(found: Detections, labels: Sequence[str | None], control: Control) -> list[dict[str, Any]]:
    """The item for a whole image: the labels with a class score above 0, the best first; no item without one.

    Only the best one unless the control has choice="multiple". No item for perRegion: see `write_region_choices`.
    """
    if control.per_region:
        return []
    return _answered(found, labels, control, {"id": f"{control.name}-0", "value": {}})


def write_region_choices(
    found: Detections, labels: Sequence[str | None], control: Control, region: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The item for one region: it has the region's id, shape and parent, as Label Studio stores it."""
    same = {key: region[key] for key in ("id", "parentID", "original_width", "original_height") if key in region}
    return _answered(found, labels, control, same | {"value": without_labels(region["value"]), "image_rotation": 0})


def read_choices(result: Sequence[Mapping[str, Any]], control: Control, width: int, height: int) -> Reading[Detections]:
    """One object for an image with choices, or for each region with choices; `class_scores` are 1 for chosen labels.

    Unusable with `per_region`: choices of a region without area in the image.
    """
    boxes, rows, unusable = [], [], []
    shapes = _shapes(result) if control.per_region else {}
    whole_image = np.array([0.0, 0.0, width, height])
    for region, value in _values(result):
        row = _row(value, control) if region.get("from_name") == control.name else None
        if row is None:
            continue
        if not control.per_region:
            box = None if _is_shape(value) else whole_image
        else:
            box = upright_box(value if _is_shape(value) else shapes.get(region_id(region), {}), width, height)
            if box is None:
                unusable.append(f"{region_name(region)} has choices, but no area inside the image")
        if box is not None:
            boxes.append(box)
            rows.append(row)
    if rows and not control.per_region:  # several items of an image are one object
        boxes, rows = boxes[:1], [np.max(rows, axis=0)]
    scores = np.array(rows, dtype=np.float64).reshape(len(rows), len(control.labels))
    classes = scores.argmax(axis=1) if len(rows) else np.zeros(0)
    found = Detections.annotated(width, height, boxes, classes, control.label_values, class_scores=scores)
    seen = {control.label_values[index] for index in scores.nonzero()[1]}
    return finish_reading(found, seen, unusable, result, control)


def region_boxes(result: Sequence[Mapping[str, Any]], control: Control, width: int, height: int) -> dict[str, Floats]:
    """Id → (4,) upright box in pixels of each region that a Choices with perRegion applies to.

    Regions without area in the image are left out, and those without a label of `whenLabelValue`, or (with
    visibleWhen="region-selected") labelled by another tag than `whenTagName`.
    Source: editor/src/mixins/PerRegion.js and Visibility.js of Label Studio 1.23.2.
    """
    wanted = control.attributes.get("whenLabelValue")
    tag = control.attributes.get("whenTagName") if control.attributes.get("visibleWhen") == REGION_SELECTED else None
    labels: dict[str, set[str]] = {}
    tags: dict[str, object] = {}  # region id → the first tag that labelled it
    for region, value in _values(result):
        given = drawn_labels(value)
        labels.setdefault(region_id(region), set()).update(given)
        if given:
            tags.setdefault(region_id(region), region.get("from_name"))
    found = {}
    for name, value in _shapes(result, control.to_name).items():
        asked = (not wanted or labels[name] & {wanted, *wanted.split(",")}) and (not tag or tags.get(name) == tag)
        box = upright_box(value, width, height) if asked else None
        if box is not None:
            found[name] = box
    return found


def _answered(
    found: Detections, labels: Sequence[str | None], control: Control, item: Mapping[str, Any]
) -> list[dict[str, Any]]:
    if not len(found) or found.class_scores is None:
        return []
    scores = found.class_scores[0]
    chosen: dict[str, float] = {}
    for class_ in np.argsort(-scores, kind="stable").tolist():
        label = labels[class_]
        if label is not None and scores[class_] > 0:
            chosen.setdefault(label, float(scores[class_]))
    if not control.several:
        chosen = dict(list(chosen.items())[:1])
    if not chosen:
        return []
    answer = {"from_name": control.name, "to_name": control.to_name, "type": "choices"}
    value = item["value"] | {"choices": list(chosen)}
    return [dict(item) | answer | {"value": value, "score": sum(chosen.values()) / len(chosen)}]


def _row(value: Mapping[str, Any], control: Control) -> Floats | None:
    chosen = words_of(value.get("choices")) or ()
    row = np.array([float(label in chosen) for label in control.label_values])
    return row if row.any() else None


def _shapes(result: Sequence[Mapping[str, Any]], to_name: str | None = None) -> dict[str, Mapping[str, Any]]:
    """Region id → the value with its shape."""
    shapes: dict[str, Mapping[str, Any]] = {}
    for region, value in _values(result):
        if region_id(region) and _is_shape(value) and (to_name is None or region.get("to_name") == to_name):
            shapes.setdefault(region_id(region), value)
    return shapes


def _values(result: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for region in result:
        value = region.get("value")
        if isinstance(value, Mapping):
            yield region, value


def _is_shape(value: Mapping[str, Any]) -> bool:
    return any(key in value for key in _SHAPES)
