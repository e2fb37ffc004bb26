"""From detections to predictions: labels, proposals, thresholds, the score of an image."""

from typing import Any

import numpy as np
import pytest

from functions.predict.plan import Plan, found_in, image_score, plan_control, suppress
from functions.predict.plan import to_prediction as prediction_of
from shared.geometry import Detections
from shared.labelstudio.config import parse_label_config
from shared.settings import Settings
from tests.predict_parts import boxes, label_config


def plan(names: tuple[str, ...], *, trained: bool = True, config: str | None = None, confidence: float = 0.25) -> Plan:
    (control,) = parse_label_config(config or label_config())
    settings = Settings.model_validate({"LABELLOOP_CONFIDENCE": confidence})
    return plan_control(control, names, trained=trained, settings=settings)


def to_prediction(plans: list[Plan], found: list[Detections], model_version: str) -> dict[str, Any]:
    return prediction_of([found_in(*one) for one in zip(plans, found, strict=True)], model_version)


def labels_of(prediction: dict) -> list[list[str]]:  # type: ignore[type-arg]
    return [region["value"]["rectanglelabels"] for region in prediction["result"]]


@pytest.mark.parametrize(
    ("shown", "hidden", "score"),
    [
        pytest.param([0.9, 0.7], [0.2], 0.8, id="mean of what is shown"),
        pytest.param([], [0.2, 0.1], 0.8, id="nothing shown: less sure, the better the best hidden box"),
        pytest.param([], [], 1.0, id="nothing at all: sure"),
    ],
)
def test_score_of_an_image(shown: list[float], hidden: list[float], score: float) -> None:
    assert image_score(shown, hidden) == pytest.approx(score)


def test_an_image_without_a_shown_box_has_a_prediction_with_a_score() -> None:
    prediction = to_prediction([plan(("Tree",))], [boxes((0, 0, 9, 9, 0.1, 0))], "label:v1")
    assert prediction == {"result": [], "score": pytest.approx(0.9), "model_version": "label:v1"}


def test_classes_that_are_no_label_are_dropped() -> None:
    found = boxes((0, 0, 9, 9, 0.9, 0), (9, 9, 30, 30, 0.8, 1), names=("Tree", "Mushroom"))
    prediction = to_prediction([plan(("Tree", "Mushroom"))], [found], "label:v1")
    assert labels_of(prediction) == [["Tree"]]
    assert prediction["score"] == pytest.approx(0.9)  # the mushroom says nothing about this project


def test_base_weights_serve_labels_of_the_same_name_and_predicted_values() -> None:
    config = label_config(labels=("tree",)).replace(
        "</Rect", '<Label value="Human" predicted_values="person,man"/></Rect'
    )
    found = boxes((0, 0, 9, 9, 0.9, 0), (9, 9, 30, 30, 0.8, 1), (9, 9, 30, 30, 0.7, 2), names=("Tree", "person", "dog"))
    prediction = to_prediction([plan(found.names, trained=False, config=config)], [found], "label:base-x")
    assert labels_of(prediction) == [["tree"], ["Human"]]


def test_base_weights_without_a_matching_class_propose_boxes_whatever_their_class() -> None:
    found = boxes((0, 0, 20, 20, 0.9, 0), (1, 1, 20, 20, 0.8, 1), (40, 30, 60, 40, 0.7, 1), names=("cat", "dog"))
    two_labels = to_prediction([plan(found.names, trained=False)], [found], "label:base-x")
    assert [region["score"] for region in two_labels["result"]] == [0.9, 0.7]  # the second is the first, as a dog
    assert labels_of(two_labels) == [[], []]
    one_label = plan(found.names, trained=False, config=label_config(labels=("Tree",)))
    assert labels_of(to_prediction([one_label], [found], "label:base-x")) == [["Tree"], ["Tree"]]


def test_a_trained_version_without_a_matching_class_proposes_nothing() -> None:
    found = boxes((0, 0, 20, 20, 0.9, 0), names=("Shrub",))
    assert to_prediction([plan(("Shrub",))], [found], "label:v1")["result"] == []


@pytest.mark.parametrize(
    ("attribute", "threshold"),
    [
        ('model_score_threshold="0.6"', 0.6),
        ('model_conf="0.05"', 0.05),
        ('model_score_threshold="0" model_conf="0.9"', 0.0),
        ('model_score_threshold="high"', 0.4),
        ('model_score_threshold="1.5"', 0.4),
        ('model_score_threshold="nan"', 0.4),
        ("", 0.4),
    ],
)
def test_threshold_of_a_control(attribute: str, threshold: float) -> None:
    config = label_config().replace("<RectangleLabels ", f"<RectangleLabels {attribute} ")
    assert plan(("Tree",), config=config, confidence=0.4).threshold == threshold


@pytest.mark.parametrize(
    ("xyxy", "scores", "remain"),
    [
        pytest.param([[0, 0, 10, 10], [1, 0, 11, 10]], [0.5, 0.9], [False, True], id="the better one stays"),
        pytest.param([[0, 0, 10, 10], [5, 0, 15, 10]], [0.9, 0.5], [True, True], id="little overlap"),
        pytest.param(
            [[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 9]], [0.1, 0.3, 0.2], [False, True, False], id="three"
        ),
        pytest.param([[3, 3, 3, 3], [3, 3, 3, 3]], [0.9, 0.5], [True, True], id="boxes without area"),
        pytest.param(np.zeros((0, 4)), [], [], id="none"),
    ],
)
def test_suppress(xyxy: list[list[float]], scores: list[float], remain: list[bool]) -> None:
    found = suppress(np.array(xyxy, dtype=np.float64).reshape(-1, 4), np.array(scores, dtype=np.float64), 0.7)
    assert found.tolist() == remain
