"""What the gate reads of a val set is what was written for ultralytics."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.train.data.yolo_dataset import POINT_SIGMA
from jobs.train.data.yolo_labels import label_lines
from jobs.train.yolo.val_set import ValSet, task_of
from shared.geometry.detections import Detections, envelope, xywhr_to_corners
from shared.geometry.suppression import gaussian_overlaps
from shared.yolo_task import YoloTask

WIDTH, HEIGHT = 200, 100
BOXES = [[20.0, 10, 80, 60], [100, 0, 200, 50.5]]
ROTATED = np.array([[60.0, 50, 60, 20, 0.4], [120, 40, 20, 50, -1.2]])
RING = np.array([[20.0, 10], [80, 10], [80, 60], [50, 30]])
POINTS = np.array([[[30.0, 20, 1], [70, 50, 1]], [[150, 10, 1], [0, 0, 0]]])


def val_set(folder: Path, lines: list[str] | None) -> ValSet:
    for kind in ("images", "labels"):
        (folder / kind / "val").mkdir(parents=True)
    if lines is not None:
        (folder / "labels" / "val" / "12-3.txt").write_text("".join(lines))
    described = {"val": "images/val", "names": ["Tree", "Rock"], "kpt_names": {"0": ["nose", "tail"]}}
    (folder / "data.yaml").write_text(json.dumps(described | {"kpt_oks_sigmas": [POINT_SIGMA] * 2}))
    return ValSet.of(folder / "data.yaml")


@pytest.mark.parametrize(
    ("yolo_task", "boxes", "more"),
    [
        ("detect", BOXES, {}),
        ("segment", envelope(np.stack([RING, RING + 15])), {"outlines": ((RING,), (RING + 15,))}),
        ("obb", envelope(xywhr_to_corners(ROTATED)), {"rotated": ROTATED}),
        ("pose", BOXES, {"keypoints": POINTS, "point_names": ("nose", "tail")}),
    ],
)
def test_what_was_drawn_is_read_again(tmp_path: Path, yolo_task: YoloTask, boxes: Any, more: dict[str, Any]) -> None:
    drawn = Detections.annotated(WIDTH, HEIGHT, boxes, [1, 0], ("Tree", "Rock"), **more)
    lines = label_lines(drawn, yolo_task)
    read = val_set(tmp_path, [*lines, lines[0]]).annotated(Path("12-3.jpg"), WIDTH, HEIGHT, yolo_task)
    assert read.classes.tolist() == [1, 0], "what is written twice counts once"
    np.testing.assert_allclose(read.xyxy, drawn.xyxy, atol=1e-3)
    if yolo_task == "segment":
        assert read.outlines is not None
        np.testing.assert_allclose(read.outlines[1][0], RING + 15, atol=1e-3)
    if yolo_task == "obb":
        assert read.rotated is not None
        np.testing.assert_allclose(np.diag(gaussian_overlaps(read.rotated, ROTATED)), 1, atol=1e-3)
    if yolo_task == "pose":
        assert read.keypoints is not None
        np.testing.assert_allclose(read.keypoints[..., :2], POINTS[..., :2], atol=1e-3)
        assert (read.keypoints[..., 2] > 0).tolist() == (POINTS[..., 2] > 0).tolist()


@pytest.mark.parametrize("yolo_task", ["detect", "segment", "obb", "pose"])
@pytest.mark.parametrize("lines", [None, []])
def test_a_picture_of_nothing(tmp_path: Path, yolo_task: YoloTask, lines: list[str] | None) -> None:
    assert len(val_set(tmp_path, lines).annotated(Path("12-3.jpg"), WIDTH, HEIGHT, yolo_task)) == 0


@pytest.mark.parametrize(("name", "task"), [("12.jpg", "12"), ("12-3.jpg", "12"), ("7-0.png", "7")])
def test_the_task_of_a_picture(name: str, task: str) -> None:
    assert task_of(Path("x") / name) == task
