"""From detections to predictions: labels, proposals, thresholds, the score of an image."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from label_studio_sdk.label_interface import LabelInterface

from shared.geometry.detections import Detections
from shared.geometry.suppression import suppress
from shared.labelstudio.config import parse_label_config
from shared.prediction.plan import Plan, found_in, plan_control
from shared.prediction.plan import to_prediction as prediction_of
from shared.settings import Settings
from shared.state.versions import Shown
from tests.fakes.predict_parts import boxes, label_config

SHAPES = ("RectangleLabels", "PolygonLabels", "BrushLabels", "EllipseLabels")


def classified(*scores: float) -> Detections:
    """A 64×48 image with these probabilities of the model's classes."""
    table = np.array([scores])
    return Detections(
        64, 48, np.array([[0.0, 0, 64, 48]]), table.max(1), table.argmax(1), ("cat", "dog", "puppy"), class_scores=table
    )


def choices(
    attributes: str = "", labels: str = '<Choice value="Cat"/><Choice value="Dog" predicted_values="dog,puppy"/>'
) -> str:
    return f"""<View><Image name="image" value="$image"/>
        <Choices name="what" toName="image" {attributes}>{labels}</Choices></View>"""


def plan(
    names: tuple[str, ...],
    *,
    trained: bool = True,
    config: str | None = None,
    confidence: float | None = None,
    iou: float | None = None,
    shown: dict[str, Shown] | None = None,
) -> Plan:
    (control,) = parse_label_config(config or label_config())
    settings = Settings.model_validate({"LABELLOOP_CONFIDENCE": confidence, "LABELLOOP_IOU": iou})
    return plan_control(control, names, trained=trained, settings=settings, shown=shown or {})


def to_prediction(plans: list[Plan], found: list[Detections], model_version: str) -> dict[str, Any]:
    return prediction_of([found_in(*one) for one in zip(plans, found, strict=True)], model_version)


def labels_of(prediction: dict[str, Any]) -> list[list[str]]:
    return [region["value"]["rectanglelabels"] for region in prediction["result"]]


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
    assert labels_of(to_prediction([one_label], [found], "label:base-x")) == [[], []]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        pytest.param([f'value="{label}"' for label in "aAbB"], tuple("aAbB"), id="cases"),
        pytest.param(
            ['value="Vehicle" predicted_values="car,truck"', 'value="Truck"'],
            ("Vehicle", "Truck"),
            id="predicted_values",
        ),
    ],
)
@pytest.mark.parametrize("tag", ["RectangleLabels", "Choices"])
def test_a_trained_version_answers_the_labels_that_it_learnt(
    labels: list[str], names: tuple[str, ...], tag: str
) -> None:
    inner = "".join(f"<{'Choice' if tag == 'Choices' else 'Label'} {label}/>" for label in labels)
    config = f'<View><Image name="image" value="$image"/><{tag} name="label" toName="image">{inner}</{tag}></View>'
    ours = plan(names, config=config)
    for number, name in enumerate(names):
        if tag == "Choices":
            found = replace(classified(*np.eye(len(names))[number]), names=names)
        else:
            found = boxes((8, 8, 40, 40, 0.9, number), names=names)
        (region,) = to_prediction([ours], [found], "label:v1")["result"]
        assert region["value"][tag.lower()] == [name]


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


def test_threshold_of_a_tracker() -> None:
    config = """<View><Video name="v" value="$v"/><Labels name="l" toName="v"><Label value="Tree"/></Labels>
        <VideoRectangle name="t" toName="v" model_conf="0.3" model_score_threshold="0.6"/></View>"""
    assert plan(("Tree",), config=config).threshold == 0.3
    assert plan(("Tree",), config=config.replace('model_conf="0.3"', "")).threshold == 0.6


def test_a_version_says_from_which_confidence_each_label_is_shown() -> None:
    """Other labels, and versions without thresholds, are shown from 0.25 on."""
    found = boxes((0, 0, 9, 9, 0.5, 0), (9, 9, 30, 30, 0.3, 1), names=("Tree", "Person"))
    chosen = {"Tree": Shown(confidence=0.6, iou=0.7)}
    before = to_prediction([plan(found.names)], [found], "label:v1")
    assert (labels_of(before), before["score"]) == ([["Tree"], ["Person"]], pytest.approx(0.4))
    after = to_prediction([plan(found.names, shown=chosen)], [found], "label:v2")
    assert (labels_of(after), after["score"]) == ([["Person"]], pytest.approx(0.3))


def test_a_version_says_above_which_overlap_two_things_of_a_label_are_one() -> None:
    """A third of each pair overlaps; objects of other labels, or without a label now, are not affected."""
    pairs = [(x, 0, x + 20, 20, 0.9, class_) for class_ in (0, 1) for x in (0, 10)]
    found = boxes(*pairs, (2, 0, 22, 20, 0.95, 2), names=("Tree", "Person", "Shrub"))
    assert labels_of(to_prediction([plan(found.names)], [found], "label:v1")) == [["Tree"]] * 2 + [["Person"]] * 2
    ours = plan(found.names, shown={"Tree": Shown(confidence=0.25, iou=0.3)})
    assert ours.iou == 0.7  # of the question: what is one for Tree is not for Person
    assert labels_of(to_prediction([ours], [found], "label:v2")) == [["Tree"]] + [["Person"]] * 2


def test_classes_of_strangers_that_mean_the_same_label_are_one_thing() -> None:
    config = label_config(labels=("Tree",)).replace(
        "</Rect", '<Label value="Vehicle" predicted_values="car,truck"/></Rect'
    )
    found = boxes((0, 0, 20, 20, 0.6, 0), (0, 0, 20, 19, 0.8, 1), (40, 0, 60, 20, 0.5, 0), names=("car", "truck"))
    prediction = to_prediction([plan(found.names, trained=False, config=config)], [found], "label:base-x")
    assert [region["score"] for region in prediction["result"]] == [0.8, 0.5]


def test_rotated_things_are_one_where_they_overlap_as_they_are_turned() -> None:
    config = label_config().replace("<RectangleLabels ", '<RectangleLabels model_obb="true" ')
    turned = np.array([[20.0, 24, 40, 4, np.pi / 4], [23.0, 21, 40, 4, np.pi / 4], [20.5, 24, 40, 4, np.pi / 4]])
    around = np.array([[4.0, 8, 36, 40], [7.0, 5, 39, 37], [4.5, 8, 36.5, 40]])
    table = boxes(*[(0, 0, 9, 9, score, 0) for score in (0.9, 0.8, 0.7)], names=("Tree", "Person"))
    found = replace(table, xyxy=around, rotated=turned)
    ours = plan(found.names, config=config, shown={"Tree": Shown(confidence=0.25, iou=0.5)})
    assert [region["score"] for region in to_prediction([ours], [found], "label:v2")["result"]] == [0.9, 0.8]


@pytest.mark.parametrize(
    ("attributes", "setting", "expected"),
    [
        pytest.param("", None, ((0.6, 0.4), (0.25, 0.7)), id="the version, else the defaults"),
        pytest.param("", 0.5, ((0.5, 0.5), (0.5, 0.5)), id="the settings"),
        pytest.param('model_conf="0.1" model_iou="0.2"', 0.5, ((0.1, 0.2), (0.1, 0.2)), id="the attributes"),
        pytest.param('model_score_threshold="0.1"', None, ((0.1, 0.4), (0.1, 0.7)), id="each number for itself"),
        pytest.param('model_iou="many"', None, ((0.6, 0.4), (0.25, 0.7)), id="what cannot be read says nothing"),
    ],
)
def test_who_says_what_is_shown(attributes: str, setting: float | None, expected: object) -> None:
    config = label_config().replace("<RectangleLabels ", f"<RectangleLabels {attributes} ")
    chosen = {"Tree": Shown(confidence=0.6, iou=0.4)}
    ours = plan(("Tree", "Person"), config=config, confidence=setting, iou=setting, shown=chosen)
    assert tuple((each.confidence, each.iou) for each in ours.shown) == expected


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


def test_overlapping_rotated_proposals() -> None:
    """Two slim objects side by side: the upright boxes around them are almost the same."""
    side_by_side = np.array([[50.0, 50, 100, 10, np.pi / 4], [57.0, 43, 100, 10, np.pi / 4], [50.5, 50, 100, 10, 0.78]])
    around = np.array([[11.0, 11, 89, 89], [18.0, 4, 96, 82], [11.0, 11, 89, 89]])
    scores = np.array([0.9, 0.8, 0.7])
    assert suppress(around, scores, 0.6).tolist() == [True, False, False]
    assert suppress(around, scores, 0.6, side_by_side).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("attributes", "scores", "chosen", "score"),
    [
        pytest.param("", (0.6, 0.3, 0.1), ["Cat"], 0.6, id="the best"),
        pytest.param("", (0.4, 0.35, 0.25), ["Dog"], 0.6, id="classes of one label add up"),
        pytest.param('choice="single-radio"', (0.6, 0.3, 0.1), ["Cat"], 0.6, id="single-radio"),
        pytest.param('choice="multiple"', (0.6, 0.3, 0.1), ["Cat", "Dog"], 0.5, id="all above the threshold"),
        pytest.param('choice="multiple" model_score_threshold="0.5"', (0.6, 0.3, 0.1), ["Cat"], 0.6, id="threshold"),
        pytest.param('model_score_threshold="0.7"', (0.6, 0.3, 0.1), [], 0.6, id="unsure: asked for first"),
        pytest.param('score_threshold="0.7"', (0.6, 0.3, 0.1), [], 0.6, id="the older name"),
    ],
)
def test_choices(attributes: str, scores: tuple[float, ...], chosen: list[str], score: float) -> None:
    ours = plan(("cat", "dog", "puppy"), trained=False, config=choices(attributes))
    prediction = to_prediction([ours], [classified(*scores)], "what:base-x")
    assert [label for region in prediction["result"] for label in region["value"]["choices"]] == chosen
    assert prediction["score"] == pytest.approx(score)


def test_base_weights_propose_things_of_points_without_a_meaning() -> None:
    """Their points would be matched by number only, though the object may not be the one that the labels are for."""
    config = """<View><Image name="image" value="$image"/>
        <RectangleLabels name="kp_bbox" toName="image" model_skip="true"><Label value="Gauge"/></RectangleLabels>
        <KeyPointLabels name="kp" toName="image"><Label value="hub"/><Label value="tip"/></KeyPointLabels></View>"""
    found = replace(
        boxes((8, 8, 40, 40, 0.9, 0), names=("person",)), keypoints=np.array([[[10.0, 10, 0.9], [20.0, 20, 0.9]]])
    )
    ours = plan(found.names, trained=False, config=config)
    assert ours.proposals
    (box,) = to_prediction([ours], [found], "kp:base-x")["result"]
    assert (box["from_name"], box["value"]["rectanglelabels"]) == ("kp_bbox", [])
    named = config.replace('value="tip"', 'value="tip" predicted_values="person"')
    regions = to_prediction([plan(found.names, trained=False, config=named)], [found], "kp:base-x")["result"]
    values = [region["value"].get("rectanglelabels") or region["value"]["keypointlabels"] for region in regions]
    assert values == [["Gauge"], ["hub"], ["tip"]]


def test_a_classification_without_a_matching_class_proposes_nothing() -> None:
    assert plan(("truck",), trained=False, config=choices()).silent
    assert not plan(("truck", "cat"), trained=False, config=choices()).silent
    assert not plan(("truck",), trained=False).silent  # boxes are proposals
    assert plan(("truck",), trained=True).silent


def test_the_score_of_several_controls_is_the_mean_of_theirs() -> None:
    sure, unsure = boxes((0, 0, 9, 9, 0.9, 0), (9, 9, 30, 30, 0.9, 0)), boxes((0, 0, 9, 9, 0.4, 0))
    assert to_prediction([plan(("Tree",)), plan(("Tree",))], [sure, unsure], "x")["score"] == pytest.approx(0.65)


@pytest.mark.parametrize("tag", SHAPES)
@pytest.mark.parametrize("beside", [False, True], ids=["own labels", "labels beside"])
def test_proposals_without_a_label_are_what_label_studio_accepts(tag: str, beside: bool) -> None:
    labels = '<Label value="Tree"/><Label value="Person"/>'
    shape = tag.removesuffix("Labels")
    control = (
        f'<{shape} name="label" toName="image"/><Labels name="names" toName="image">{labels}</Labels>'
        if beside
        else f'<{tag} name="label" toName="image">{labels}</{tag}>'
    )
    config = f'<View><Image name="image" value="$image"/>{control}</View>'
    found = boxes((8, 8, 40, 40, 0.9, 0), names=("cat",))
    ring = np.array([[8.0, 8], [40, 8], [40, 40], [20, 44], [8, 40]])
    outlined = replace(found, outlines=((ring,),), rotated=np.array([[20.0, 20, 20, 10, 0.5]]))
    prediction = to_prediction([plan(found.names, trained=False, config=config)], [outlined], "label:base-x")
    assert [region["from_name"] for region in prediction["result"]] == ["label"]
    assert LabelInterface(config).validate_prediction(prediction, return_errors=True) == []


def test_scores_of_classes_that_mean_one_label_are_at_most_1() -> None:
    """Probabilities in half precision, which were rounded up."""
    ours = plan(("cat", "dog", "puppy"), trained=False, config=choices())
    prediction = to_prediction([ours], [classified(0.0, 0.7, 0.3000001)], "what:base")
    assert [region["score"] for region in prediction["result"]] == [1.0]
    assert prediction["score"] == 1.0
