"""Regions and boxes, there and back; Label Studio's own SDK is the oracle of both directions."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.converter.converter import Converter, Format
from label_studio_sdk.converter.utils import convert_annotation_to_yolo_obb
from label_studio_sdk.label_interface import LabelInterface
from PIL import Image

from jobs.train.data.yolo_labels import label_lines
from shared.geometry.detections import Detections, percent_to_xyxy, rotated_corners, xywhn_to_xyxy, xyxy_to_xywhn
from shared.labelstudio.class_labels import class_labels
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.regions.rectangles import write_rectangles
from shared.labelstudio.regions.shapes import read_shapes
from shared.media.decode import decode

CONFIG = """<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">
<Label value="Tree"/><Label value="Passenger car" alias="car"/></RectangleLabels></View>"""
(CONTROL,) = parse_label_config(CONFIG)
ORACLE = LabelInterface(CONFIG)


def region(
    x: float, y: float, width: float, height: float, rotation: float = 0.0, labels: Any = ("Tree",), **more: Any
) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation, "rectanglelabels": list(labels)}
    return {
        "id": "r1",
        "from_name": "label",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": 200,
        "original_height": 100,
        "value": value,
    } | more


def detections(
    xyxy: Any, width: int = 200, height: int = 100, names: tuple[str, ...] = ("tree", "person")
) -> Detections:
    boxes = np.array(xyxy, dtype=np.float64).reshape(-1, 4)
    classes = np.arange(len(boxes), dtype=np.int64) % len(names)
    scores = np.linspace(0.9, 0.1, len(boxes), dtype=np.float64)
    return Detections(width, height, boxes, scores, classes, names)


class TestWriting:
    def test_region(self) -> None:
        (written,) = write_rectangles(detections([[50, 25, 150, 75]]), ["Tree", None], CONTROL)
        assert written == {
            "id": "label-0",
            "from_name": "label",
            "to_name": "image",
            "type": "rectanglelabels",
            "original_width": 200,
            "original_height": 100,
            "image_rotation": 0,
            "score": 0.9,
            "value": {"x": 25, "y": 25, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["Tree"]},
        }

    def test_ids_differ_within_and_between_controls(self) -> None:
        names = ["a control with a long name 1", "a control with a long name 2"]
        controls = [parse_label_config(CONFIG.replace('name="label"', f'name="{name}"'))[0] for name in names]
        found = detections([[0, 0, 9, 9], [1, 1, 9, 9]])
        ids = [one["id"] for control in controls for one in write_rectangles(found, ["Tree", None], control)]
        assert len(set(ids)) == 4

    @pytest.mark.parametrize(
        "box",
        [(300, 10, 400, 20), (-9, -9, 0, 0), (10, 10, 10, 20), (20, 10, 10, 20), (np.nan, 0, 9, 9)],
        ids=["outside", "touching", "no width", "inside out", "not a number"],
    )
    def test_boxes_without_area_are_left_out(self, box: tuple[float, ...]) -> None:
        written = write_rectangles(detections([box, [0, 0, 10, 10]]), ["Tree", "Tree"], CONTROL)
        assert [one["id"] for one in written] == ["label-1"]

    @given(st.data())
    def test_the_sdk_accepts_every_prediction(self, data: st.DataObject) -> None:
        side = st.integers(1, 10_000)
        width, height = data.draw(side), data.draw(side)
        corner = st.floats(-2.0 * max(width, height), 3.0 * max(width, height))
        found = detections(data.draw(st.lists(st.tuples(*[corner] * 4), max_size=6)), width, height)
        written = write_rectangles(found, class_labels(found.names, CONTROL, trained=True), CONTROL)
        prediction = {"result": json.loads(json.dumps(written)), "score": 0.5, "model_version": "label:v1"}
        assert ORACLE.validate_prediction(prediction, return_errors=True) == []

    def test_proposals_have_an_empty_label_because_label_studio_refuses_other_forms(self) -> None:
        (proposal,) = write_rectangles(detections([[1, 1, 9, 9]]), [None, None], CONTROL)
        assert proposal["value"]["rectanglelabels"] == []
        unlabelled = {key: value for key, value in proposal["value"].items() if key != "rectanglelabels"}
        for other in (proposal | {"value": unlabelled}, proposal | {"value": unlabelled, "type": "rectangle"}):
            assert ORACLE.validate_prediction({"result": [other]}, return_errors=True) != []


class TestReading:
    def read(self, *regions: Any) -> tuple[list[list[float]], list[str]]:
        found = read_shapes(regions, CONTROL, 200, 100).found
        assert found.scores.tolist() == [1] * len(found)
        return found.xyxy.tolist(), [found.names[class_] for class_ in found.classes]

    def test_box(self) -> None:
        assert self.read(region(25, 25, 50, 50)) == ([[50, 25, 150, 75]], ["Tree"])

    def test_turned_box_becomes_its_clipped_envelope(self) -> None:
        boxes, _ = self.read(region(50, 0, 20, 20, rotation=90))  # 40 × 20 pixels, turned: 20 left, 40 down
        assert boxes[0] == pytest.approx([80, 0, 100, 40])
        boxes, _ = self.read(region(5, 0, 20, 20, rotation=90))
        assert boxes[0] == pytest.approx([0, 0, 10, 40])

    def test_over_the_border(self) -> None:
        assert self.read(region(90, -10, 30, 20))[0] == [pytest.approx([180, 0, 200, 10])]

    def test_several_labels_count_once_for_each(self) -> None:
        boxes, labels = self.read(region(0, 0, 10, 10, labels=["Tree", "car", "Tree"]))
        assert (boxes, labels) == ([[0, 0, 20, 10]] * 2, ["Tree", "car"])

    @pytest.mark.parametrize(
        "other",
        [
            region(0, 0, 10, 10, from_name="other"),
            region(0, 0, 10, 10, labels=[]),
            region(0, 0, 10, 10, labels=["Passenger car"]),
            region(0, 0, 10, 10, labels=[["Tree"], None, 1]),
            region(0, 0, 0, 10),
            region(120, 0, 10, 10),
            region(float("nan"), 0, 10, 10),
            region(1e308, 0, 1e308, 10),
            region(10**400, 0, 10, 10),
            region(0, 0, 10, 10, value={"rectanglelabels": ["Tree"]}),
            region(0, 0, 10, 10, value={"x": "a", "y": 0, "width": 1, "height": 1, "rectanglelabels": ["Tree"]}),
            region(0, 0, 10, 10, value={"x": 0, "y": 0, "width": 1, "height": 1, "rectanglelabels": "Tree"}),
            region(0, 0, 10, 10, value=None),
            {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
            {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["a"]}},
        ],
    )
    def test_left_out(self, other: Any) -> None:
        assert self.read(other, region(25, 25, 50, 50)) == ([[50, 25, 150, 75]], ["Tree"])

    def test_nothing(self) -> None:
        found = read_shapes([], CONTROL, 10, 10).found
        assert found.xyxy.shape == (0, 4)
        assert len(found) == len(found.classes) == 0


@given(st.data())
def test_region_to_yolo_line_to_detections_to_region(data: st.DataObject) -> None:
    side = st.integers(16, 10_000)
    width, height = data.draw(side), data.draw(side)
    start, size = st.floats(0, 60), st.floats(1, 40)
    x, y, across, down = data.draw(st.tuples(start, start, size, size))
    (line,) = label_lines(read_shapes([region(x, y, across, down)], CONTROL, width, height).found, "detect")
    class_, *numbers = line.split()
    xyxy = xywhn_to_xyxy(np.array([numbers], dtype=np.float64), width, height)
    found = Detections(width, height, xyxy, np.ones(1), np.array([int(class_)]), CONTROL.label_values)
    (written,) = write_rectangles(found, [*CONTROL.label_values], CONTROL)
    assert written["value"]["rectanglelabels"] == ["Tree"]
    # Six digits of a fraction: half a millionth of the image for the centre and for half the size.
    expected = {"x": x, "y": y, "width": across, "height": down}
    assert {key: written["value"][key] for key in expected} == pytest.approx(expected, abs=2e-4)


def test_boxes_of_a_photograph_turned_by_exif() -> None:
    """The camera was held upright: stored 80 × 40, shown 40 × 80, annotated as shown."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.new("RGB", (80, 40))
    stored.paste((255, 255, 255), (60, 0, 80, 10))  # shown in the lower right corner
    buffer = io.BytesIO()
    stored.save(buffer, "PNG", exif=exif)
    pixels = decode(buffer.getvalue(), 10_000)
    height, width = pixels.shape[:2]
    assert (width, height) == (40, 80)
    left, top, right, bottom = read_shapes([region(75, 75, 25, 25)], CONTROL, width, height).found.xyxy[0].astype(int)
    assert (pixels[top:bottom, left:right] == 255).all()
    assert int((pixels[..., 0] == 255).sum()) == (bottom - top) * (right - left)


def test_yolo_labels_equal_the_sdks_export(tmp_path: Path) -> None:
    regions = [
        region(10.5, 20.25, 30, 40, id="a"),
        region(0, 0, 100, 100, id="b", labels=["car"]),
        region(60, 5, 39.9, 90, id="c", labels=["car", "Tree"]),
        region(1, 1, 5, 5, id="d", labels=[]),
    ]
    task = {
        "id": 1,
        "data": {"image": "photo.jpg"},
        "annotations": [{"id": 1, "result": regions, "was_cancelled": False}],
    }
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    converter = Converter(CONFIG, str(tmp_path), download_resources=False)
    converter.convert(str(tmp_path / "tasks.json"), str(tmp_path / "yolo"), Format.YOLO, is_dir=False)
    classes = (tmp_path / "yolo" / "classes.txt").read_text().split("\n")
    (exported,) = (tmp_path / "yolo" / "labels").glob("*.txt")
    theirs = sorted(
        (classes[int(words[0])], *map(float, words[1:])) for words in map(str.split, exported.read_text().splitlines())
    )
    found = read_shapes(regions, CONTROL, 200, 100).found
    labels = [found.names[class_] for class_ in found.classes]
    ours = sorted(
        (label, *row) for label, row in zip(labels, xyxy_to_xywhn(found.xyxy, 200, 100).tolist(), strict=True)
    )
    assert [row[0] for row in ours] == [row[0] for row in theirs] == ["Tree", "Tree", "car", "car"]
    assert np.array([row[1:] for row in ours]) == pytest.approx(np.array([row[1:] for row in theirs]), abs=1e-9)


@given(st.floats(0, 360), st.floats(0, 80), st.floats(0, 80), st.floats(0.1, 60), st.floats(0.1, 60))
def test_turned_corners_equal_the_sdks(rotation: float, x: float, y: float, width: float, height: float) -> None:
    label = region(x, y, width, height, rotation)["value"] | {"original_width": 640, "original_height": 360}
    theirs = np.array(convert_annotation_to_yolo_obb(label, normalize=False))
    xyxy = percent_to_xyxy(np.array([[x, y, width, height]]), 640, 360)
    assert rotated_corners(xyxy, np.array([rotation]))[0] == pytest.approx(theirs, abs=1e-9)
