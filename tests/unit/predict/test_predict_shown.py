"""What of a model's answer is shown: classes and labels, thresholds of a version, scores, the control group."""

import pytest

from shared.control_group import in_control_group
from shared.evolve import evolve
from shared.prediction.score import Order, doubt
from shared.state.versions import Shown
from tests.fakes.predict_parts import FAR, UID, FakeModel, boxes, jpeg, label_config
from tests.fakes.predictor_parts import WHOLE, FakeImages, call, classifier, failures, predictor, view


@pytest.mark.parametrize(("names", "reason"), [(("Cat", "Dog"), "no_class"), (("Oak", "Dog"), None)])
def test_classes_that_mean_no_label_leave_a_classification_out(names: tuple[str, ...], reason: str | None) -> None:
    ours, metrics = predictor(FakeImages({"a": jpeg()}), kind=classifier(names))
    answers = ours.predict(call("a", config=view(WHOLE)), FAR)
    assert bool(answers[0]) == (reason is None)
    assert failures(metrics) == ({reason: 1} if reason else {})


def test_a_version_of_before_a_label_was_renamed_says_how_to_go_on(caplog: pytest.LogCaptureFixture) -> None:
    model = FakeModel(names=("Tree",), finds=boxes((1, 1, 9, 9, 0.9, 0)))
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=model)
    assert ours.predict(call("a", config=label_config(labels=("tree crown",))), FAR) == [[]]
    (said,) = [record.message for record in caplog.records if "Tree" in record.message]
    assert "v1 was trained on 'Tree', which the labeling config of 'label' does not have any more" in said
    assert "rename it back, or write alias='Tree' to the <Label>" in said


def test_a_class_of_base_weights_that_several_labels_claim_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    config = label_config(labels=("Tree", "TREE", "Road"))
    model = FakeModel(names=("tree", "road"), finds=boxes((1, 1, 9, 9, 0.9, 0), (9, 9, 30, 30, 0.8, 1)))
    ours, _ = predictor(FakeImages({"a": jpeg()}), trained=False, label=model)
    for _ in range(2):
        (answer,) = ours.predict(call("a", config=config), FAR)
        assert isinstance(answer, dict)
        assert [region["value"]["rectanglelabels"] for region in answer["result"]] == [["Road"]]
    said = [record.message for record in caplog.records if "tree" in record.message]
    assert said == [
        "class 'tree' could mean 'Tree' or 'TREE' of 'label': it is not used, unless predicted_values of one label "
        "name it"
    ]


def test_the_control_group_gets_nothing_and_the_others_theirs_in_order() -> None:
    files: dict[object, bytes | Exception] = {f"{width}": jpeg(width=width) for width in range(60, 100)}
    images = FakeImages(files)
    ours, metrics = predictor(images, control_group=0.3)
    answers = ours.predict(call(*files), FAR)
    chosen = [number for number in range(40) if in_control_group(UID, number, 0.3)]
    assert chosen
    assert [number for number, answer in enumerate(answers) if answer == []] == chosen
    widths = {number: answer["result"][0]["original_width"] for number, answer in enumerate(answers) if answer}  # type: ignore[call-overload]
    assert widths == {number: 60 + number for number in range(40) if number not in chosen}
    assert len(images.fetched) == 40 - len(chosen), "no image is fetched for nothing"
    assert failures(metrics) == {"control_group": len(chosen)}
    annotated = call("60")
    chosen_one = annotated.tasks[0].model_copy(update={"id": chosen[0], "is_labeled": True})
    assert ours.predict(evolve(annotated, tasks=[chosen_one]), FAR) != [[]], "nobody is helped by it any more"
    assert predictor(FakeImages(files), control_group=1.0)[0].predict(call("60", "61"), FAR) == [[], []]


@pytest.mark.parametrize(
    ("order", "trained", "control_group", "score"),
    [
        pytest.param("useful", True, 0.0, 1 / (1 + doubt([0.9, 0.1])), id="how sure the version is, hidden boxes too"),
        pytest.param("easy", True, 0.0, 1 - 1 / (1 + doubt([0.9, 0.1])), id="turned round"),
        pytest.param("useful", False, 0.0, 0.9, id="nothing is known of what base weights are sure of"),
        pytest.param("useful", True, 1e-9, 0.9, id="beside a control group there is no order"),
        pytest.param("off", True, 0.0, 0.9, id="off"),
    ],
)
def test_the_score_of_a_version_orders_the_tasks(
    order: Order, trained: bool, control_group: float, score: float
) -> None:
    model = FakeModel(finds=boxes((8, 8, 32, 24, 0.9, 0), (40, 30, 60, 40, 0.1, 0)))
    images = FakeImages({"a": jpeg()})
    ours, _ = predictor(images, trained=trained, order=order, control_group=control_group, label=model)
    (answer,) = ours.predict(call("a"), FAR)
    assert answer["score"] == pytest.approx(score)  # type: ignore[call-overload]


def test_what_a_version_shows_of_each_label() -> None:
    """The model is asked once, with the largest overlap, and makes outlines from the lowest threshold on."""
    found = boxes(
        (0, 0, 20, 20, 0.9, 0), (9, 0, 29, 20, 0.5, 0), (40, 0, 60, 20, 0.5, 0),
        (40, 24, 60, 44, 0.5, 1), (44, 24, 64, 44, 0.45, 1),
        names=("Tree", "Person"),
    )  # fmt: skip
    model = FakeModel(names=found.names, finds=found)
    chosen = {"Tree": Shown(confidence=0.6, iou=0.3), "Person": Shown(confidence=0.4, iou=0.7)}
    ours, _ = predictor(FakeImages({"a": jpeg()}), shown=chosen, label=model)
    (answer,) = ours.predict(call("a"), FAR)
    assert isinstance(answer, dict)
    shown = [(region["value"]["rectanglelabels"], region["score"]) for region in answer["result"]]
    assert shown == [(["Tree"], 0.9), (["Person"], 0.5), (["Person"], 0.45)]
    assert (model.asked, model.confidences) == ([(0.7, 0.4)], [0.05])


def test_models_report_what_a_low_threshold_asks_for() -> None:
    model = FakeModel()
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=model)
    low = label_config().replace("<RectangleLabels ", '<RectangleLabels model_score_threshold="0.01" ')
    ours.predict(call("a", config=low), FAR)
    ours.predict(call("a"), FAR)
    assert model.confidences == [0.01, 0.05]
