"""COCO files: converted by ultralytics they are the label files that labelloop trains on; masks are those drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ultralytics.data.converter import convert_coco

from infra.datasets.coco import CocoFiles, finish, objects_of, run_lengths
from jobs.train.data.samples import Sample
from jobs.train.data.yolo_labels import label_lines
from shared.geometry.detections import Detections
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.regions import CONTROLS
from tests.samples.shapes import control_of, iou, painted, region

BOX = {"x": 10.0, "y": 20.0, "width": 30.0, "height": 40.0}
OVER = {"x": 90.0, "y": 50.0, "width": 20.0, "height": 20.0}
TRIANGLE = {"points": [[10, 10], [60, 20], [30, 90]], "closed": True}
ROUND = {"x": 40.0, "y": 50.0, "radiusX": 20.0, "radiusY": 30.0}
POSE = (
    '<View><Image name="i" value="$image"/><RectangleLabels name="b" toName="i"><Label value="Fish"/></RectangleLabels>'
    '<KeyPointLabels name="c" toName="i"><Label value="head"/><Label value="tail"/></KeyPointLabels></View>'
)


def converted(sample: Sample, kind: str, folder: Path, **how: bool) -> list[list[float]]:
    """ultralytics' label file of a sample that was written as COCO."""
    (folder / "coco").mkdir()
    files = CocoFiles(control_of(kind), ("Tree", "Car"), folder / "coco", 640, reduced_decoding=True)
    files.add("val", sample)
    finish(folder / "coco", "test")
    convert_coco(str(folder / "coco" / "annotations"), str(folder / "yolo"), cls91to80=False, **how)
    text = (folder / "yolo" / "labels" / "val" / f"{sample.name}.txt").read_text()
    return [[float(word) for word in line.split()] for line in text.splitlines()]


def sample_of(kind: str, values: list[dict[str, Any]], folder: Path, size: tuple[int, int]) -> Sample:
    """An image file of this size, of which the original has 200 × 100 pixels."""
    control = control_of(kind)
    regions = [one for number, value in enumerate(values) for one in region(control, ["Car"], id=f"r{number}", **value)]
    Image.new("L", size).save(folder / "7.png")
    return Sample("7", folder / "7.png", CONTROLS[control.tag].read(regions, control, 200, 100).found)


@pytest.mark.parametrize("size", [(200, 100), (80, 40)], ids=["as it was", "shrunk"])
@pytest.mark.parametrize(
    ("kind", "values", "how"),
    [
        ("rectangle", [BOX], {}),
        ("ellipse of a box", [ROUND], {}),
        ("rotated rectangle", [BOX | {"rotation": 20.0}], {"use_segments": True}),
        ("polygon", [TRIANGLE, {"points": [[50, 50], [120, 60], [70, 130]]}], {"use_segments": True}),
        ("ellipse", [ROUND], {"use_segments": True}),
    ],
)
def test_ultralytics_converts_them_to_what_is_trained_on(
    kind: str, values: list[dict[str, Any]], how: dict[str, bool], size: tuple[int, int], tmp_path: Path
) -> None:
    sample = sample_of(kind, values, tmp_path, size)
    lines = label_lines(sample.found, control_of(kind).yolo_task)
    rows = converted(sample, kind, tmp_path, **how)
    assert len(rows) == len(lines) == len(values)
    for row, line in zip(rows, lines, strict=True):
        assert row == pytest.approx([float(word) for word in line.split()], abs=2e-4)


def test_boxes_end_at_the_border(tmp_path: Path) -> None:
    found = sample_of("rectangle", [OVER, {"x": 110.0, "y": 0.0, "width": 5.0, "height": 5.0}], tmp_path, (9, 9)).found
    assert [one["bbox"] for one in objects_of(found, 200, 100)] == [[180, 50, 20, 20]]


def test_a_mask_with_a_hole_is_run_lengths(tmp_path: Path) -> None:
    outer = np.array([[20.0, 10.0], [180.0, 10.0], [180.0, 90.0], [20.0, 90.0]])
    hole = np.array([[60.0, 30.0], [60.0, 70.0], [140.0, 70.0], [140.0, 30.0]])
    alone = np.array([[2.0, 2.0], [12.0, 2.0], [12.0, 8.0]])
    box = [[2.0, 2.0, 180.0, 90.0]]
    found = Detections.annotated(200, 100, box, [1], ("Tree", "Car"), outlines=((outer, hole, alone),))
    [one] = objects_of(found, 200, 100)
    lengths = one["segmentation"]["counts"]
    assert (one["segmentation"]["size"], sum(lengths)) == ([100, 200], 20_000)
    pixels = np.repeat(np.arange(len(lengths)) % 2, lengths).reshape(200, 100).T > 0
    assert iou(pixels, painted((outer, hole, alone), 200, 100)) > 0.99
    assert one["area"] == 160 * 80 - 80 * 40 + 30
    assert (one["category_id"], one["bbox"]) == (2, [2, 2, 178, 88])


@pytest.mark.parametrize("begins", [False, True])
def test_run_lengths_begin_with_the_zeros(begins: bool) -> None:
    mask = np.zeros((3, 4), dtype=np.bool_)
    mask[:2, 0 if begins else 1 : 3] = True
    assert run_lengths(mask) == ([0, 2, 1, 2, 1, 2, 4] if begins else [3, 2, 1, 2, 4])


def test_poses_have_their_points(tmp_path: Path) -> None:
    [control] = (one for one in parse_label_config(POSE) if one.yolo_task == "pose")
    points = np.array([[[20.0, 30.0, 1.0], [0.0, 0.0, 0.0]]])
    found = Detections.annotated(
        200, 100, [[10, 20, 50, 60]], [0], ("Fish",), keypoints=points, point_names=("head", "tail")
    )
    Image.new("L", (100, 50)).save(tmp_path / "7.png")
    (tmp_path / "coco").mkdir()
    files = CocoFiles(control, ("Fish",), tmp_path / "coco", 640, reduced_decoding=True)
    assert files.add("train", Sample("7", tmp_path / "7.png", found)) == 1
    finish(tmp_path / "coco", "test")
    coco = json.loads((tmp_path / "coco" / "annotations" / "instances_train.json").read_text())
    assert coco["categories"] == [{"id": 1, "name": "Fish", "keypoints": ["head", "tail"], "skeleton": []}]
    [one] = coco["annotations"]
    assert (one["keypoints"], one["num_keypoints"]) == ([10, 15, 2, 0, 0, 0], 1)
    assert (one["id"], one["image_id"], one["iscrowd"], one["bbox"]) == (1, 1, 0, [5, 10, 20, 20])
