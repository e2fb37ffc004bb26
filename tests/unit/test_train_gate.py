"""The gate, as a table."""

import pytest

from jobs.train.gate import Champion, compare, metric_of, ungated, why_not_compared
from shared.labelstudio.config import CONTROL_TASKS, Control

TREE, BOTH = ("Tree",), ("Tree", "Rock")


@pytest.mark.parametrize(
    ("labels", "champion", "val", "comparable", "says"),
    [
        pytest.param(TREE, None, 9, True, "no version before it", id="first version"),
        pytest.param(BOTH, Champion(3, TREE), 9, True, "v3 knows other labels (Tree)", id="a label was added"),
        pytest.param(("Rock", "Tree"), Champion(3, BOTH), 9, True, "other labels", id="another class order"),
        pytest.param(TREE, Champion(3, TREE), 4, False, "4 of the annotated tasks", id="val set too small"),
        pytest.param(TREE, Champion(3, TREE), 5, True, None, id="compared"),
    ],
)
def test_when_nothing_is_compared(
    labels: tuple[str, ...], champion: Champion | None, val: int, comparable: bool, says: str | None
) -> None:
    reason = why_not_compared(labels, champion, val=val, least_val=5, comparable=comparable)
    if says is None:
        assert reason is None
    else:
        assert reason is not None
        assert says in reason
        assert ungated("mAP50-95", reason, 0.1, champion).passed


@pytest.mark.parametrize(
    ("challenger", "champion", "passed"),
    [(0.51, 0.5, True), (0.5, 0.5, True), (0.49, 0.5, False), (0.0, 0.0, True), (0.0, 0.3, False)],
)
def test_compare(challenger: float, champion: float, passed: bool) -> None:
    gate = compare("top1", challenger, champion, Champion(7, TREE), val=12)
    assert (gate.passed, gate.metric) == (passed, "top1")
    assert (gate.challenger, gate.champion, gate.champion_version) == (challenger, champion, 7)
    assert f"top1 {challenger:.4f} is" in gate.reason
    assert "v7 on 12 tasks" in gate.reason


def test_the_metric_that_decides() -> None:
    controls = {tag: Control("c", tag, task, "it", "it", ()) for tag, task in CONTROL_TASKS.items()}
    measured = {"mAP50-95", "top1", "IDF1", "MOTA"}
    special = {"Choices": "top1", "TimelineLabels": "top1", "VideoRectangle": "IDF1"}
    assert {tag: metric_of(control, measured) for tag, control in controls.items()} == {
        tag: special.get(tag, "mAP50-95") for tag in controls
    }
    assert metric_of(controls["VideoRectangle"], {"mAP50-95"}) == "mAP50-95", "no video could be followed"
