"""A picture with something of a control that the control cannot use is no background: left out, counted and named."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.train.data.dataset import build
from jobs.train.data.files import ImageFiles
from jobs.train.data.samples import image_samples
from jobs.train.data.snapshot import SnapshotTask
from shared.errors import ImageError
from shared.geometry.detections import xywhr_to_corners
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.brush_rle import encode_runs
from tests.fakes.train_parts import jpeg

WIDTH, HEIGHT = 64, 48
LABELS = '<Label value="Plane"/><Label value="Ship"/>'
IMAGE = '<Image name="img" value="$image"/>'
SHAPES = ("Rectangle", "Polygon", "Brush", "Ellipse", "KeyPoint", "MagicWand", "Vector", "Bitmask")
SHARED = "".join(f'<{tag} name="{tag.lower()}" toName="img"/>' for tag in SHAPES)
SHARED += f'<Labels name="kind" toName="img">{LABELS}</Labels>'
TURNED = f'<RectangleLabels name="turned" toName="img" model_obb="true">{LABELS}</RectangleLabels>'
BOXES = f'<RectangleLabels name="box" toName="img">{LABELS}</RectangleLabels>'
POLYGONS = f'<PolygonLabels name="poly" toName="img">{LABELS}</PolygonLabels>'
CHOICES = '<Choices name="what" toName="img" {}><Choice value="good"/><Choice value="bad"/></Choices>'
PARTS = '<Label value="nose"/><Label value="tail"/>'
POSE = f"""<RectangleLabels name="kp_bbox" toName="img" model_skip="true"><Label value="dog"/></RectangleLabels>
<KeyPointLabels name="kp" toName="img">{PARTS}</KeyPointLabels>"""
POSE_ALONE = f'<KeyPointLabels name="kp" toName="img">{PARTS}</KeyPointLabels>'

BOX = {"x": 25, "y": 25, "width": 50, "height": 50, "rotation": 0}
TRIANGLE = {"points": [[25, 25], [75, 25], [75, 75]], "closed": True}
CIRCLE = {"x": 50, "y": 50, "radiusX": 25, "radiusY": 25, "rotation": 0}
POINT = {"x": 50, "y": 50, "width": 1}
NAN = float("nan")


def mask() -> dict[str, Any]:
    """The middle quarter."""
    begin = np.arange(12, 36) * WIDTH + 16
    return {"format": "rle", "rle": encode_runs(begin, begin + 32, WIDTH * HEIGHT)}


DRAWN: dict[str, dict[str, Any]] = {
    "rectangle": BOX,
    "polygon": TRIANGLE,
    "ellipse": CIRCLE,
    "brush": mask(),
    "magicwand": mask(),
    "keypoint": POINT,
    "vector": {"vertices": [{"id": "1", "x": 25, "y": 25}, {"id": "2", "x": 75, "y": 75}], "closed": False},
    "bitmask": {"imageDataURL": "data:image/png;base64,AAAA"},
}
SIZE = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}


def item(name: str, value: Any, *, id: str = "r", type: str = "", **more: Any) -> dict[str, Any]:
    return SIZE | {"id": id, "from_name": name, "to_name": "img", "type": type, "value": value} | more


def beside(tool: str, *labels: str, id: str = "r", **value: Any) -> list[dict[str, Any]]:
    """A shape and the item of its labels, as Label Studio's page stores them under a shared <Labels>."""
    shape = DRAWN[tool] | value
    named = item("kind", shape | {"labels": list(labels or ("Plane",))}, id=id, type="labels")
    return [item(tool, shape, id=id, type=tool), named]


def one(name: str, key: str, shape: Any, *labels: Any, id: str = "r", **more: Any) -> list[dict[str, Any]]:
    return [item(name, {**shape, key: list(labels or ("Plane",))}, id=id, type=key, **more)]


def box(*labels: Any, id: str = "r", **value: Any) -> list[dict[str, Any]]:
    return one("box", "rectanglelabels", BOX | value, *labels, id=id)


def control_of(tags: str, name: str) -> Control:
    return next(one for one in parse_label_config(f"<View>{IMAGE}{tags}</View>") if one.name == name)


class _Fetcher:
    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        return jpeg(WIDTH, HEIGHT)


def task(number: int, regions: list[dict[str, Any]]) -> SnapshotTask:
    kept = json.loads(json.dumps(regions))  # what an import may hold, NaN too
    data = {"$image": "a"}
    return SnapshotTask(id=number, annotation=number, updated_at=None, split="train", data=data, regions=kept)


def learnt(folder: Path, control: Control, regions: list[dict[str, Any]]) -> list[tuple[str, list[int]]]:
    """Labels and boxes, in whole pixels. Raises ImageError if the picture is left out."""
    images = ImageFiles(_Fetcher(), folder / "pictures", max_pixels=10**7)
    samples = image_samples(task(1, regions), control, images, folder)
    return [
        (sample.found.names[class_], box)
        for sample in samples
        for class_, box in zip(
            sample.found.classes.tolist(), sample.found.xyxy.round().astype(int).tolist(), strict=True
        )
    ]


def left_out(folder: Path, control: Control, regions: list[dict[str, Any]]) -> str:
    """Why a picture is left out; fails if it is learnt from."""
    with pytest.raises(ImageError) as error:
        learnt(folder, control, regions)
    assert error.value.reason == "unusable"
    assert repr(control.name) in str(error.value), "says for which control"
    return str(error.value)


MIDDLE = [16, 12, 48, 36]


@pytest.mark.parametrize(
    ("name", "tools", "label"),
    [
        ("rectangle", {"rectangle", "polygon", "ellipse", "brush", "magicwand"}, "detect"),
        ("polygon", {"polygon", "ellipse", "brush", "magicwand"}, "segment"),
        ("brush", {"polygon", "ellipse", "brush", "magicwand"}, "segment"),
        ("ellipse", {"polygon", "ellipse", "brush", "magicwand"}, "segment"),
        ("keypoint", {"keypoint"}, "pose"),
        ("turned", {"rectangle"}, "obb"),
    ],
)
@pytest.mark.parametrize("tool", DRAWN)
def test_tools_that_share_their_labels(tmp_path: Path, name: str, tools: set[str], label: str, tool: str) -> None:
    """Converted where that is faithful; else the picture is left out, and the tool is named."""
    tags = SHARED.replace('name="rectangle"', 'name="rectangle" model_obb="true"') if name == "turned" else SHARED
    control = control_of(tags, "rectangle" if name == "turned" else name)
    assert control.yolo_task == label
    regions = beside(tool)
    if tool in tools:
        assert [box for _, box in learnt(tmp_path, control, regions)] == [MIDDLE] or tool == "keypoint"
        assert len(learnt(tmp_path, control, [*regions, *beside(tool, "Ship", id="s")])) == (
            1 if tool == "keypoint" else 2
        )
        return
    why = left_out(tmp_path, control, regions)
    assert "'r' ('Plane')" in why
    assert tool == "keypoint" or f"<{tool.capitalize().replace('Magicwand', 'Brush')}>" in why
    left_out(tmp_path, control, [*beside(name if name != "turned" else "rectangle", id="s"), *regions])


OWN = [
    pytest.param(BOXES, "box", "rectanglelabels", BOX, id="RectangleLabels"),
    pytest.param(TURNED, "turned", "rectanglelabels", BOX, id="RectangleLabels, obb"),
    pytest.param(POLYGONS, "poly", "polygonlabels", TRIANGLE, id="PolygonLabels"),
    pytest.param(f'<BrushLabels name="b" toName="img">{LABELS}</BrushLabels>', "b", "brushlabels", mask(), id="Brush"),
    pytest.param(
        f'<EllipseLabels name="e" toName="img">{LABELS}</EllipseLabels>', "e", "ellipselabels", CIRCLE, id="Ellipse"
    ),
    pytest.param(POSE_ALONE.replace("nose", "Plane"), "kp", "keypointlabels", POINT, id="KeyPointLabels"),
]
BROKEN: list[Any] = [None, "", "abc", "nan", [], [None], {}, [[1, 2]], [[NAN, 1]] * 3]
BROKEN += [NAN, math.inf, -math.inf, 1e300, 10**400]


@pytest.mark.parametrize(("tags", "name", "key", "shape"), OWN)
def test_broken_numbers(tmp_path: Path, tags: str, name: str, key: str, shape: dict[str, Any]) -> None:
    """Of every kind, in every number: never a picture without objects, nor one without this object."""
    control = control_of(tags, name)
    good = one(name, key, shape, id="good")
    assert len(learnt(tmp_path, control, good)) == 1
    needless = {"closed", "format"} | ({"width"} if name == "kp" else set())
    for number in shape.keys() - needless:
        rest = {one: value for one, value in shape.items() if one != number}
        spoilt = [{**shape, number: value} for value in BROKEN if number != "rotation" or value]
        for broken in spoilt + ([rest] if number != "rotation" else []):
            for regions in (one(name, key, broken), [*good, *one(name, key, broken)]):
                assert "'r' ('Plane')" in left_out(tmp_path, control, regions), broken


@pytest.mark.parametrize(("tags", "name", "key", "shape"), OWN)
def test_broken_items(tmp_path: Path, tags: str, name: str, key: str, shape: dict[str, Any]) -> None:
    control = control_of(tags, name)
    good = one(name, key, shape, id="good")
    for labels in ("Plane", {"Plane": 1}, [["Plane"]], ["Plane", None], 7):  # no list of words
        bad = item(name, shape | {key: labels})
        left_out(tmp_path, control, [bad])
        left_out(tmp_path, control, [*good, bad])
    unlabelled: list[Any] = [None, [], "x", {}, shape, shape | {key: []}, shape | {key: ["Car"]}]
    for value in unlabelled:  # without a label that is known
        left_out(tmp_path, control, [item(name, value)])
        assert len(learnt(tmp_path, control, [*good, item(name, value)])) == 1


@pytest.mark.parametrize(
    ("tags", "name", "key", "shape"),
    [
        (BOXES, "box", "rectanglelabels", BOX | {"width": 0}),
        (BOXES, "box", "rectanglelabels", BOX | {"height": -0.0}),
        (BOXES, "box", "rectanglelabels", BOX | {"x": 100}),
        (BOXES, "box", "rectanglelabels", BOX | {"y": -50}),
        # Its envelope reaches into the picture, the box does not.
        (
            BOXES,
            "box",
            "rectanglelabels",
            BOX | {"x": -15.6, "y": -45.8, "width": 26.5, "height": 35.4, "rotation": 45},
        ),
        (POLYGONS, "poly", "polygonlabels", {"points": [[1, 1], [50, 50], [99, 99]]}),
        (POLYGONS, "poly", "polygonlabels", {"points": [[101, 1], [150, 1], [150, 99]]}),
        (POSE_ALONE.replace("nose", "Plane"), "kp", "keypointlabels", POINT | {"x": 101}),
    ],
)
def test_without_area_inside_the_image(tmp_path: Path, tags: str, name: str, key: str, shape: dict[str, Any]) -> None:
    left_out(tmp_path, control_of(tags, name), one(name, key, shape))


def test_masks_of_several_strokes_are_whole_or_not_there(tmp_path: Path) -> None:
    control = control_of(SHARED, "brush")
    assert len(learnt(tmp_path, control, [*beside("brush"), *beside("brush")])) == 1
    left_out(tmp_path, control, [*beside("brush"), *beside("brush", rle=[1, 2, 3])])
    other_size = [one | {"original_width": 32} for one in beside("brush")]
    left_out(tmp_path, control, [*beside("brush"), *other_size])


@pytest.mark.parametrize("tags", [BOXES, TURNED], ids=["detect", "obb"])
@pytest.mark.parametrize("rotation", [0, 30, 90, 200.5, 359])
@pytest.mark.parametrize(("across", "down"), [(-1, 1), (1, -1), (-1, -1)])
def test_sides_of_less_than_nothing(tmp_path: Path, tags: str, rotation: float, across: int, down: int) -> None:
    """Label Studio's page draws from x, y to the left or up, and turns around x, y (Konva's Rect)."""
    name = "box" if tags == BOXES else "turned"
    turn = np.deg2rad(rotation)
    towards = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    size = np.array([WIDTH, HEIGHT])
    sides = np.diag([across * 30, down * 20]) / 100 * size  # pixels
    corners = np.array([50, 50]) / 100 * size + np.array([[0, 0], sides[0], sides[0] + sides[1], sides[1]]) @ towards
    value = {"x": 50, "y": 50, "width": across * 30, "height": down * 20, "rotation": rotation}
    (sample,) = image_samples(
        task(1, one(name, "rectanglelabels", value)),
        control_of(tags, name),
        ImageFiles(_Fetcher(), tmp_path / "pictures", max_pixels=10**7),
        tmp_path,
    )
    assert sample.found.rotated is not None
    (drawn,) = xywhr_to_corners(sample.found.rotated)
    assert max(np.hypot(*(corners - corner).T).min() for corner in drawn) < 1e-6, "the same corners"
    assert (sample.found.rotated[:, 2:4] > 0).all()
    expected = np.clip([*corners.min(axis=0), *corners.max(axis=0)], 0, [*size, *size])
    np.testing.assert_allclose(sample.found.xyxy, [expected], atol=1e-9)


def test_a_box_with_sides_of_less_than_nothing(tmp_path: Path) -> None:
    upside_down = box(x=70, y=80, width=-50, height=-60)
    assert learnt(tmp_path, control_of(BOXES, "box"), upside_down) == [("Plane", [13, 10, 45, 38])]
    circle = one("e", "ellipselabels", CIRCLE | {"radiusX": -25, "radiusY": -25})
    control = control_of(f'<EllipseLabels name="e" toName="img">{LABELS}</EllipseLabels>', "e")
    assert learnt(tmp_path, control, circle) == [("Plane", MIDDLE)]


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("box", one("poly", "polygonlabels", TRIANGLE)),
        ("poly", box()),
        ("box", one("v", "vectorlabels", DRAWN["vector"])),
        ("box", one("m", "bitmasklabels", DRAWN["bitmask"])),
        ("box", [*beside("brush")]),
        ("box", one("skipped", "rectanglelabels", BOX)),
    ],
)
def test_a_label_that_only_another_control_drew(tmp_path: Path, name: str, others: list[dict[str, Any]]) -> None:
    """Nobody knows whether this one should see it; it may as well be one thing that was drawn twice."""
    tags = f'{BOXES}{POLYGONS}<RectangleLabels name="skipped" toName="img" model_skip="true">{LABELS}</RectangleLabels>'
    tags += f'<VectorLabels name="v" toName="img">{LABELS}</VectorLabels>{SHARED}'
    control = control_of(tags, name)
    own = box(id="own") if name == "box" else one("poly", "polygonlabels", TRIANGLE, id="own")
    assert repr(others[0]["from_name"]) in left_out(tmp_path, control, others) or others[0]["from_name"] == "brush"
    assert len(learnt(tmp_path, control, [*own, *others])) == 1, "its own counts, and nothing is converted"
    ship = json.loads(json.dumps(own).replace("Plane", "Ship"))
    left_out(tmp_path, control, [*ship, *others])
    elsewhere = [one | {"to_name": "other image"} for one in others]
    assert learnt(tmp_path, control, elsewhere) == []
    foreign = json.loads(json.dumps(others).replace("Plane", "Car"))
    assert learnt(tmp_path, control, foreign) == []


def test_what_is_no_rival(tmp_path: Path) -> None:
    """Choices hold no shape; the boxes around points belong to them."""
    control = control_of(BOXES + CHOICES.format("").replace("good", "Plane"), "box")
    assert learnt(tmp_path, control, [item("what", {"choices": ["Plane"]}, type="choices")]) == []
    pose = control_of(POSE.replace("dog", "nose"), "kp")
    assert learnt(tmp_path, pose, one("kp_bbox", "rectanglelabels", BOX, "nose")) == [("nose", MIDDLE)]


def test_items_of_labels_whose_shape_item_is_missing_and_the_other_way_round(tmp_path: Path) -> None:
    """Label Studio's page joins items of one id."""
    control = control_of(SHARED, "rectangle")
    shape, labels = beside("rectangle")
    assert learnt(tmp_path, control, [labels]) == [("Plane", MIDDLE)]
    bare = labels | {"value": {"labels": ["Plane"]}}
    assert learnt(tmp_path, control, [shape, bare]) == [("Plane", MIDDLE)]
    left_out(tmp_path, control, [bare])
    left_out(tmp_path, control, [shape])
    assert learnt(tmp_path, control, [shape, labels, shape, labels]) == [("Plane", MIDDLE)] * 2


@pytest.mark.parametrize(
    "value", [{"choices": "good"}, {"choices": [["good"]]}, {"choices": ["fine"]}, {"choices": []}]
)
def test_choices_that_cannot_be_read(tmp_path: Path, value: dict[str, Any]) -> None:
    left_out(tmp_path, control_of(CHOICES.format(""), "what"), [item("what", value, type="choices")])


def test_answers_about_regions_without_area_take_only_their_own_crop_away(tmp_path: Path) -> None:
    control = control_of(BOXES + CHOICES.format('perRegion="true"'), "what")
    broken = [*box(id="r"), *box(id="s", width="abc")]
    answers = [item("what", {"choices": ["good"]}, id=id, type="choices") for id in ("r", "s")]
    assert learnt(tmp_path, control, [*broken, *answers]) == [("good", [0, 0, 32, 24])]
    assert "'s'" in left_out(tmp_path, control, [*broken, answers[1]])


def dog(id: str = "d", **value: Any) -> list[dict[str, Any]]:
    return one("kp_bbox", "rectanglelabels", BOX | value, "dog", id=id)


def point(x: float, y: float, label: str = "nose", **more: Any) -> list[dict[str, Any]]:
    return one("kp", "keypointlabels", {"x": x, "y": y, "width": 1}, label, **{"id": f"{label}{x}"} | more)


def poses(folder: Path, regions: list[dict[str, Any]], tags: str = POSE) -> list[tuple[str, list[int], list[str]]]:
    """Of each object its class, its box, and the points that are set."""
    images = ImageFiles(_Fetcher(), folder / "pictures", max_pixels=10**7)
    (sample,) = image_samples(task(1, regions), control_of(tags, "kp"), images, folder)
    found = sample.found
    assert found.keypoints is not None
    return [
        (
            found.names[class_],
            corners,
            [name for name, sure in zip(found.point_names, points[:, 2], strict=True) if sure],
        )
        for class_, corners, points in zip(
            found.classes.tolist(), found.xyxy.round().astype(int).tolist(), found.keypoints, strict=True
        )
    ]


def test_a_free_point_in_one_box_belongs_to_it(tmp_path: Path) -> None:
    """As the page stores them that are drawn by hand: without parentID."""
    assert poses(tmp_path, [*point(30, 30), *dog(), *point(75, 75, "tail")]) == [("dog", MIDDLE, ["nose", "tail"])]
    two = [*dog("left", x=0, width=25), *dog("right", x=50), *point(10, 50), *point(60, 50), *point(90, 50, "tail")]
    assert [points for _, _, points in poses(tmp_path, two)] == [["nose"], ["nose", "tail"]]
    classes = POSE.replace('<Label value="dog"/>', '<Label value="dog"/><Label value="cat"/>')
    assert poses(tmp_path, [*dog(), *point(30, 30)], classes) == [("dog", MIDDLE, ["nose"])]


@pytest.mark.parametrize(
    "regions",
    [
        pytest.param([*dog(), *point(10, 10)], id="in none"),
        pytest.param(point(10, 10), id="no box at all"),
        pytest.param([*dog(), *dog("e", x=30), *point(50, 50)], id="in two"),
        pytest.param([*dog(), *point(50, 50), *point(51, 51)], id="the second of its label"),
        pytest.param([*dog(), *point(50, 50, parentID="d", id="p"), *point(51, 51)], id="the place is taken"),
        pytest.param([*dog(), *point(50, NAN, parentID="d")], id="broken, though arranged"),
        pytest.param([*dog(width="abc"), *point(50, 50, parentID="d")], id="below a broken box"),
        pytest.param([*dog(), *dog(x=0)], id="two boxes of one id"),
        pytest.param([*dog(), *point(50, 101)], id="outside the image"),
    ],
)
def test_points_of_which_nobody_knows_whose_they_are(tmp_path: Path, regions: list[dict[str, Any]]) -> None:
    left_out(tmp_path, control_of(POSE, "kp"), regions)


def test_arranged_points_stay_as_they_are(tmp_path: Path) -> None:
    below = [*dog(), *point(10, 10, parentID="d")]
    assert poses(tmp_path, below) == [("dog", MIDDLE, ["nose"])]
    outside = [*dog(), *point(101, 10, parentID="d")]
    assert poses(tmp_path, outside) == [("dog", MIDDLE, [])], "a point outside the image is missing in it"
    group = [*point(5, 5, id="n"), *point(10, 10, "tail", parentID="n")]
    assert [points for _, _, points in poses(tmp_path, [*dog(), *group])] == [[], ["nose", "tail"]]
    inside = [*point(30, 30, id="n"), *point(40, 40, "tail", parentID="n")]
    assert poses(tmp_path, [*dog(), *inside]) == [("dog", MIDDLE, ["nose", "tail"])], "no second dog around them"


def test_without_boxes_points_are_shared_out_as_before(tmp_path: Path) -> None:
    regions = [*point(10, 10), *point(20, 20, "tail"), *point(60, 60)]
    assert [points for _, _, points in poses(tmp_path, regions, POSE_ALONE)] == [["nose", "tail"], ["nose"]]


def test_what_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    images = ImageFiles(_Fetcher(), tmp_path / "pictures", max_pixels=10**7, concurrency=2)
    tasks = [task(1, beside("rectangle")), task(2, beside("vector")), task(3, []), task(4, beside("keypoint"))]
    control = control_of(SHARED, "rectangle")
    dataset = build(tasks, control, images, tmp_path / "data", check=lambda: None)
    assert dataset is not None
    counts = dataset.counts
    assert (counts.train, counts.background, counts.left_out) == (2, 1, {"unusable": 2})
    assert [number for number, _ in counts.named] == [2, 4]
    assert "<Vector>" in counts.named[0][1]
