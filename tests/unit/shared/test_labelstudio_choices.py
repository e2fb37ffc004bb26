"""Choices of an image and of its regions, there and back; Label Studio's own SDK validates what is written."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.converter.brush import encode_rle
from label_studio_sdk.label_interface import LabelInterface

from shared.geometry.detections import Detections
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.regions import CONTROLS
from shared.labelstudio.regions.choices import read_choices, region_boxes, write_choices, write_region_choices
from shared.labelstudio.regions.extents import upright_box

CONFIG = """<View><Image name="image" value="$image"/>
<Choices name="what" toName="image"><Choice value="good"/><View><Choice value="Very bad" alias="bad"/></View>
<Choice value="a/b"/></Choices>
<RectangleLabels name="box" toName="image"><Label value="car"/><Label value="bus, long"/></RectangleLabels></View>"""
MULTIPLE = CONFIG.replace("<Choices", '<Choices choice="multiple"')
PER_REGION = CONFIG.replace("<Choices", '<Choices perRegion="true"')
LABELS = ("good", "bad", "a/b")
CAR = {
    "id": "r1",
    "from_name": "box",
    "to_name": "image",
    "type": "rectanglelabels",
    "original_width": 200,
    "original_height": 100,
    "value": {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["car"]},
}


def control_of(config: str) -> Control:
    return next(control for control in parse_label_config(config) if control.name == "what")


def scored(*scores: float, names: tuple[str, ...] = LABELS) -> Detections:
    row = np.array([scores])
    best = row.argmax(axis=1)
    whole = np.array([[0.0, 0.0, 200.0, 100.0]])
    return Detections(200, 100, whole, row.max(axis=1), best, names, class_scores=row)


def accepted(config: str, result: list[dict[str, Any]]) -> list[dict[str, Any]]:
    prediction = {"result": json.loads(json.dumps(result)), "score": 0.5, "model_version": "what:v1"}
    assert LabelInterface(config).validate_prediction(prediction, return_errors=True) == []
    return result


class TestWriting:
    def write(self, config: str, *scores: float) -> list[dict[str, Any]]:
        control = control_of(config)
        return accepted(config, write_choices(scored(*scores), control.label_values, control))

    @pytest.mark.parametrize("mode", ["", 'choice="single"', 'choice="single-radio"'])
    def test_single_the_best_one(self, mode: str) -> None:
        (answer,) = self.write(CONFIG.replace("<Choices", f"<Choices {mode}"), 0.2, 0.7, 0.1)
        assert answer == {
            "id": "what-0",
            "from_name": "what",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": ["bad"]},
            "score": 0.7,
        }

    def test_multiple_all_that_are_left_the_best_first(self) -> None:
        (answer,) = self.write(MULTIPLE, 0.3, 0.0, 0.6)
        assert (answer["value"]["choices"], answer["score"]) == (["a/b", "good"], pytest.approx(0.45))

    def test_nothing_is_left(self) -> None:
        assert self.write(CONFIG, 0, 0, 0) == []
        assert write_choices(scored(0.9, 0.1, 0), [None, None, None], control_of(CONFIG)) == []
        assert self.write(PER_REGION, 0.2, 0.7, 0.1) == []

    def test_for_a_region_its_id_shape_and_parent_are_repeated(self) -> None:
        control = control_of(PER_REGION)
        region = CAR | {"parentID": "group"}
        answers = write_region_choices(scored(0.2, 0.7, 0.1), LABELS, control, region)
        (_, answer) = accepted(PER_REGION, [region, *answers])
        assert answer == {
            "id": "r1",
            "parentID": "group",
            "from_name": "what",
            "to_name": "image",
            "type": "choices",
            "original_width": 200,
            "original_height": 100,
            "image_rotation": 0,
            "score": 0.7,
            "value": {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "choices": ["bad"]},
        }


def answer(choices: Any, **more: Any) -> dict[str, Any]:
    return {"id": "a", "from_name": "what", "to_name": "image", "type": "choices", "value": {"choices": choices} | more}


class TestReading:
    def read(self, config: str, *regions: Any) -> list[tuple[list[float], list[str]]]:
        control = control_of(config)
        found = read_choices(regions, control, 200, 100).found
        assert found.names == LABELS
        assert found.class_scores is not None
        assert [row[class_] for row, class_ in zip(found.class_scores, found.classes, strict=True)] == [1.0] * len(
            found
        )
        chosen = [[label for label, score in zip(LABELS, row, strict=True) if score] for row in found.class_scores]
        return list(zip(found.xyxy.tolist(), chosen, strict=True))

    def test_of_an_image(self) -> None:
        assert self.read(CONFIG, CAR, answer(["bad"])) == [([0, 0, 200, 100], ["bad"])]
        assert self.read(MULTIPLE, answer(["a/b", "good"])) == [([0, 0, 200, 100], ["good", "a/b"])]
        assert self.read(MULTIPLE, answer(["a/b"]), answer(["good"])) == [([0, 0, 200, 100], ["good", "a/b"])]

    def test_of_a_region(self) -> None:
        shape = {"x": 10, "y": 20, "width": 30, "height": 40}
        expected = [([20, 20, 80, 60], ["bad"])]
        assert self.read(PER_REGION, CAR, answer(["bad"], **shape)) == expected
        assert self.read(PER_REGION, answer(["bad"]) | {"id": "r1"}, CAR) == expected

    def test_answers_of_another_kind_than_the_config_asks_for_do_not_count(self) -> None:
        assert self.read(CONFIG, answer(["bad"], x=10, y=20, width=30, height=40)) == []
        assert self.read(PER_REGION, CAR, answer(["bad"])) == []

    @pytest.mark.parametrize(
        "other",
        [
            answer(["Very bad"]),
            answer([]),
            answer("bad"),
            answer([["bad"], None, 3]),
            answer(None),
            answer(["bad"]) | {"from_name": "box"},
            answer(["bad"]) | {"value": None},
            {"type": "relation", "from_id": "a", "to_id": "b"},
            {},
        ],
    )
    def test_left_out(self, other: Any) -> None:
        assert self.read(CONFIG, other, answer(["good"])) == [([0, 0, 200, 100], ["good"])]
        assert self.read(CONFIG, other) == []

    @pytest.mark.parametrize(
        "shape",
        [
            {"x": 0, "y": 0, "width": 0, "height": 10},
            {"x": 100, "y": 0, "width": 10, "height": 10},
            {"x": float("nan"), "y": 0, "width": 10, "height": 10},
            {"x": 0, "y": 0, "width": 0.5},
            {"points": []},
            {"points": [[1], [2, 3]]},
            {"points": "ab"},
            {"points": [[1, float("inf")], [2, 3]]},
            {"x": 1, "y": 1, "radiusX": None, "radiusY": 3},
            {"rle": [1, 2, 3], "format": "rle"},
        ],
    )
    def test_regions_without_area_are_left_out(self, shape: dict[str, Any]) -> None:
        assert self.read(PER_REGION, answer(["bad"], **shape)) == []

    def test_nothing(self) -> None:
        found = read_choices([], control_of(CONFIG), 10, 10).found
        assert found.class_scores is not None
        assert found.class_scores.shape == (0, 3)


@given(st.data())
def test_chosen_labels_come_back_through_the_folder_of_their_class(data: st.DataObject) -> None:
    """A sample is put into the folder that its class index names; the model answers by the same index."""
    config = data.draw(st.sampled_from([CONFIG, MULTIPLE]))
    wanted = data.draw(
        st.lists(st.sampled_from(LABELS), min_size=1, max_size=3 if config == MULTIPLE else 1, unique=True)
    )
    control = control_of(config)
    found = CONTROLS["Choices"].read([answer(wanted)], control, 200, 100).found
    assert found.class_scores is not None
    folders = [f"{index:04d}" for index in np.flatnonzero(found.class_scores[0])]
    scores = [1.0 if f"{index:04d}" in folders else 0.0 for index in range(len(control.class_names))]
    (written,) = CONTROLS["Choices"].write(scored(*scores, names=found.names), control.label_values, control)
    assert sorted(written["value"]["choices"]) == sorted(wanted)
    assert accepted(config, [written])


percent, side = st.floats(-20, 120), st.floats(0.1, 60)


@given(percent, percent, side, side, st.floats(0, 360), st.integers(16, 5000), st.integers(16, 5000))
def test_an_answer_about_a_region_comes_back_with_the_regions_box(
    x: float, y: float, across: float, down: float, rotation: float, width: int, height: int
) -> None:
    control = control_of(PER_REGION)
    region = CAR | {"value": {"x": x, "y": y, "width": across, "height": down, "rotation": rotation}}
    boxes = region_boxes([region], control, width, height)
    answers = write_region_choices(scored(0, 1, 0), LABELS, control, region)
    found = read_choices([region, *answers], control, width, height).found
    assert found.xyxy.tolist() == [box.tolist() for box in boxes.values()]
    assert all(labels == 1 for labels in found.classes)


class TestRegionBoxes:
    def test_of_those_with_area_by_id(self) -> None:
        point = {"id": "p", "to_name": "image", "value": {"x": 1, "y": 1, "width": 1}}
        elsewhere = CAR | {"id": "e", "to_name": "other"}
        boxes = region_boxes([CAR, point, elsewhere, answer(["bad"]), {}], control_of(PER_REGION), 200, 100)
        assert {name: box.tolist() for name, box in boxes.items()} == {"r1": [20, 20, 80, 60]}

    @pytest.mark.parametrize(
        ("when", "asked"), [("car", True), ("bus", False), ("bus,car", True), ("bus, long", False), ("", True)]
    )
    def test_only_with_the_label_that_the_config_names(self, when: str, asked: bool) -> None:
        control = control_of(PER_REGION.replace("<Choices", f'<Choices whenLabelValue="{when}"'))
        assert bool(region_boxes([CAR], control, 200, 100)) == asked

    @pytest.mark.parametrize(
        ("attributes", "asked"),
        [
            ('visibleWhen="region-selected" whenTagName="box"', True),
            ('visibleWhen="region-selected" whenTagName="kinds"', False),
            ('visibleWhen="region-selected" whenTagName="box" whenLabelValue="car"', True),
            ('visibleWhen="region-selected" whenTagName="box" whenLabelValue="bus"', False),
            ('whenTagName="kinds"', True),  # Label Studio reads it with visibleWhen only
        ],
    )
    def test_only_of_the_tag_that_the_config_names(self, attributes: str, asked: bool) -> None:
        control = control_of(PER_REGION.replace("<Choices", f"<Choices {attributes}"))
        assert bool(region_boxes([CAR], control, 200, 100)) == asked
        of_view = PER_REGION.replace("<Choices", f"<View {attributes}><Choices").replace(
            "/Choices>", "/Choices></View>"
        )
        assert bool(region_boxes([CAR], control_of(of_view), 200, 100)) == asked

    def test_of_a_shape_with_labels_the_tag_of_the_labels_counts(self) -> None:
        shape = {"x": 10, "y": 20, "width": 30, "height": 40}
        bare, named = CAR | {"value": shape}, CAR | {"from_name": "kinds", "value": shape | {"labels": ["car"]}}
        for tag, asked in (("kinds", True), ("box", False)):
            when = f'<Choices visibleWhen="region-selected" whenTagName="{tag}"'
            assert (
                bool(region_boxes([bare, named], control_of(PER_REGION.replace("<Choices", when)), 200, 100)) == asked
            )

    def test_the_label_may_be_in_another_item_of_the_region(self) -> None:
        control = control_of(PER_REGION.replace("<Choices", '<Choices whenLabelValue="car"'))
        shape = {"x": 10, "y": 20, "width": 30, "height": 40}
        bare, named = CAR | {"value": shape}, CAR | {"from_name": "kinds", "value": shape | {"labels": ["car"]}}
        assert list(region_boxes([bare, named], control, 200, 100)) == ["r1"]
        assert list(region_boxes([bare], control, 200, 100)) == []


@pytest.mark.parametrize(
    ("value", "box"),
    [
        ({"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}, [20, 20, 80, 60]),
        ({"x": 50, "y": 0, "width": 20, "height": 20, "rotation": 90}, [80, 0, 100, 40]),
        ({"x": -10, "y": 90, "width": 30, "height": 40}, [0, 90, 40, 100]),
        ({"points": [[10, 20], [30, 10], [20, 50]]}, [20, 10, 60, 50]),
        ({"x": 50, "y": 50, "radiusX": 10, "radiusY": 40}, [80, 10, 120, 90]),
        ({"x": 50, "y": 50, "radiusX": 10, "radiusY": 40, "rotation": 90}, [60, 30, 140, 70]),
    ],
)
def test_upright_boxes(value: dict[str, Any], box: list[float]) -> None:
    found = upright_box(value, 200, 100)
    assert found is not None
    assert found == pytest.approx(np.array(box))


def test_upright_box_of_brush_strokes() -> None:
    mask = np.zeros((100, 200, 4), dtype=np.uint8)
    mask[20:60, 30:50] = 255
    rle = encode_rle(mask.ravel())
    found = upright_box({"format": "rle", "rle": rle}, 200, 100)
    assert found is not None
    assert found.tolist() == [30, 20, 50, 60]
    assert upright_box({"format": "rle", "rle": rle}, 100, 100) is None


@given(st.floats(0, 360), st.floats(1, 20), st.floats(1, 20))
def test_an_ellipse_touches_its_box(rotation: float, across: float, down: float) -> None:
    found = upright_box({"x": 50, "y": 50, "radiusX": across, "radiusY": down, "rotation": rotation}, 1000, 1000)
    turn = np.linspace(0, 2 * math.pi, 20_001)
    cos, sin = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    x = 500 + 10 * (across * np.cos(turn) * cos - down * np.sin(turn) * sin)
    y = 500 + 10 * (across * np.cos(turn) * sin + down * np.sin(turn) * cos)
    assert found == pytest.approx(np.array([x.min(), y.min(), x.max(), y.max()]), abs=1e-3)
