"""Which weights a control starts from: the setting, the control's YOLO task, its model_path."""

import pytest

from shared.yolo.base_weights import base_weights_for, model_path_problem
from tests.samples.controls import control_for


@pytest.mark.parametrize(
    ("setting", "yolo_task", "weights"),
    [
        ("yolo11n.pt", "detect", "yolo11n.pt"),
        ("yolo11n.pt", "segment", "yolo11n-seg.pt"),
        ("yolo11n.pt", "obb", "yolo11n-obb.pt"),
        ("yolo11n.pt", "pose", "yolo11n-pose.pt"),
        ("yolo11n.pt", "classify", "yolo11n-cls.pt"),
        ("yolo26s-seg.pt", "detect", "yolo26s.pt"),
        ("yolov8m-cls.pt", "obb", "yolov8m-obb.pt"),
        ("yolo12n.pt", "segment", "yolo12n.pt"),  # there is no sibling to download
        ("/models/trees.pt", "segment", "/models/trees.pt"),
        ("/models/yolo11n.pt", "segment", "/models/yolo11n.pt"),
        ("/models/trees.pt, /models/trees-seg.pt", "segment", "/models/trees-seg.pt"),
        ("/models/trees-seg.pt,/models/trees.pt", "detect", "/models/trees.pt"),
        ("/models/trees.pt,yolo11s-pose.pt,yolo11n-pose.pt", "pose", "yolo11s-pose.pt"),
        ("/models/trees.pt,yolo11s-pose.pt", "classify", "/models/trees.pt"),
        ("yolo11s.pt,/models/trees-seg.pt", "classify", "yolo11s-cls.pt"),
    ],
)
def test_weights_of_the_controls_task(setting: str, yolo_task: str, weights: str) -> None:
    assert base_weights_for(control_for(yolo_task), setting) == weights


@pytest.mark.parametrize(
    ("setting", "yolo_task", "model_path", "weights", "problem"),
    [
        ("yolo11n.pt", "detect", "yolov8x.pt", "yolov8x.pt", ""),
        ("yolo11n.pt", "segment", "yolov8x-seg.pt", "yolov8x-seg.pt", ""),
        ("yolo11n.pt,/models/trees.pt", "detect", "trees.pt", "/models/trees.pt", ""),
        ("yolo11n.pt,/models/trees.pt", "segment", "trees.pt", "/models/trees.pt", ""),  # its name may say nothing
        ("yolo11n.pt", "segment", "yolov8x.pt", "yolo11n-seg.pt", "these weights are for detect"),
        ("yolo11n.pt", "detect", "/models/trees.pt", "yolo11n.pt", "neither listed"),
        ("yolo11n.pt,/models/trees.pt", "detect", "/models/trees.pt", "yolo11n.pt", "neither listed"),
        ("yolo11n.pt", "detect", "../../etc/passwd", "yolo11n.pt", "neither listed"),
        ("yolo11n.pt", "detect", "https://evil.example/yolov8x.pt", "yolo11n.pt", "neither listed"),
        ("yolo11n.pt", "detect", "x/yolov8x.pt", "yolo11n.pt", "neither listed"),
        ("yolo11n.pt", "detect", "yolov8x.pt&#10;", "yolov8x.pt", ""),
        ("yolo11n.pt", "detect", "yolov8x.onnx", "yolo11n.pt", "neither listed"),
        ("yolo11n.pt", "detect", "sam_b.pt", "yolo11n.pt", "neither listed"),
    ],
)
def test_what_a_control_asks_for(setting: str, yolo_task: str, model_path: str, weights: str, problem: str) -> None:
    asked = control_for(yolo_task, model_path)
    assert base_weights_for(asked, setting) == weights
    assert problem in model_path_problem(asked, setting)
    assert bool(problem) == bool(model_path_problem(asked, setting))
