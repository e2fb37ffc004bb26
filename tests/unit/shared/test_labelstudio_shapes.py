"""Polygons, brushes, ellipses and rotated rectangles: regions to detections and back."""

import io
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.converter.utils import convert_yolo_obb_to_annotation
from label_studio_sdk.label_interface import LabelInterface
from PIL import Image

from shared.geometry.detections import Detections, Floats, Outline, envelope, xywhr_to_corners
from shared.geometry.outlines import mask_to_outline
from shared.geometry.rings import clip_outline, signed_area
from shared.labelstudio.controls import Control
from shared.labelstudio.regions import CONTROLS
from shared.media.decode import decode
from tests.samples.shapes import CONTROLS as KINDS
from tests.samples.shapes import Mask, config_of, control_of, iou, painted, region, rle

WIDTH, HEIGHT = 200, 100
LABELS = ["Tree", "Car"]


def detections(size: tuple[int, int] = (WIDTH, HEIGHT), **shapes: Any) -> Detections:
    count = len(next(iter(shapes.values())))
    outlines = shapes.get("outlines")
    if "xyxy" not in shapes:
        corners = xywhr_to_corners(shapes["rotated"]) if "rotated" in shapes else np.zeros((count, 4, 2))
        shapes["xyxy"] = envelope(corners)
    if outlines is not None:
        shapes["outlines"] = tuple(outlines)
    return Detections(*size, scores=np.full(count, 0.5), classes=np.arange(count) % 2, names=("a", "b"), **shapes)


def write(kind: str, found: Detections) -> list[dict[str, Any]]:
    control = control_of(kind)
    return CONTROLS[control.tag].write(found, LABELS, control)


def read(control: Control, *regions: dict[str, Any], size: tuple[int, int] = (WIDTH, HEIGHT)) -> Detections:
    return CONTROLS[control.tag].read(regions, control, *size).found


def box_mask(left: int, top: int, right: int, bottom: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Mask:
    mask = np.zeros((size[1], size[0]), dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def square(left: float, top: float, side: float) -> Floats:
    return np.array([[left, top], [left + side, top], [left + side, top + side], [left, top + side]])


class TestRotatedRectangles:
    kind = "rotated rectangle"

    def test_region(self) -> None:
        (written,) = write(self.kind, detections(rotated=np.array([[100, 50, 40, 20, math.pi / 2]])))
        expected = {"x": 55, "y": 30, "width": 20, "height": 20, "rotation": 90}
        assert {key: written["value"].pop(key) for key in expected} == pytest.approx(expected)
        assert written["value"] == {"rectanglelabels": ["Tree"]}

    def test_reading_keeps_the_box_as_it_was_drawn_beside_its_clipped_envelope(self) -> None:
        found = read(
            control_of(self.kind), *region(control_of(self.kind), x=5, y=0, width=20, height=20, rotation=90.0)
        )
        assert found.rotated is not None
        assert found.rotated == pytest.approx(np.array([[0, 20, 40, 20, math.pi / 2]]))
        assert found.xyxy == pytest.approx(np.array([[0, 0, 10, 40]]))

    def test_an_upright_detector_writes_upright_boxes_for_such_a_control(self) -> None:
        (written,) = write(self.kind, detections(xyxy=np.array([[20.0, 10, 60, 30]])))
        assert written["value"]["rotation"] == 0

    @given(st.floats(-10, 10), st.floats(-200, 400), st.floats(-100, 200), st.floats(0.5, 300), st.floats(0.5, 300))
    def test_what_is_visible_is_written_and_within_label_studios_bounds(
        self, radians: float, x: float, y: float, width: float, height: float
    ) -> None:
        found = detections(rotated=np.array([[x, y, width, height, radians]]))
        assert found.rotated is not None
        visible = clip_outline((xywhr_to_corners(found.rotated)[0],), WIDTH, HEIGHT)
        written = write(self.kind, found)
        if not written:
            assert not visible
            return
        value = written[0]["value"]
        assert all(value[side] <= 100 for side in ("x", "y", "width", "height"))
        assert 0 <= value["rotation"] <= 360
        again = read(control_of(self.kind), *written)
        if max(width, height) <= HEIGHT:  # longer ones may be cut at their ends
            assert again.rotated is not None
            (back,) = clip_outline((xywhr_to_corners(again.rotated)[0],), WIDTH, HEIGHT)
            assert abs(signed_area(back)) == pytest.approx(abs(signed_area(visible[0])), rel=1e-6, abs=1e-6)
            assert envelope(back[None]) == pytest.approx(envelope(visible[0][None]), abs=1e-6)

    @pytest.mark.parametrize(
        ("size", "box"),
        [
            ((100, 200), (50, 100, 180, 20, 90)),  # 180 % of the width, but 90 % of the height
            ((200, 100), (100, 50, 20, 150, 90)),
            ((200, 100), (200, 50, 40, 40, 135)),  # the first corner is right of the image
            ((200, 100), (100, 100, 30, 30, 225)),
        ],
        ids=["upright in a tall image", "flat in a wide image", "over the right border", "over the lower border"],
    )
    def test_of_four_ways_to_write_a_box_one_that_label_studio_takes(self, size: Any, box: Any) -> None:
        rotated = np.array([[*box[:4], math.radians(box[4])]])
        written = write(self.kind, detections(size, rotated=rotated))
        assert LabelInterface(config_of(self.kind)).validate_prediction({"result": written}, return_errors=True) == []
        again = read(control_of(self.kind), *written, size=size)
        assert again.rotated is not None
        ours, before = xywhr_to_corners(again.rotated)[0], xywhr_to_corners(rotated)[0]
        assert max(np.hypot(*(ours - corner).T).min() for corner in before) < 1e-6

    @given(st.floats(0, 2 * math.pi), st.floats(60, 140), st.floats(40, 60), st.floats(5, 35), st.floats(5, 35))
    def test_regions_are_those_of_the_sdk(self, angle: float, x: float, y: float, width: float, height: float) -> None:
        """The SDK's converter starts from corners, and may begin with another one."""
        rotated = np.array([[x, y, width, height, angle]])
        control = control_of(self.kind)
        theirs = convert_yolo_obb_to_annotation(xywhr_to_corners(rotated)[0].reshape(-1).tolist(), WIDTH, HEIGHT)
        both = read(control, *write(self.kind, detections(rotated=rotated)), *region(control, id="s", **theirs)).rotated
        assert both is not None
        ours, sdks = xywhr_to_corners(both)
        for corner in ours:
            assert np.hypot(*(sdks - corner).T).min() < 0.05

    def test_a_diagonal_longer_than_the_image_is_cut_at_both_ends(self) -> None:
        (written,) = write(self.kind, detections(rotated=np.array([[100, 50, 215, 1, math.atan2(1, 2)]])))
        assert written["value"]["width"] == 100
        again = read(control_of(self.kind), written)
        assert again.rotated is not None
        assert again.rotated[0, :4] == pytest.approx([100, 50, 200, 1])


class TestPolygons:
    def test_region(self) -> None:
        (written,) = write("polygon", detections(outlines=[(square(20, 10, 50),)]))
        assert written["type"] == "polygonlabels"
        assert written["value"]["closed"] is True
        assert sorted(written["value"]["points"]) == [[10, 10], [10, 60], [35, 10], [35, 60]]

    def test_a_region_for_each_part_and_bridges_to_holes(self) -> None:
        outline = (square(10, 10, 60), square(30, 30, 20), square(100, 20, 40))
        written = write("polygon", detections(outlines=[outline, (square(1, 1, 8),)]))
        assert [one["id"] for one in written] == ["c-0", "c-0.1", "c-1"]
        assert [one["value"]["polygonlabels"] for one in written] == [["Tree"], ["Tree"], ["Car"]]
        found = read(control_of("polygon"), *written)
        assert found.outlines is not None
        assert [signed_area(outline[0]) for outline in found.outlines] == pytest.approx([3200, 1600, 64])
        hole = painted(found.outlines[0], WIDTH, HEIGHT)[30:50, 30:50]
        assert not hole.any()

    def test_tiny_parts_and_holes_are_dropped(self) -> None:
        outline = (square(10, 10, 60), square(30, 30, 5), square(100, 20, 5))
        (written,) = write("polygon", detections(outlines=[outline]))
        assert len(written["value"]["points"]) == 4

    def test_over_the_border(self) -> None:
        (written,) = write("polygon", detections(outlines=[(square(170, 70, 60),)]))
        points = np.array(written["value"]["points"])
        assert points.min(axis=0).tolist() == [85, 70]
        assert points.max(axis=0).tolist() == [100, 100]
        beyond = region(control_of("polygon"), points=[[85, 70], [115, 70], [115, 130], [85, 130]])
        found = read(control_of("polygon"), *beyond)
        assert found.xyxy.tolist() == [[170, 70, 200, 100]]

    @pytest.mark.parametrize(
        "points",
        [
            None,
            [],
            {"a": 1},
            [[1, 1], [2, 2]],
            [[1, 1], [2, 2], [3]],
            [[1, 1], [5, 5], [9, 9]],
            [["a", 1], [2, 2], [3, 9]],
            [[math.nan, 1], [2, 2], [3, 9]],
            [[1e300, 1], [2, 2], [3, 9]],
            [[110, 0], [120, 0], [120, 9]],
        ],
    )
    def test_what_is_no_polygon_is_left_out(self, points: Any) -> None:
        control = control_of("polygon")
        good = region(control, points=[[0, 0], [50, 0], [50, 50]])
        found = read(control, *region(control, points=points, id="bad"), *good)
        assert found.xyxy.tolist() == [[0, 0, 100, 50]]


class TestBrushes:
    def test_region(self) -> None:
        mask = box_mask(20, 10, 60, 40) ^ box_mask(30, 20, 40, 30)
        (written,) = write("brush", detections(outlines=[mask_to_outline(mask)]))
        assert written["type"] == "brushlabels"
        assert written["value"] == {"format": "rle", "rle": rle(mask), "brushlabels": ["Tree"]}
        found = read(control_of("brush"), written)
        assert found.outlines is not None
        assert (painted(found.outlines[0], WIDTH, HEIGHT) == mask).all()  # the hole is there
        assert found.xyxy.tolist() == [[20, 10, 60, 40]]

    def test_strokes_of_one_region_and_label_are_one_thing(self) -> None:
        control = control_of("brush")
        strokes = [box_mask(10, 10, 50, 20), box_mask(40, 10, 50, 60), box_mask(150, 50, 180, 80)]
        regions = [one for mask in strokes for one in region(control, format="rle", rle=rle(mask))]
        other = region(control, ["Car"], format="rle", rle=rle(strokes[0]))
        another = region(control, id="s", format="rle", rle=rle(strokes[1]))
        found = read(control, *regions, *other, *another)
        assert found.classes.tolist() == [0, 1, 0]
        assert found.outlines is not None
        assert (painted(found.outlines[0], WIDTH, HEIGHT) == np.any(strokes, axis=0)).all()
        expected = np.array([[10, 10, 180, 80], [10, 10, 50, 20], [40, 10, 50, 60]])
        assert found.xyxy == pytest.approx(expected, abs=0.5)

    def test_a_picture_that_was_scaled_since(self) -> None:
        found = read(
            control_of("brush"),
            *region(control_of("brush"), format="rle", rle=rle(box_mask(20, 10, 60, 40))),
            size=(400, 50),
        )
        assert found.xyxy.tolist() == [[40, 5, 120, 20]]

    def test_grey_edges_count_as_in_the_sdk_and_on_label_studios_page(self) -> None:
        from label_studio_sdk.converter.brush import encode_rle

        grey = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        grey[10:40, 20:60] = 255
        grey[10:40, 60] = 1
        code = encode_rle(np.repeat(grey.reshape(-1), 4))
        found = read(control_of("brush"), *region(control_of("brush"), format="rle", rle=code))
        assert found.xyxy.tolist() == [[20, 10, 61, 40]]

    def test_a_thing_without_a_pixel_is_left_out(self) -> None:
        outlines = [(), (square(300, 10, 20),), (square(10.1, 10.1, 0.2),), (square(10, 10, 1),)]
        assert [one["id"] for one in write("brush", detections(outlines=outlines))] == ["c-3"]

    def test_strokes_like_dust_end_as_rings_of_bounded_number(self) -> None:
        dust = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.3
        found = read(control_of("brush"), *region(control_of("brush"), format="rle", rle=rle(dust)))
        assert found.outlines is not None
        assert len(found.outlines[0]) == 200


class TestEllipses:
    def test_region(self) -> None:
        control = control_of("ellipse")
        drawn = region(control, x=50, y=50, radiusX=20, radiusY=10, rotation=30.0)
        (written,) = write("ellipse", read(control, *drawn))
        expected = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 30}
        assert {key: written["value"][key] for key in expected} == pytest.approx(expected, rel=5e-3)
        assert written["type"] == "ellipselabels"

    def test_in_a_box(self) -> None:
        (written,) = write("ellipse of a box", detections(xyxy=np.array([[20.0, 10, 60, 40]])))
        expected = {"x": 20, "y": 25, "radiusX": 10, "radiusY": 15, "rotation": 0}
        assert {key: written["value"].pop(key) for key in expected} == pytest.approx(expected)
        assert written["value"] == {"ellipselabels": ["Tree"]}

    def test_reading_loses_a_thousandth(self) -> None:
        control = control_of("ellipse of a box")
        found = read(control, *region(control, x=50, y=50, radiusX=20, radiusY=30, rotation=0))
        assert found.xyxy == pytest.approx(np.array([[60, 20, 140, 80]]), abs=0.04)
        assert found.outlines is not None
        assert signed_area(found.outlines[0][0]) == pytest.approx(math.pi * 40 * 30, rel=2e-3)

    def test_a_radius_beyond_label_studios_half_of_the_image_is_cut(self) -> None:
        long = np.array([[x, 50 + (x - 100) / 2 + side] for side in (-1, 1) for x in (0, 200)[::-side]])
        (written,) = write("ellipse", detections(outlines=[(long,)]))
        assert written["value"]["radiusX"] <= 50


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(data=st.data())
def test_the_sdk_accepts_every_prediction(kind: str, data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([(1, 1), (1, 50), (200, 100), (97, 1280)]))
    number = st.one_of(st.floats(-500, 1500), st.sampled_from([0.0, math.nan, math.inf, -math.inf, 1e300]))
    count = data.draw(st.integers(1, 3))
    rows = lambda columns: np.array([[data.draw(number) for _ in range(columns)] for _ in range(count)])  # noqa: E731
    shapes: dict[str, Any] = {"xyxy": rows(4)}
    control = control_of(kind)
    if control.yolo_task == "obb":
        shapes["rotated"] = rows(5)
    if control.yolo_task == "segment" and data.draw(st.booleans()):
        points = st.lists(st.tuples(number, number), min_size=1, max_size=6)
        shapes["outlines"] = [
            tuple(np.array(ring) for ring in data.draw(st.lists(points, max_size=2))) for _ in range(count)
        ]
    found = detections(size, **shapes)
    labels: list[str | None] = data.draw(st.sampled_from([["Tree", "Car"], ["Tree", None]]))
    written = CONTROLS[control.tag].write(found, labels, control)
    prediction = {"result": json.loads(json.dumps(written, allow_nan=False)), "score": 0.5, "model_version": "c:v1"}
    if written:
        assert LabelInterface(config_of(kind)).validate_prediction(prediction, return_errors=True) == []


def _patch(kind: str) -> dict[str, Any]:
    """The lower right corner of an image of 40 × 80, 10 × 20 pixels."""
    if kind.startswith("polygon"):
        return {"points": [[75, 75], [100, 75], [100, 100], [75, 100]], "closed": True}
    if kind.startswith("brush"):
        return {"format": "rle", "rle": rle(box_mask(30, 60, 40, 80, (40, 80)))}
    if kind.startswith("ellipse"):
        return {"x": 87.5, "y": 87.5, "radiusX": 12.5, "radiusY": 12.5, "rotation": 0}
    return {"x": 100, "y": 75, "width": 50, "height": 12.5, "rotation": 90}


@pytest.mark.parametrize("kind", KINDS)
def test_things_in_a_photograph_turned_by_exif(kind: str) -> None:
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
    control = control_of(kind)
    regions = [one | {"original_width": 40, "original_height": 80} for one in region(control, **_patch(kind))]
    found = read(control, *regions, size=(width, height))
    assert found.xyxy == pytest.approx(np.array([[30, 60, 40, 80]]), abs=0.02)
    outline: Outline = (
        (xywhr_to_corners(found.rotated)[0],) if found.rotated is not None else (found.outlines or [()])[0]
    )
    shown = pixels[..., 0] == 255
    overlap = iou(painted(outline, width, height), shown)
    assert overlap == pytest.approx(math.pi / 4 if kind.startswith("ellipse") else 1.0, abs=0.05)
