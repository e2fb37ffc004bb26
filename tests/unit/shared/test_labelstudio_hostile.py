"""Hostile annotations, which anybody may import: readers always return detections that can be trained on."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.train.data.yolo_labels import label_lines
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.regions import CONTROLS
from shared.labelstudio.regions.choices import region_boxes
from tests.samples.shapes import taken_by_ultralytics

LABELS = '<Label value="a"/><Label value="b"/>'
BOXES = f'<RectangleLabels name="it_bbox" toName="image" model_skip="true">{LABELS}</RectangleLabels>'
CONFIGS = {
    **{tag: f'<{tag} name="it" toName="image">{LABELS}</{tag}>' for tag in CONTROLS if tag.endswith("Labels")},
    "obb": f'<RectangleLabels name="it" toName="image" model_obb="true">{LABELS}</RectangleLabels>',
    "points in boxes": f'{BOXES}<KeyPointLabels name="it" toName="image">{LABELS}</KeyPointLabels>',
    "Choices": '<Choices name="it" toName="image"><Choice value="a"/><Choice value="b"/></Choices>',
    "answers": '<Choices name="it" toName="image" perRegion="true"><Choice value="a"/><Choice value="b"/></Choices>',
}

nan, endless = float("nan"), float("inf")
number = st.floats(-50, 150) | st.sampled_from([nan, endless, -endless, 1e308, 10**400, -(10**400), 5e-324, 0, 100])
junk: list[Any] = [None, True, "", "a", "5", "nan", [], {}, [[]], [None], [["a"]], {"x": 1}, nan, endless, -1]
anything = st.sampled_from(junk)
points = st.lists(st.lists(number, min_size=2, max_size=2), max_size=6)
labels = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3)
SHAPE = ("x", "y", "width", "height", "rotation", "radiusX", "radiusY")
HELD = ("rectanglelabels", "polygonlabels", "brushlabels", "ellipselabels", "keypointlabels", "labels", "choices")
value = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(SHAPE, number | anything),
        **dict.fromkeys(HELD, labels | anything),
        "points": points | anything,
        "closed": anything,
        "format": st.just("rle") | anything,
        "rle": st.lists(st.integers(0, 255), max_size=40) | anything,
    },
)
name = st.sampled_from(["p", "q", "r"]) | anything
region = st.fixed_dictionaries(
    {"from_name": st.sampled_from(["it", "it_bbox", "other"]), "value": value | anything},
    optional={
        "id": name,
        "parentID": name,
        "type": anything,
        "to_name": st.just("image") | anything,
        "original_width": st.just(40) | anything,
        "original_height": st.just(30) | anything,
    },
)


def control_of(kind: str) -> Control:
    config = f'<View><Image name="image" value="$image"/>{CONFIGS[kind]}</View>'
    return next(control for control in parse_label_config(config) if control.name == "it")


@pytest.mark.parametrize("kind", CONFIGS)
@given(st.lists(region, max_size=5))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_readers_answer_what_can_be_trained_on(kind: str, result: list[dict[str, Any]]) -> None:
    control = control_of(kind)
    reading = CONTROLS[control.tag].read(result, control, 40, 30)
    found = reading.found
    assert len(found) or reading.unusable or all(one["from_name"] != "it" for one in result), (
        "never nothing by accident"
    )
    assert found.names == control.class_names
    assert ((found.xyxy >= 0) & (found.xyxy <= (40, 30, 40, 30))).all()  # so no NaN either
    assert (found.xyxy[:, 2:] > found.xyxy[:, :2]).all()
    assert ((found.classes >= 0) & (found.classes < len(found.names))).all()
    if control.yolo_task == "classify":
        assert found.class_scores is not None
        assert found.class_scores.any(axis=1).all()
        return
    for line in label_lines(found, control.yolo_task):
        assert taken_by_ultralytics(line, control.yolo_task)


@given(st.lists(region, max_size=5))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_boxes_of_regions(result: list[dict[str, Any]]) -> None:
    for box in region_boxes(result, control_of("answers"), 40, 30).values():
        assert ((box >= 0) & (box <= (40, 30, 40, 30))).all()


@pytest.mark.parametrize("kind", CONFIGS)
def test_thousands_of_regions(kind: str) -> None:
    """Each below the next, which must not take quadratic time."""
    control = control_of(kind)
    shape = dict.fromkeys(("x", "y", "width", "height", "radiusX", "radiusY"), 5) | {"points": [[1, 1], [9, 1], [9, 9]]}
    if kind in ("KeyPointLabels", "points in boxes"):
        shape = {"x": 5, "y": 5, "width": 1}
    held = {control.tag.lower(): ["a"]}
    result = [
        {"id": f"{place}", "parentID": f"{place - 1}", "from_name": "it", "value": shape | held}
        for place in range(2000)
    ]
    assert len(CONTROLS[control.tag].read(result, control, 400, 300).found) == {
        "Choices": 0,
        "points in boxes": 0,
    }.get(kind, 2000)
