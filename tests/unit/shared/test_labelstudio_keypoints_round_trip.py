"""Keypoints written, read and exported: the same points as before, and as Label Studio's own export has them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.converter.converter import Converter, Format
from PIL import Image

from jobs.train.data.yolo_labels import label_lines
from shared.geometry.detections import Detections, xywhn_to_xyxy
from shared.labelstudio.regions.keypoints import read_keypoints, write_keypoints
from shared.media.decode import decode
from tests.samples.keypoints import (
    ALONE,
    CONFIG,
    CONFIGS,
    INDEXED,
    POINTS,
    box,
    control_of,
    places,
    point,
    write,
)

fractions = st.floats(0, 1)


@st.composite
def objects(draw: st.DrawFn) -> tuple[int, int, list[list[dict[str, Any]]]]:
    """Width, height, and for each object its regions: a box that may be over the border, and some of its points."""
    width, height = draw(st.integers(16, 10_000)), draw(st.integers(16, 10_000))
    made = []
    for number in range(draw(st.integers(0, 4))):
        start, size = st.floats(-20, 60), st.floats(21, 60)
        x, y, across, down = draw(st.tuples(start, start, size, size))
        regions = [box(x, y, across, down, f"b{number}")]
        for label in draw(st.lists(st.sampled_from(POINTS), unique=True)):
            left, top = draw(st.tuples(fractions, fractions))
            place = (min(max(x + across * left, 0.0), 100.0), min(max(y + down * top, 0.0), 100.0))
            regions.append(point(label, *place, f"b{number}-{label}", f"b{number}"))
        made.append(regions)
    return width, height, made


@given(objects(), st.sampled_from(["boxes", "indexed"]))
@settings(max_examples=100)
def test_region_to_yolo_line_to_detections_to_region(
    made: tuple[int, int, list[list[dict[str, Any]]]], kind: str
) -> None:
    width, height, wanted = made
    control = control_of(CONFIGS[kind])
    read_back = read_keypoints([region for regions in wanted for region in regions], control, width, height).found
    lines = label_lines(read_back, "pose")
    table = np.array([[float(word) for word in line.split()] for line in lines]).reshape(-1, 5 + 3 * len(POINTS))
    points = table[:, 5:].reshape(-1, len(POINTS), 3) * (width, height, 0.5)
    found = Detections(
        width,
        height,
        xywhn_to_xyxy(table[:, 1:5], width, height),
        np.full(len(table), 0.5),
        table[:, 0].astype(np.int64),
        control.class_names,
        keypoints=points,
        point_names=control.point_names,
    )
    written = write(found, CONFIGS[kind])
    for number, (thing, *rest) in enumerate(wanted):
        parent = f"kp-{number}"
        (outer,) = [region["value"] for region in written if region["id"] == parent]
        left, top = max(thing["value"]["x"], 0), max(thing["value"]["y"], 0)
        right = min(thing["value"]["x"] + thing["value"]["width"], 100)
        lower = min(thing["value"]["y"] + thing["value"]["height"], 100)
        expected = {"x": left, "y": top, "width": right - left, "height": lower - top}
        # Six digits of a fraction: half a millionth of the image for the centre and for half the size.
        assert {key: outer[key] for key in expected} == pytest.approx(expected, abs=2e-4)
        inner = places([region for region in written if region.get("parentID") == parent])
        assert inner.keys() == places(rest).keys()
        for label, place in places(rest).items():
            assert inner[label] == pytest.approx(place, abs=1e-4)


@given(objects())
@settings(max_examples=50)
def test_points_without_boxes_stay_together(made: tuple[int, int, list[list[dict[str, Any]]]]) -> None:
    width, height, wanted = made
    control, with_boxes = control_of(ALONE), control_of()
    found = read_keypoints([region for regions in wanted for region in regions], with_boxes, width, height).found
    written = write_keypoints(found, list(control.class_names), control)
    again = read_keypoints(written, control, width, height).found
    assert found.keypoints is not None
    assert again.keypoints is not None
    before, after = (np.round(points, 2).tolist() for points in (found.keypoints, again.keypoints))
    held = [thing for thing in before if any(sure for _, _, sure in thing)]
    single = [thing for thing in held if sum(sure for _, _, sure in thing) == 1]
    if len(single) < 2:  # nobody is above points that are alone, so that they could be of one object
        assert sorted(after) == sorted(held)


def test_points_of_a_photograph_turned_by_exif() -> None:
    """The camera was held upright: stored 80 × 40, shown 40 × 80, annotated as shown."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.new("RGB", (80, 40))
    stored.putpixel((70, 5), (255, 255, 255))
    buffer = io.BytesIO()
    stored.save(buffer, "PNG", exif=exif)
    pixels = decode(buffer.getvalue(), 10_000)
    height, width = pixels.shape[:2]
    (row,), (column,) = np.nonzero(pixels[..., 0])
    shown = point("nose", (column + 0.5) / 40 * 100, (row + 0.5) / 80 * 100)
    found = read_keypoints([shown], control_of(ALONE), width, height).found
    assert found.keypoints is not None
    x, y, _ = found.keypoints[0, 0].astype(int)
    assert (x, y) == (column, row) == (40 - 1 - 5, 70)
    assert (pixels[y, x] == 255).all()


class TestExport:
    """The SDK's YOLO export of the same annotations."""

    REGIONS = (
        box(10.5, 20.25, 30, 40, "a"),
        point("right", 33.3, 44.4, "r", "a"),
        point("nose", 12, 50, "n", "a"),
        point("left", 50, 2, "l"),
        box(60, 5, 39.9, 90, "b"),
        point("left", 70, 70, "x", "b"),
        box(1, 1, 5, 5, "c"),
    )

    def export(self, config: str, folder: Path) -> list[list[float]]:
        result = list(self.REGIONS)
        annotation = {"id": 1, "result": result, "was_cancelled": False}
        (folder / "tasks.json").write_text(
            json.dumps([{"id": 1, "data": {"image": "a.jpg"}, "annotations": [annotation]}])
        )
        converter = Converter(config, str(folder), download_resources=False)
        converter.convert(str(folder / "tasks.json"), str(folder / "yolo"), Format.YOLO, is_dir=False)
        (exported,) = (folder / "yolo" / "labels").glob("*.txt")
        return sorted([float(word) for word in line.split()] for line in exported.read_text().splitlines())

    def ours(self, config: str) -> list[list[float]]:
        lines = label_lines(read_keypoints(self.REGIONS, control_of(config), 200, 100).found, "pose")
        return sorted([float(word) for word in line.split()] for line in lines)

    def test_same(self, tmp_path: Path) -> None:
        theirs, ours = self.export(INDEXED, tmp_path), self.ours(INDEXED)
        assert len(theirs) == 3
        assert np.array(ours) == pytest.approx(np.array(theirs), abs=1e-6)

    def test_without_model_index_the_sdk_exports_no_points_but_ours_are_in_the_order_of_the_labels(
        self, tmp_path: Path
    ) -> None:
        theirs, ours = self.export(CONFIG, tmp_path), self.ours(CONFIG)
        assert {len(row) for row in theirs} == {5}
        assert ours == self.ours(INDEXED)

    def test_the_sdk_exports_nothing_without_boxes(self, tmp_path: Path) -> None:
        assert Format.YOLO.name not in Converter(ALONE, str(tmp_path)).supported_formats
        assert len(self.ours(ALONE)) == 3

    def test_of_one_thing_the_sdks_coco_export_has_the_same_points_in_whole_pixels(self, tmp_path: Path) -> None:
        Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
        regions = [point("right", 33.3, 44.4), point("nose", 12, 50)]
        task = {
            "id": 1,
            "data": {"image": str(tmp_path / "a.png")},
            "annotations": [{"id": 1, "result": regions, "was_cancelled": False}],
        }
        (tmp_path / "tasks.json").write_text(json.dumps([task]))
        converter = Converter(INDEXED, str(tmp_path), download_resources=False)
        converter.convert_to_coco(str(tmp_path / "tasks.json"), str(tmp_path / "coco"), is_dir=False)
        (exported,) = json.loads((tmp_path / "coco" / "result.json").read_text())["annotations"]
        found = read_keypoints(regions, control_of(INDEXED.replace("RectangleLabels", "PolygonLabels")), 200, 100).found
        assert found.keypoints is not None
        assert exported["keypoints"] == [24, 50, 2, 0, 0, 0, 67, 44, 2]
        assert (found.keypoints[0].round() * (1, 1, 2)).ravel().tolist() == exported["keypoints"]
