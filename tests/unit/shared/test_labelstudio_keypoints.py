"""Keypoints and the boxes around them, there and back; Label Studio's own SDK is the oracle of both directions."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.converter.converter import Converter, Format
from label_studio_sdk.label_interface import LabelInterface
from PIL import Image

from jobs.train.data.yolo_labels import label_lines
from shared.geometry.detections import Detections, xywhn_to_xyxy
from shared.labelstudio.class_labels import class_labels
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.keypoints import read_keypoints, write_keypoints
from shared.media.decode import decode

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


class TestWriting:
    def test_a_box_and_its_points(self) -> None:
        thing, nose, right = write(pose([[40, 30, 0.9], [0, 0, 0], [100, 50, 0.8]]))
        assert thing == {
            "id": "kp-0",
            "from_name": "kp_bbox",
            "to_name": "image",
            "type": "rectanglelabels",
            "original_width": 200,
            "original_height": 100,
            "image_rotation": 0,
            "score": 0.75,
            "value": {"x": 10, "y": 20, "width": 80, "height": 60, "rotation": 0, "rectanglelabels": ["person"]},
        }
        assert nose == {
            "id": "kp-0.0",
            "from_name": "kp",
            "to_name": "image",
            "type": "keypointlabels",
            "original_width": 200,
            "original_height": 100,
            "image_rotation": 0,
            "score": 0.9,
            "parentID": "kp-0",
            "value": {"x": 20, "y": 30, "width": 0.5, "keypointlabels": ["nose"]},
        }
        assert (right["value"]["keypointlabels"], right["parentID"]) == (["right"], "kp-0")

    def test_without_boxes_the_first_point_is_the_parent_of_the_others(self) -> None:
        found = pose([[0, 0, 0], [40, 30, 0.9], [100, 50, 0.8]])
        for config in (ALONE, CONFIG.replace('name="kp"', 'name="kp" model_add_bboxes="false"')):
            left, right = write(found, config)
            assert "parentID" not in left
            assert right["parentID"] == left["id"]

    def test_points_with_labels_beside(self) -> None:
        _, shape, named = write(pose([[40, 30, 0.9], [0, 0, 0], [0, 0, 0]]), PAIR)
        assert (shape["from_name"], shape["type"], shape["value"]) == (
            "kp",
            "keypoint",
            {"x": 20, "y": 30, "width": 0.5},
        )
        assert (named["from_name"], named["type"], named["value"]["labels"]) == ("parts", "labels", ["nose"])
        assert shape["id"] == named["id"]
        assert shape["parentID"] == named["parentID"] == "kp-0"

    def test_attributes(self) -> None:
        config = CONFIG.replace('name="kp"', 'name="kp" model_point_size="4" model_point_threshold="0.5"')
        thing, nose = write(pose([[40, 30, 0.5], [50, 30, 0.49], [300, 50, 0.9]]), config)
        assert thing["type"] == "rectanglelabels"
        assert nose["value"] == {"x": 20, "y": 30, "width": 2, "keypointlabels": ["nose"]}

    @pytest.mark.parametrize(
        ("config", "more", "label"),
        [
            pytest.param(CONFIG, {}, "left", id="as many points as labels: their order"),
            pytest.param(CONFIG, {"point_names": ("RIGHT", "nose", "tail")}, "nose", id="the model names its points"),
            pytest.param(
                INDEXED.replace('model_index="0"', 'model_index="9"').replace('index="2"', 'index="0"'),
                {"point_names": ("0", "1", "2")},
                "left",
                id="model_index",
            ),
            pytest.param(INDEXED, {"point_names": ("nose", "1", "2")}, "left", id="the model names other points"),
            pytest.param(INDEXED, {"point_names": ("left", "1", "2")}, None, id="no label twice"),
            pytest.param(INDEXED.replace('left" predicted_values="person"', 'left"'), {}, "left", id="of any class"),
            pytest.param(INDEXED.replace('left" predicted_values="person"', 'left" predicted_values="dog"'), {}, None,
                         id="of another class"),
            pytest.param(CONFIG.replace('<Label value="right"/>', ""), {}, None, id="another number of points"),
            pytest.param(CONFIG, {"point_names": ("nose", "tail", "ear")}, None, id="the model names another point"),
        ],
    )  # fmt: skip
    def test_label_of_the_second_point(self, config: str, more: dict[str, Any], label: str | None) -> None:
        regions = write(pose([[0, 0, 0], [40, 30, 0.9], [0, 0, 0]], **more), config)
        assert places(regions) == ({label: (20, 30)} if label else {})

    @pytest.mark.parametrize(
        ("config", "more", "nose"),
        [
            pytest.param(CONFIG, {}, [], id="as many points as labels: who knows what they are of"),
            pytest.param(CONFIG, {"point_names": ("Nose", "1", "2")}, [["nose"]], id="the model names its points"),
            pytest.param(INDEXED.replace('predicted_values="person" ', ""), {}, [["nose"]], id="the config does"),
            pytest.param(INDEXED.replace('values="person"', 'values="dog"'), {}, [], id="the config does, of a dog"),
        ],
    )
    @pytest.mark.parametrize("boxes", [True, False])
    def test_a_class_without_label_is_an_unlabelled_box(
        self, config: str, more: dict[str, Any], nose: list[list[str]], boxes: bool
    ) -> None:
        found = pose([[40, 30, 0.9], [0, 0, 0], [0, 0, 0]], **more)
        config = config if boxes else config.replace("RectangleLabels", "PolygonLabels")
        regions = [region["value"] for region in write_keypoints(found, [None], control_of(config))]
        assert [value["rectanglelabels"] for value in regions if "rectanglelabels" in value] == [[]] * boxes
        assert [value["keypointlabels"] for value in regions if "keypointlabels" in value] == nose

    @pytest.mark.parametrize(
        ("labels", "names", "trained", "means"),
        [
            pytest.param("aAb", "aAb", True, "aAb", id="as written"),
            pytest.param("aAb", "aAb", False, "aAb", id="as written, by base weights"),
            pytest.param("bAa", "aAb", True, "aAb", id="in another order"),
            pytest.param("abc", "ABc", True, "--c", id="in another case"),
            pytest.param("abc", "ABc", False, "abc", id="in another case, by base weights"),
            pytest.param("abc", "aAb", False, "a-b", id="the closest of two"),
            pytest.param("aAß", ("x", "ss", "SS"), False, "---", id="two that fold alike"),
            pytest.param("abc", "xyz", True, "---", id="other labels by now"),
            pytest.param("abc", "", True, "---", id="without names"),
            pytest.param("abc", "", False, "abc", id="without names, by base weights"),
        ],
    )
    def test_points_mean_labels(self, labels: str, names: Any, trained: bool, means: str) -> None:
        points = "".join(f'<Label value="{label}"/>' for label in labels)
        config = CONFIG[: CONFIG.index('<Label value="nose"')] + points + "</KeyPointLabels></View>"
        found = pose([[10, 10, 0.9], [20, 10, 0.9], [30, 10, 0.9]], point_names=tuple(names))
        by_place = {x: label for label, (x, _) in places(write(found, config, trained=trained)).items()}
        assert "".join(by_place.get(x, "-") for x in (5, 10, 15)) == means

    def test_a_trained_version_takes_no_hints_for_strangers_weights(self) -> None:
        """A label with the index of a removed one: the version has no points for it."""
        config = INDEXED.replace('value="left"', 'value="ear"')
        found = pose([[10, 10, 0.9], [20, 10, 0.9], [30, 10, 0.9]], point_names=POINTS)
        assert list(places(write(found, config, trained=True))) == ["nose", "right"]
        assert list(places(write(found, config))) == ["nose", "ear", "right"]

    def test_ids_differ(self) -> None:
        found = pose([[[1, 1, 1], [2, 2, 1], [3, 3, 1]]] * 12, [(0, 0, 9, 9)] * 12)
        ids = [region["id"] for region in write(found)]
        assert len(set(ids)) == len(ids) == 48

    def test_nothing(self) -> None:
        assert write(pose(np.zeros((0, 3, 3)), ())) == []

    @given(st.data())
    @settings(max_examples=50)
    def test_the_sdk_accepts_every_prediction(self, data: st.DataObject) -> None:
        width, height = data.draw(st.integers(1, 10_000)), data.draw(st.integers(1, 10_000))
        number = st.floats(-2.0 * max(width, height), 3.0 * max(width, height)) | st.just(np.nan)
        corners = data.draw(st.lists(st.tuples(*[number] * 4), max_size=4))
        points = data.draw(st.tuples(*[st.tuples(number, number, st.floats(0, 1))] * (3 * len(corners))))
        found = pose(points, corners, width, height)
        for config in CONFIGS.values():
            write(found, config)


class TestReading:
    def test_points_in_boxes(self) -> None:
        boxes, points = read(
            point("nose", 20, 30, parent="b"),
            box(10, 20, 30, 40, "a"),
            point("nose", 15, 25, parent="a"),
            point("right", 30, 50, parent="a"),
            box(50, 20, 30, 40, "b"),
            box(80, 80, 10, 10, "without points"),
        )
        assert boxes == [[20, 20, 80, 60], [100, 20, 160, 60], pytest.approx([160, 80, 180, 90])]
        assert points == [{"nose": (30, 25), "right": (60, 50)}, {"nose": (40, 30)}, {}]

    def test_points_with_labels_beside(self) -> None:
        shape = point("nose", 20, 30, "p", "b") | {"type": "keypoint"}
        named = shape | {"from_name": "parts", "type": "labels", "value": shape["value"] | {"labels": ["nose"]}}
        _, points = read(shape, named, box(10, 20, 30, 40, "b"), config=PAIR)
        assert points == [{"nose": (40, 30)}]

    def test_points_that_nobody_arranged_are_one_thing_in_their_envelope_and_a_margin(self) -> None:
        boxes, points = read(point("nose", 20, 30), point("right", 40, 50), config=ALONE)
        assert boxes == [[36, 26, 84, 54]]  # 40 × 20 pixels and a tenth of 40
        assert points == [{"nose": (40, 30), "right": (80, 50)}]
        assert read(point("nose", 0, 100), config=ALONE)[0] == [[0, 98, 2, 100]]  # a hundredth of the image, inside it

    def test_a_repeated_label_begins_the_next_thing(self) -> None:
        free = [point("nose", 1, 1), point("left", 2, 2), point("left", 3, 3), point("nose", 4, 4)]
        _, points = read(*free, config=ALONE)
        assert points == [{"nose": (2, 1), "left": (4, 2)}, {"left": (6, 3), "nose": (8, 4)}]

    def test_points_below_a_point_or_another_region_are_one_thing(self) -> None:
        scene, other = (box(0, 0, 50, 50, name) | {"from_name": "something else"} for name in ("scene", "other"))
        _, points = read(
            scene,
            other | {"parentID": "scene"},
            point("nose", 9, 9, parent="scene"),
            point("nose", 1, 1, "n"),
            point("right", 5, 5, parent="other"),
            point("left", 4, 4, "l", parent="other"),
            point("right", 2, 2, "r", parent="n"),
            point("left", 3, 3, parent="r"),
            config=ALONE,
        )
        assert points == [
            {"nose": (18, 9)},
            {"nose": (2, 1), "right": (4, 2), "left": (6, 3)},
            {"right": (10, 5), "left": (8, 4)},
        ]

    def test_parents_in_a_circle_and_parents_that_are_gone(self) -> None:
        _, points = read(point("nose", 1, 1, "a", "c"), point("left", 2, 2, "b", "a"), point("right", 3, 3, "c", "b"))
        assert points == [{"nose": (2, 1), "left": (4, 2), "right": (6, 3)}]
        _, points = read(point("nose", 1, 1, "a", "a"), point("left", 2, 2, "b", "gone"), config=ALONE)
        assert points == [{"nose": (2, 1), "left": (4, 2)}]

    def test_of_two_points_with_the_same_label_in_a_box_the_last_one_counts(self) -> None:
        _, points = read(box(0, 0, 50, 50, "b"), point("nose", 1, 1, parent="b"), point("nose", 9, 9, parent="b"))
        assert points == [{"nose": (18, 9)}]

    def test_what_is_outside_the_image_is_missing(self) -> None:
        boxes, points = read(
            box(-10, 50, 40, 80, "b"),
            box(100, 0, 10, 10, "outside"),
            point("nose", -1, 60, parent="b"),
            point("left", 100.0000001, 0, parent="b"),
            point("right", 1, 1, parent="outside"),
        )
        assert boxes == [[0, 50, 60, 100]]
        assert points == [{"left": (200, 0)}]

    def test_points_in_a_box_without_a_known_label_are_left_out_with_it(self) -> None:
        for unknown in ([], ["cat"]):
            thing = box(0, 0, 50, 50, "b")
            thing["value"]["rectanglelabels"] = unknown
            assert read(thing, point("nose", 1, 1, parent="b"), point("left", 2, 2, parent="b")) == ([], [])

    def test_several_classes(self) -> None:
        config = CONFIG.replace('<Label value="person"/>', '<Label value="person"/><Label value="dog"/>')
        regions = [
            box(0, 0, 50, 50, "d", "dog"),
            box(0, 0, 50, 50, "c", "cat"),
            point("nose", 1, 1, parent="d"),
            point("nose", 2, 2, parent="c"),
            point("nose", 3, 3),
        ]
        found = read_keypoints(regions, control_of(config), 200, 100).found
        assert (found.names, found.classes.tolist()) == (("person", "dog"), [1])

    @pytest.mark.parametrize(
        "other",
        [
            point("nose", 1, 1) | {"from_name": "other"},
            point("tail", 1, 1),
            point("nose", float("nan"), 1),
            point("nose", 10**400, 1),
            point("nose", 1, 1) | {"value": None},
            point("nose", 1, 1) | {"value": {"keypointlabels": ["nose"]}},
            point("nose", 1, 1, keypointlabels="nose"),
            point("nose", 1, 1, keypointlabels=[["nose"], None, 3]),
            point("nose", "left", 1),  # type: ignore[arg-type]
            point("nose", None, []),  # type: ignore[arg-type]
            box(0, 0, 0, 10, "empty"),
            box(float("inf"), 0, 10, 10, "far"),
            {"type": "relation", "from_id": "a", "to_id": "b"},
        ],
    )
    def test_left_out(self, other: Any) -> None:
        _, points = read(other, box(0, 0, 50, 50, "b"), point("left", 1, 1, parent="b"))
        assert points == [{"left": (2, 1)}]

    @pytest.mark.parametrize("name", [None, 1, [], {}, ""])
    def test_regions_without_an_id(self, name: Any) -> None:
        nameless = [point("nose", 1, 1) | {"id": name, "parentID": [name]}, point("left", 2, 2) | {"id": name}]
        _, points = read(*nameless, config=ALONE)
        assert points == [{"nose": (2, 1), "left": (4, 2)}]
        _, points = read(*nameless, box(0, 0, 50, 50, "b") | {"id": name}, box(60, 0, 9, 9, "c") | {"id": name})
        assert points == [{"nose": (2, 1), "left": (4, 2)}, {}]

    def test_nothing(self) -> None:
        found = read_keypoints([], control_of(), 10, 10).found
        assert found.keypoints is not None
        assert found.keypoints.shape == (0, 3, 3)

    def test_a_chain_of_thousands_of_points(self) -> None:
        chain = [point("nose", 1, 1, f"{number}", f"{number - 1}") for number in range(5000)]
        assert len(read(*reversed(chain))[1]) == 5000


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
