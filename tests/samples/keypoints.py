"""Keypoints and boxes as Label Studio stores them, and the detections of a pose model."""

import json
from typing import Any

import numpy as np
from label_studio_sdk.label_interface import LabelInterface

from shared.geometry.detections import Detections
from shared.labelstudio.class_labels import class_labels
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.keypoints import read_keypoints, write_keypoints

POINTS = ("nose", "left", "right")
CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="kp_bbox" toName="image" model_skip="true"><Label value="person"/></RectangleLabels>
<KeyPointLabels name="kp" toName="image"><Label value="nose"/><Label value="left"/><Label value="right"/>
</KeyPointLabels></View>"""
INDEXED = CONFIG
for number, label in enumerate(POINTS):
    INDEXED = INDEXED.replace(f'"{label}"', f'"{label}" predicted_values="person" model_index="{number}"')
ALONE = CONFIG.replace("RectangleLabels", "PolygonLabels")
PAIR = """<View><Image name="image" value="$image"/>
<RectangleLabels name="kp_bbox" toName="image" model_skip="true"><Label value="person"/></RectangleLabels>
<KeyPoint name="kp" toName="image"/><Labels name="parts" toName="image"><Label value="nose"/><Label value="left"/>
<Label value="right"/></Labels></View>"""
CONFIGS = {"boxes": CONFIG, "alone": ALONE, "pair": PAIR, "indexed": INDEXED}


def control_of(config: str = CONFIG) -> Control:
    return next(control for control in parse_label_config(config) if control.name == "kp")


def point(label: str, x: float, y: float, name: str = "", parent: str | None = None, **more: Any) -> dict[str, Any]:
    region = {
        "id": name or f"{label}-{x}-{y}",
        "from_name": "kp",
        "to_name": "image",
        "type": "keypointlabels",
        "original_width": 200,
        "original_height": 100,
        "value": {"x": x, "y": y, "width": 0.5, "keypointlabels": [label]} | more,
    }
    return region if parent is None else region | {"parentID": parent}


def box(x: float, y: float, width: float, height: float, name: str, label: str = "person") -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [label]}
    same = {"to_name": "image", "original_width": 200, "original_height": 100}
    return same | {"id": name, "from_name": "kp_bbox", "type": "rectanglelabels", "value": value}


def read(*regions: Any, config: str = CONFIG) -> tuple[list[list[float]], list[dict[str, tuple[float, float]]]]:
    """Boxes, and the points that are set, of an image of 200 × 100 pixels."""
    control = control_of(config)
    found = read_keypoints(regions, control, 200, 100).found
    assert found.names == control.class_names
    assert found.keypoints is not None
    assert (found.keypoints[found.keypoints[..., 2] == 0] == 0).all()
    places = [
        {name: (x, y) for name, (x, y, sure) in zip(control.point_names, row, strict=True) if sure}
        for row in found.keypoints.tolist()
    ]
    return found.xyxy.tolist(), places


def pose(points: Any, xyxy: Any = ((20, 20, 180, 80),), width: int = 200, height: int = 100, **more: Any) -> Detections:
    keypoints = np.array(points, dtype=np.float64).reshape(-1, len(POINTS), 3)
    boxes, scores = np.array(xyxy, dtype=np.float64).reshape(-1, 4), np.full(len(xyxy), 0.75)
    classes = np.zeros(len(xyxy), dtype=np.int64)
    return Detections(width, height, boxes, scores, classes, ("person",), keypoints=keypoints, **more)


def write(found: Detections, config: str = CONFIG, *, trained: bool = False) -> list[dict[str, Any]]:
    """The regions, which Label Studio accepts."""
    control = control_of(config)
    labels = class_labels(found.names, control, trained=False)
    only = control.class_names[0]
    named = [label or only for label in labels]
    written = json.loads(json.dumps(write_keypoints(found, named, control, trained=trained)))
    prediction = {"result": written, "score": 0.5, "model_version": "kp:v1"}
    assert LabelInterface(config).validate_prediction(prediction, return_errors=True) == []
    regions: list[dict[str, Any]] = written
    return regions


def places(regions: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    values = [region["value"] for region in regions if "keypointlabels" in region["value"]]
    return {value["keypointlabels"][0]: (value["x"], value["y"]) for value in values}
