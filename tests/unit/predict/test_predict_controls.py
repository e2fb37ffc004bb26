"""Several controls of one task: their images, models and videos, those that are left out, and regions of regions."""

import threading
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from label_studio_sdk.label_interface import LabelInterface
from numpy.typing import NDArray

from shared.errors import ImageError
from shared.geometry.detections import Detections
from shared.labelstudio.requests import PredictRequest
from shared.prediction.ports import NothingToServe
from shared.prediction.unanswered import Unanswered
from tests.fakes.predict_parts import FAR, UID, FakeModel, boxes, jpeg, label_config
from tests.fakes.predictor_parts import BOXES, KINDS, FakeImages, call, classifier, failures, predictor, view


def test_two_controls_with_models_of_their_own_make_one_prediction() -> None:
    trees, roads = FakeModel(), FakeModel(names=("Road",), finds=boxes((1, 1, 9, 9, 0.5, 0), names=("Road",)))
    ours, _ = predictor(FakeImages({"a": jpeg()}), trees=trees, roads=roads)
    config = label_config("trees", "roads", labels=("Tree", "Road"))
    (answer,) = ours.predict(call("a", config=config), FAR)
    assert isinstance(answer, dict)
    found = [(region["from_name"], region["value"]["rectanglelabels"]) for region in answer["result"]]
    assert found == [("trees", ["Tree"]), ("roads", ["Road"])]
    assert answer["model_version"] == "trees:v1+roads:v1"
    assert answer["score"] == pytest.approx(0.7)


def test_controls_with_the_same_model_run_it_once_an_image() -> None:
    both, images = FakeModel(), FakeImages({"a": jpeg()})
    ours, _ = predictor(images, one=both, two=both)
    (answer,) = ours.predict(call("a", config=label_config("one", "two")), FAR)
    assert isinstance(answer, dict)
    assert [region["from_name"] for region in answer["result"]] == ["one", "two"]
    assert len(both.confidences) == len(images.fetched) == 1


def test_each_control_looks_at_its_own_image() -> None:
    config = """<View><Image name="left" value="$l"/><Image name="right" value="$r"/>
        <RectangleLabels name="a" toName="left"><Label value="Tree"/></RectangleLabels>
        <RectangleLabels name="b" toName="right"><Label value="Tree"/></RectangleLabels></View>"""
    one = FakeModel()
    ours, metrics = predictor(FakeImages({"x": jpeg(width=70), "y": jpeg(width=80)}), a=one, b=one)
    body = {"tasks": [{"data": {"l": "x", "r": "y"}}], "project": UID, "label_config": config}
    (whole,) = ours.predict(PredictRequest.model_validate(body), FAR)
    assert isinstance(whole, dict)
    assert [(r["to_name"], r["original_width"]) for r in whole["result"]] == [("left", 70), ("right", 80)]
    assert failures(metrics) == {}


TWO_IMAGES = """<View><Image name="left" value="$l"/><Image name="right" value="$r"/>
    <RectangleLabels name="a" toName="left"><Label value="Tree"/></RectangleLabels>
    <RectangleLabels name="b" toName="right"><Label value="Tree"/></RectangleLabels></View>"""


@pytest.mark.parametrize(
    ("data", "answered", "reason"),
    [
        pytest.param({"l": "good"}, True, "no_data", id="a task without the image"),
        pytest.param({"l": "good", "r": "cut"}, True, "broken", id="a broken file"),
        pytest.param({"l": "cut", "r": "good"}, True, "broken", id="the first one"),
        pytest.param(
            {"l": "good", "r": "away"}, False, "unreachable", id="may heal: or it would never be asked for again"
        ),
        pytest.param({"l": "good", "r": "gone"}, False, "not_found", id="may come yet"),
        pytest.param({"l": "cut", "r": "cut"}, False, "broken", id="no control is left"),
        pytest.param({}, False, "no_data", id="no image at all"),
    ],
)
def test_a_control_whose_image_can_never_be_had_leaves_the_others(
    data: dict[str, str], answered: bool, reason: str
) -> None:
    files: dict[object, bytes | Exception] = {
        "good": jpeg(),
        "cut": jpeg()[:200],
        "gone": ImageError("not_found", "404"),
        "away": ImageError("unreachable", "no answer"),
    }
    one = FakeModel()
    ours, metrics = predictor(FakeImages(files), a=one, b=one)
    body = {"tasks": [{"data": data}] * 2, "project": UID, "label_config": TWO_IMAGES}
    for answer in ours.predict(PredictRequest.model_validate(body), FAR):
        assert bool(answer) == answered
        if answered:
            assert isinstance(answer, dict)
            (region,) = answer["result"]
            assert data["l" if region["from_name"] == "a" else "r"] == "good"
            assert answer["model_version"] == "a:v1+b:v1"
    left_out = metrics.registry.get_sample_value("labelloop_controls_left_out_total", {"reason": reason})
    assert (failures(metrics), left_out) == (({}, 2) if answered else ({reason: 2}, None))


def test_a_control_that_has_nothing_to_serve_leaves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    poly = '<PolygonLabels name="poly" toName="image"><Label value="Tree"/></PolygonLabels>'
    nothing = NothingToServe("poly needs weights for segment", "base-x")
    ours, metrics = predictor(FakeImages({"a": jpeg()}), label=FakeModel(), poly=nothing)
    for _ in range(2):
        (answer,) = ours.predict(call("a", config=view(poly, BOXES)), FAR)
        assert isinstance(answer, dict)
        assert [region["from_name"] for region in answer["result"]] == ["label"]
        assert answer["model_version"] == "poly:base-x+label:v1"  # as setup says
    said = [record.message for record in caplog.records if "poly" in record.message]
    assert said == ["'poly' is not predicted: poly needs weights for segment"]  # once
    left_out = NothingToServe("its base weights are not made yet", "")
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=FakeModel(), poly=left_out)
    (answer,) = ours.predict(call("a", config=view(poly, BOXES)), FAR)
    assert isinstance(answer, dict)
    assert answer["model_version"] == "label:v1", "no regions of it, and not in the stamp"
    images = FakeImages({"a": jpeg()})
    ours, metrics = predictor(images, poly=nothing)
    assert ours.predict(call("a", config=view(poly)), FAR) == [[]]
    assert failures(metrics) == {"no_model": 1}
    (item,) = ours.predict(call("a", config=view(poly)), FAR)
    assert isinstance(item, Unanswered)
    assert (item.reason, bool(item.message)) == ("no_model", True)
    assert images.fetched == []


def test_regions_that_other_controls_found_are_classified() -> None:
    trees = boxes((8, 8, 32, 24, 0.9, 0), (0.5, 0, 4.2, 6, 0.8, 0), (40, 40, 44, 44, 0.1, 0))
    kinds = classifier(at_once=True)
    seen: list[tuple[int, int]] = []
    submit = kinds.submit

    def watched(image: NDArray[np.uint8], confidence: float, **options: Any) -> "Future[Detections]":
        seen.append((image.shape[1], image.shape[0]))
        return submit(image, confidence, **options)

    watching = SimpleNamespace(names=kinds.names, batch=1, yolo_task="classify", tiling=None, submit=watched)
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=FakeModel(finds=trees), kind=watching)
    config = view(KINDS, BOXES)  # whatever comes first in the config
    (answer,) = ours.predict(call("a", config=config), FAR)
    assert isinstance(answer, dict)
    assert sorted(seen) == [(5, 6), (24, 16)]  # only what is shown, whole pixels outwards
    classes = {region["id"]: region for region in answer["result"] if region["from_name"] == "kind"}
    shapes = {region["id"]: region for region in answer["result"] if region["from_name"] == "label"}
    assert classes.keys() == shapes.keys()
    for name, region in classes.items():
        assert region["value"]["choices"] == ["Oak"]
        assert region["value"]["x"] == shapes[name]["value"]["x"]
    assert answer["score"] == pytest.approx((0.85 + 0.75) / 2)
    assert LabelInterface(config).validate_prediction(answer, return_errors=True) == []


def test_ids_of_regions_are_of_one_answer_alone() -> None:
    """Also if the same task is predicted twice; items of one region still share an id."""
    points = (
        '<RectangleLabels name="kp_bbox" toName="image" model_skip="true"><Label value="Tree"/></RectangleLabels>'
        '<KeyPointLabels name="kp" toName="image"><Label value="top"/><Label value="foot"/></KeyPointLabels>'
    )
    posed = replace(
        boxes((8, 8, 32, 24, 0.9, 0), (30, 8, 60, 24, 0.8, 0)),
        keypoints=np.full((2, 2, 3), 10.0),
        point_names=("top", "foot"),
    )
    pose = FakeModel(yolo_task="pose", finds=posed)
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=FakeModel(finds=posed), kp=pose, kind=classifier())
    config = view(BOXES, points, KINDS)
    answers = [answer for _ in range(2) for answer in ours.predict(call("a", "a", config=config), FAR)]
    seen: set[str] = set()
    for answer in answers:
        assert isinstance(answer, dict)
        assert LabelInterface(config).validate_prediction(answer, return_errors=True) == []
        by_control = {
            name: [region for region in answer["result"] if region["from_name"] == name]
            for name in ("label", "kp_bbox", "kp", "kind")
        }
        objects = [region["id"] for region in by_control["kp_bbox"]]
        assert [region["parentID"] for region in by_control["kp"]] == [objects[0]] * 2 + [objects[1]] * 2
        shapes = [region["id"] for region in by_control["label"]] + objects
        assert {region["id"] for region in by_control["kind"]} <= {*shapes, *(each["id"] for each in by_control["kp"])}
        ids = {region["id"] for region in answer["result"]}
        assert len(ids) == 2 + 2 + 4
        assert not ids & seen
        seen |= ids


def test_without_a_region_nothing_is_classified() -> None:
    ours, metrics = predictor(FakeImages({"a": jpeg()}), label=FakeModel(finds=boxes()), kind=classifier())
    (answer,) = ours.predict(call("a", config=view(BOXES, KINDS)), FAR)
    assert answer == {"result": [], "score": 1.0, "model_version": "label:v1+kind:v1"}
    ours, metrics = predictor(FakeImages({"a": jpeg()}), kind=classifier())
    assert ours.predict(call("a", config=view(KINDS)), FAR) == [[]]
    assert failures(metrics) == {"no_regions": 1}


def test_many_tasks_whose_regions_are_classified_bound_what_waits() -> None:
    """A task keeps its slot until its last crop is done, and no task waits for another one's slot."""
    kinds = classifier(at_once=False)
    ours, _ = predictor(FakeImages({"a": jpeg()}), concurrency=16, label=FakeModel(), kind=kinds)
    answers: list[object] = []
    request = threading.Thread(
        target=lambda: answers.extend(ours.predict(call(*["a"] * 24, config=view(BOXES, KINDS)), FAR))
    )
    request.start()
    most = 0
    while request.is_alive():
        most = max(most, len(kinds.waiting))
        kinds.finish()
        request.join(0.005)
    assert most <= 4
    assert len(answers) == 24
    assert all(answers)


VIDEO = (
    '<VideoRectangle name="track" toName="video"/><Labels name="names" toName="video"><Label value="Tree"/></Labels>'
)


@pytest.mark.parametrize(
    ("data", "controls", "left_out"),
    [
        ({"image": "a", "video": "film"}, ["label", "track"], None),
        ({"image": "a", "video": "broken"}, ["label"], "broken"),
        ({"image": "a"}, ["label"], "no_data"),
        ({"video": "film"}, ["track"], "no_data"),
        ({"image": "a", "video": ["film"]}, ["label"], "no_data"),
    ],
)
def test_videos_beside_images(data: dict[str, str], controls: list[str], left_out: str | None) -> None:
    ours, metrics = predictor(FakeImages({"a": jpeg()}), label=FakeModel(), track=FakeModel())
    body = {"tasks": [{"data": data}], "project": UID, "label_config": view(BOXES, VIDEO)}
    (answer,) = ours.predict(PredictRequest.model_validate(body), FAR)
    assert isinstance(answer, dict)
    assert [region["from_name"] for region in answer["result"]] == controls
    assert answer["model_version"] == "label:v1+track:v1"
    counted = metrics.registry.get_sample_value("labelloop_controls_left_out_total", {"reason": left_out or ""})
    assert counted == (1 if left_out else None)


def test_each_control_asks_by_its_own_numbers() -> None:
    one = FakeModel()
    poly = '<PolygonLabels name="poly" toName="image" {}><Label value="Tree"/></PolygonLabels>'
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=one, poly=one)
    ours.predict(call("a", config=view(BOXES, poly.format('model_score_threshold="0.4"'))), FAR)
    ours.predict(call("a", config=view(BOXES, poly.format('model_iou="0.5"'))), FAR)
    assert one.asked == [(0.7, 0.25), (0.7, 0.25), (0.5, 0.25)]  # the first answer served both
