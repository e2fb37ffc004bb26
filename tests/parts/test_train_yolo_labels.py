"""Label files, read back by ultralytics and compared with the SDK's own export; regions through all of it and back."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from label_studio_sdk.converter.converter import Converter, Format
from label_studio_sdk.converter.exports.brush_to_coco import convert_to_coco
from ultralytics.data.converter import merge_multi_segment
from ultralytics.data.utils import polygon2mask

from jobs.train.data.yolo_labels import label_lines
from shared.geometry.detections import Detections, Floats, clip_rotated, envelope, xywhr_to_corners, xyxy_to_xywhn
from shared.geometry.outlines import mask_to_outline
from shared.labelstudio.controls import Control
from shared.labelstudio.regions import CONTROLS
from tests.samples.shapes import blobs, config_of, control_of, iou, painted, read_label_lines, region, rle

SIZES = st.sampled_from([(200, 100), (90, 160), (640, 360)])
through_ultralytics = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sized(regions: Sequence[dict[str, Any]], width: int, height: int) -> list[dict[str, Any]]:
    return [one | {"original_width": width, "original_height": height} for one in regions]


def there_and_back(
    regions: Sequence[dict[str, Any]], control: Control, width: int, height: int, folder: Path
) -> tuple[Detections, Detections]:
    """What was annotated, and the same after: detections, label lines, ultralytics, detections, regions, detections."""
    row = CONTROLS[control.tag]
    first = row.read(regions, control, width, height).found
    trained = read_label_lines(label_lines(first, control.yolo_task), width, height, control, folder)
    written = row.write(trained, [*control.label_values], control)
    again = row.read(json.loads(json.dumps(written)), control, width, height).found
    assert again.names == first.names
    return first, again


RECTANGLES = st.tuples(st.floats(0, 90), st.floats(0, 90), st.floats(5, 60), st.floats(5, 60), st.floats(0, 359))
_SLACK = 0.05  # pixels; edges in the middle of a row of pixels take or leave the whole row for less


@through_ultralytics
@given(rectangle=RECTANGLES, size=SIZES)
@example(rectangle=(59.0, 0.0, 5.0, 33.79, 90.0), size=(90, 160)).via(
    "4.5 pixels across, an edge in the middle of a column"
)
@example(rectangle=(88.0, 0.0, 5.0, 49.0, 90.0), size=(90, 160)).via("the same")
@example(rectangle=(0.0, 0.0, 9.0, 5.0, 45.0), size=(90, 160)).via("a corner in the corner")
@example(rectangle=(0.0, 40.65, 55.0, 60.0, 30.0), size=(640, 360)).via("higher than the image")
def test_rotated_rectangles_there_and_back(rectangle: tuple[float, ...], size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    control = control_of("rotated rectangle")
    value: dict[str, Any] = dict(zip(("x", "y", "width", "height", "rotation"), rectangle, strict=True))
    regions = sized(region(control, ["Car"], **value), width, height)
    first = CONTROLS[control.tag].read(regions, control, width, height).found
    if not len(first):
        return
    assert first.rotated is not None
    corners = xywhr_to_corners(first.rotated)[0]
    visible = painted((corners,), width, height)
    if visible.sum() < 20:
        return
    _, again = there_and_back(regions, control, width, height, tmp_path)
    assert again.rotated is not None
    assert again.classes.tolist() == [1]
    back = xywhr_to_corners(again.rotated)[0]
    after = painted((back,), width, height)
    if (corners >= 0).all() and (corners <= size).all():  # as it was, but for another first corner
        assert max(np.hypot(*(back - corner).T).min() for corner in corners) < 1e-3 * max(size)
    elif any(_taken(box, size) for box in (first.rotated, clip_rotated(first.rotated, width, height))):
        less, more = (first.rotated + np.array([0, 0, slack, slack, 0]) for slack in (-_SLACK, _SLACK))
        inner, outer = (painted((xywhr_to_corners(box)[0],), width, height) for box in (less, more))
        assert (inner & ~after).sum() <= 0.03 * visible.sum(), "its ends may be cut off"
        assert not (after & ~outer).any()
    else:  # what is visible of it is in the box that is trained on, which is turned as fits that best
        assert (visible & ~after).sum() <= 0.01 * visible.sum() + 5


def _taken(box: Floats, size: tuple[int, int]) -> bool:
    """Whether ultralytics takes an image with this box: middle and size of its envelope are inside."""
    upright = xyxy_to_xywhn(envelope(xywhr_to_corners(box)), *size)
    return bool(((upright >= 0) & (upright <= 1)).all())


@through_ultralytics
@given(data=st.data(), size=SIZES)
def test_polygons_there_and_back(data: st.DataObject, size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    control = control_of("polygon")
    count = data.draw(st.integers(3, 12))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False) + data.draw(st.floats(0, 1))
    radii = np.array(data.draw(st.lists(st.floats(10, 50), min_size=count, max_size=count)))
    centre = data.draw(st.tuples(st.floats(0, 100), st.floats(0, 100)))
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None] + centre
    regions = sized(region(control, ["Car"], points=points.tolist(), closed=True), width, height)
    first, again = there_and_back(regions, control, width, height, tmp_path)
    assert first.outlines is not None
    assert again.outlines is not None
    before = painted(first.outlines[0], width, height)
    after = np.any([painted(outline, width, height) for outline in again.outlines], axis=0)
    assert again.classes.tolist() == [1] * len(again)
    if before.sum() > 100:
        assert iou(before, after) >= 0.9


@through_ultralytics
@given(data=st.data(), size=SIZES)
def test_brushes_there_and_back(data: st.DataObject, size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    control = control_of("brush")
    mask = data.draw(blobs(width, height))
    regions = sized(region(control, ["Car"], format="rle", rle=rle(mask)), width, height)
    if mask.sum() < 100:
        return
    _, again = there_and_back(regions, control, width, height, tmp_path)
    assert again.outlines is not None
    assert again.classes.tolist() == [1]
    assert iou(painted(again.outlines[0], width, height), mask) >= 0.93


@through_ultralytics
@given(data=st.data(), size=SIZES, kind=st.sampled_from(["ellipse", "ellipse of a box"]))
def test_ellipses_there_and_back(data: st.DataObject, size: tuple[int, int], kind: str, tmp_path: Path) -> None:
    width, height = size
    control = control_of(kind)
    value: dict[str, Any] = {
        "x": data.draw(st.floats(45, 55)),
        "y": data.draw(st.floats(45, 55)),
        "radiusX": data.draw(st.floats(5, 20)),
        "radiusY": data.draw(st.floats(5, 20)),
        "rotation": data.draw(st.floats(0, 179)) if kind == "ellipse" else 0,
    }
    regions = sized(region(control, ["Car"], **value), width, height)
    first, again = there_and_back(regions, control, width, height, tmp_path)
    assert first.outlines is not None
    assert again.outlines is not None
    assert again.classes.tolist() == [1]
    assert iou(painted(first.outlines[0], width, height), painted(again.outlines[0], width, height)) >= 0.95
    assert again.xyxy == pytest.approx(first.xyxy, abs=0.01 * max(size))


def test_over_the_border_polygons_are_cut_which_the_sdk_leaves_to_ultralytics() -> None:
    regions = region(control_of("polygon"), points=[[80, 80], [110, 80], [110, 95], [80, 95]])
    ((_, ours),) = our_export("polygon", regions)
    assert sorted(zip(ours[0::2], ours[1::2], strict=True)) == [(0.8, 0.8), (0.8, 0.95), (1, 0.8), (1, 0.95)]


def test_rectangles_over_the_border_are_cut_for_detection(tmp_path: Path) -> None:
    control = control_of("rectangle")
    first, again = there_and_back(region(control, x=90, y=-10, width=30, height=40), control, 200, 100, tmp_path)
    assert first.xyxy == pytest.approx(np.array([[180, 0, 200, 30]]))
    assert again.xyxy == pytest.approx(first.xyxy, abs=1e-3)


def test_things_with_nothing_inside_the_image_have_no_line() -> None:
    boxes = np.array([[300.0, 300, 10, 10, 0.1], [50, 50, 20, 20, 0.1]])
    found = Detections(
        width=200,
        height=100,
        xyxy=np.zeros((2, 4)),
        scores=np.ones(2),
        classes=np.array([0, 1]),
        names=("a", "b"),
        rotated=boxes,
        outlines=((xywhr_to_corners(boxes)[0],), (xywhr_to_corners(boxes)[1],)),
    )
    for yolo_task in ("obb", "segment"):
        (line,) = label_lines(found, yolo_task)
        assert line.startswith("1 ")


def test_parts_and_holes_are_joined_so_that_ultralytics_paints_them_as_with_its_own_converter(tmp_path: Path) -> None:
    control = control_of("brush")
    mask = np.zeros((100, 200), dtype=np.bool_)
    mask[10:50, 10:60] = mask[30:90, 100:180] = mask[70:95, 20:50] = True
    regions = region(control, format="rle", rle=rle(mask))
    found = CONTROLS[control.tag].read(regions, control, 200, 100).found
    (outline,) = read_label_lines(label_lines(found, "segment"), 200, 100, control, tmp_path).outlines or ()
    ours = polygon2mask((100, 200), [outline[0].reshape(-1)]) > 0
    merged = np.concatenate(merge_multi_segment([ring.tolist() for ring in mask_to_outline(mask)]))
    theirs = polygon2mask((100, 200), [merged.reshape(-1)]) > 0
    assert iou(ours, theirs) > 0.95  # bridges may lead elsewhere; both are drawn a pixel wide
    assert iou(ours, mask) > 0.93

    mask[20:40, 20:50] = False  # a hole, for which ultralytics' converters have no form
    found = CONTROLS[control.tag].read(region(control, format="rle", rle=rle(mask)), control, 200, 100).found
    (outline,) = read_label_lines(label_lines(found, "segment"), 200, 100, control, tmp_path).outlines or ()
    holed = polygon2mask((100, 200), [outline[0].reshape(-1)]) > 0
    assert not holed[22:38, 22:48].any() or holed[22:38, 22:48].sum() <= 20
    assert iou(holed, mask) > 0.9


def sdk_export(kind: str, regions: Sequence[dict[str, Any]], format: Format, folder: Path) -> list[tuple[Any, ...]]:
    task = {"id": 1, "data": {"image": "photo.jpg"}, "annotations": [{"id": 1, "result": regions}]}
    (folder / "tasks.json").write_text(json.dumps([task]))
    converter = Converter(config_of(kind), str(folder), download_resources=False)
    converter.convert(str(folder / "tasks.json"), str(folder / "yolo"), format, is_dir=False)
    classes = (folder / "yolo" / "classes.txt").read_text().split("\n")
    (exported,) = (folder / "yolo" / "labels").glob("*.txt")
    return parsed(exported.read_text().splitlines(), classes)


def parsed(lines: Sequence[str], classes: Sequence[str]) -> list[tuple[Any, ...]]:
    rows = (line.split() for line in lines)
    return sorted((classes[int(words[0])], [float(word) for word in words[1:]]) for words in rows)


def our_export(kind: str, regions: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    control = control_of(kind)
    found = CONTROLS[control.tag].read(regions, control, 200, 100).found
    return parsed(label_lines(found, control.yolo_task), control.label_values)


def test_polygons_equal_the_sdks_export(tmp_path: Path) -> None:
    control = control_of("polygon")
    regions = [
        *region(control, points=[[10, 10], [60.5, 20], [30, 70.25]], id="a"),
        *region(control, ["Car", "Tree"], points=[[0, 0], [100, 0], [100, 100], [50, 40]], id="b"),
        *region(control, [], points=[[0, 0], [100, 0], [100, 100]], id="c"),
    ]
    theirs = sdk_export("polygon", regions, Format.YOLO, tmp_path)
    ours = our_export("polygon", regions)
    assert [row[0] for row in ours] == [row[0] for row in theirs] == ["Car", "Tree", "Tree"]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine[1] == pytest.approx(other[1], abs=1e-6)


@pytest.mark.parametrize("kind", ["rotated rectangle", "rectangle beside labels"])
def test_rotated_rectangles_equal_the_sdks_export(kind: str, tmp_path: Path) -> None:
    control = control_of(kind)
    regions = [
        *region(control, x=30, y=30, width=20, height=10, rotation=33.5, id="a"),
        *region(control, ["Car"], x=0, y=0, width=100, height=100, rotation=0, id="b"),
        *region(control, ["Car"], x=60, y=20, width=20, height=40, rotation=90, id="c"),
        *region(control, ["Car"], x=85, y=20, width=20, height=40, rotation=20, id="d"),  # over the border
    ]
    theirs = sdk_export(kind, regions, Format.YOLO_OBB, tmp_path)
    found = CONTROLS[control.tag].read(regions, control, 200, 100).found
    ours = parsed(label_lines(found, "obb"), control.label_values)
    assert len(ours) == 4
    for mine, other in zip(ours, theirs, strict=True):
        assert mine[0] == other[0]
        assert mine[1] == pytest.approx(other[1], abs=1e-6)


@pytest.mark.parametrize("kind", ["rotated rectangle", "polygon"])
def test_of_things_mostly_outside_the_sdk_writes_numbers_for_which_ultralytics_leaves_the_whole_image_out(
    kind: str, tmp_path: Path
) -> None:
    control = control_of(kind)
    value: dict[str, Any] = {"points": [[80, 80], [160, 80], [160, 95]]}
    if kind == "rotated rectangle":
        value = {"x": 95, "y": 50, "width": 30, "height": 20, "rotation": 10}
    regions = region(control, **value)
    format = Format.YOLO_OBB if control.yolo_task == "obb" else Format.YOLO
    ((_, theirs),) = sdk_export(kind, regions, format, tmp_path)
    assert max(theirs) > 1
    with pytest.raises(AssertionError, match="out of bounds"):
        read_label_lines([f"0 {' '.join(map(str, theirs))}\n"], 200, 100, control, tmp_path)
    ((_, ours),) = our_export(kind, regions)
    assert kind == "rotated rectangle" or 0 <= min(ours) <= max(ours) <= 1
    found = CONTROLS[control.tag].read(regions, control, 200, 100).found
    read = read_label_lines(label_lines(found, control.yolo_task), 200, 100, control, tmp_path)
    assert len(read) == 1
    if read.rotated is not None:
        assert read.rotated[0, 4] % (math.pi / 2) == pytest.approx(math.radians(10), abs=1e-3), "turned as it was"


def test_of_masks_the_sdk_makes_contours_through_the_middles_of_pixels_without_holes(tmp_path: Path) -> None:
    """Its boxes are the same; its outline is half a pixel smaller all around, and a hole is filled."""
    control = control_of("brush")
    mask = np.zeros((100, 200), dtype=np.bool_)
    mask[20:60, 30:90] = True
    mask[30:40, 40:60] = False
    (one,) = region(control, format="rle", rle=rle(mask))
    item = {"id": 1, "completed_by": 1, "input": {"image": "photo.jpg"}, "output": {"c": [one | one["value"]]}}
    exported = json.loads(Path(convert_to_coco([item], str(tmp_path))).read_text())
    (annotation,) = exported["annotations"]
    found = CONTROLS[control.tag].read([one], control, 200, 100).found
    left, top, width, height = annotation["bbox"]
    assert found.xyxy.tolist() == [[left, top, left + width, top + height]]
    theirs = np.array(annotation["segmentation"], dtype=np.float64).reshape(-1, 2)
    assert [*theirs.min(axis=0), *theirs.max(axis=0)] == [30, 20, 89, 59]
    assert found.outlines is not None
    assert math.isclose(painted(found.outlines[0], 200, 100).sum(), 2400 - 200)
