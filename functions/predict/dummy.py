"""Fixed predictions, to test an installation: they need no weights, torch, numpy or image."""

from typing import Any

from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.items import result_items, without_labels
from shared.labelstudio.requests import PredictRequest
from shared.prediction.region_ids import with_own_ids
from shared.web.backend import DUMMY_VERSION

_WIDTH, _HEIGHT = 1000, 1000
"""Pixels, made up: the image is not fetched, and shapes are in percent of it."""
_SCORE = 0.5
_BOX = {"x": 25.0, "y": 25.0, "width": 50.0, "height": 50.0, "rotation": 0}
_SHAPES: dict[str, dict[str, Any]] = {
    "RectangleLabels": _BOX,
    "PolygonLabels": {"points": [[50.0, 20.0], [80.0, 50.0], [50.0, 80.0], [20.0, 50.0]], "closed": True},
    "EllipseLabels": {"x": 50.0, "y": 50.0, "radiusX": 25.0, "radiusY": 15.0, "rotation": 0},
    # Brush RLE needs the image's true size, except for one pixel.
    "BrushLabels": {"format": "rle", "rle": [0, 0, 0, 4, 57, 27, 252, 127, 224]},
}
_TRACK = {
    "framesCount": 1,
    "duration": 1.0,
    "sequence": [_BOX | {"frame": 1, "time": 0.0, "enabled": True}],
}


def predict_dummy(call: PredictRequest) -> list[dict[str, Any] | list[Any]]:
    """The same prediction for every task: for each control one object in the middle, with the first label.

    `[]` for every task if a smart tool asks.
    """
    if call.interactive:
        return [[] for _ in call.tasks]
    controls = parse_label_config(call.label_config)
    result = [item for control in controls if not control.per_region for item in _items(control)]
    for control in controls:
        result += _answers(control, result) if control.per_region else []
    return [{"result": with_own_ids(result), "score": _SCORE, "model_version": DUMMY_VERSION} for _ in call.tasks]


def _items(control: Control) -> list[dict[str, Any]]:
    label, name = next(iter(control.label_values), None), f"{control.name}-dummy"
    if control.tag == "KeyPointLabels":
        return _points(control)
    if control.tag in _SHAPES:
        return result_items(_SHAPES[control.tag], control, name, label, _SCORE, _WIDTH, _HEIGHT)
    if label is None:
        return []
    values: dict[str, dict[str, Any]] = {
        "Choices": {"choices": [label]},
        "VideoRectangle": _TRACK | {"labels": [label]},
        "TimelineLabels": {"ranges": [{"start": 1, "end": 1}], "timelinelabels": [label]},
    }
    return [_item(control, name) | {"value": values[control.tag]}]


def _points(control: Control) -> list[dict[str, Any]]:
    """One object with its keypoints on a diagonal, and a box if there is a control for it."""
    items: list[dict[str, Any]] = []
    parent: dict[str, str] = {}
    if control.boxes_name and control.flag("model_add_bboxes", default=True):
        label, name = control.boxes[0].value if control.boxes else None, f"{control.name}-dummy"
        boxes = Control(control.boxes_name, "RectangleLabels", "detect", control.to_name, control.value, ())
        items, parent = result_items(_BOX, boxes, name, label, _SCORE, _WIDTH, _HEIGHT), {"parentID": name}
    for number, label in enumerate(control.point_names):
        place = 30.0 + 40.0 * number / len(control.point_names)
        value, name = {"x": place, "y": place, "width": 0.5}, f"{control.name}-dummy.{number}"
        items += (item | parent for item in result_items(value, control, name, label, _SCORE, _WIDTH, _HEIGHT))
    return items


def _answers(control: Control, regions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first choice for the first region of the same image."""
    label = next(iter(control.label_values), None)
    asked = next((item for item in regions if item["to_name"] == control.to_name and "x" in item["value"]), None)
    if label is None or asked is None:
        return []
    value = without_labels(asked["value"]) | {"choices": [label]}
    return [asked | _item(control, asked["id"]) | {"value": value}]


def _item(control: Control, name: str) -> dict[str, Any]:
    kind = control.tag.lower()
    return {"id": name, "from_name": control.name, "to_name": control.to_name, "type": kind, "score": _SCORE}
