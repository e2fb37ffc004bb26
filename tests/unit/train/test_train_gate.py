"""Which challenger passes."""

import numpy as np
import pytest

from jobs.train.evidence import Classified, Evidence, Found, Outcome
from jobs.train.gate import Samples, Scored, judge
from tests.fakes.train_parts import found_part

NOTHING = np.zeros(0, dtype=np.int64)
EMPTY = Found([Outcome("1", NOTHING, NOTHING, np.zeros(0), np.zeros((0, 0)), np.zeros((0, 4)))], [0])


def passes(ours: Evidence, theirs: Evidence | None, *, saved: float | None = 0.5, metric: str = "mAP50-95") -> bool:
    champion = Scored("v3", 3, theirs) if theirs else None
    return judge(metric, ours, champion, why_no_champion="there is none", saved=saved).passed


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        pytest.param(0.6, 0.5, True, id="better"),
        pytest.param(0.5, 0.5, True, id="as good: it has seen newer annotations"),
        pytest.param(0.6, 0.61, False, id="one of a hundred worse, and nothing better"),
        pytest.param(0.35, 0.5, False, id="clearly worse"),
        pytest.param(0.2, 0.5, False, id="collapsed"),
        pytest.param(0.0, 0.0, False, id="nothing right is not as good as nothing right"),
        pytest.param(0.1, None, True, id="first version, nothing to compare with"),
        pytest.param(0.0, None, False, id="first version that finds nothing"),
    ],
)
def test_on_a_hundred_tasks(ours: float, theirs: float | None, expected: bool) -> None:
    assert passes(found_part(ours), None if theirs is None else found_part(theirs)) is expected


def test_a_collapse_never_passes_with_a_single_task() -> None:
    two = np.zeros(2, dtype=np.int64)
    half = Outcome("1", two, two, np.array([0.9, 0.8]), np.eye(2), np.zeros((2, 4)))
    bad = Outcome("1", half.truth, half.found, half.scores, np.eye(2) * 0.55, half.boxes)
    assert not passes(Found([bad], [0]), Found([half], [0]))
    assert passes(Found([half], [0]), Found([bad], [0]))


@pytest.mark.parametrize("saved", [0.0, -0.3])
def test_what_costs_more_work_than_it_saves_is_not_served(saved: float) -> None:
    assert not passes(found_part(0.9), None, saved=saved)
    assert not passes(found_part(0.9), found_part(0.1), saved=saved)


def test_what_cannot_be_measured_is_no_score() -> None:
    gate = judge("mAP50-95", EMPTY, None, why_no_champion="there is none", saved=None)
    assert not gate.passed
    assert gate.challenger is None
    assert "annotate more" in gate.reason
    assert not passes(EMPTY, EMPTY)


def guesses(truth: list[int], guessed: list[int], classes: tuple[int, ...] = (0, 1)) -> Classified:
    table = np.eye(2, dtype=np.bool_)[truth]
    return Classified([str(number) for number in range(len(truth))], table, np.array(guessed), classes)


def test_always_saying_the_same_does_not_beat_who_finds_the_rare_ones() -> None:
    """18 ok, 2 defects: "always ok" is right in 0.90, the one that finds both defects in 0.80."""
    truth = [0] * 18 + [1] * 2
    always_ok, finds_both = guesses(truth, [0] * 20), guesses(truth, [1] * 4 + [0] * 14 + [1] * 2)
    assert (always_ok.accuracy(), finds_both.accuracy()) == (0.9, 0.8)
    one = np.ones((1, 20))
    assert finds_both.score(one)[0] == pytest.approx((14 / 18 + 1) / 2)
    assert always_ok.score(one)[0] == 0.5
    assert not passes(always_ok, finds_both, saved=None, metric="balanced accuracy")
    assert passes(finds_both, always_ok, saved=None, metric="balanced accuracy")


def test_one_class_cannot_be_measured() -> None:
    gate = judge("balanced accuracy", guesses([0] * 5, [0] * 5), None, why_no_champion="", saved=None)
    assert not gate.passed
    assert "at least two classes" in gate.reason


def test_the_gate_says_how_sure_it_is_and_on_what() -> None:
    gate = judge("mAP50-95", found_part(0.49), Scored("v3", 3, found_part(0.5)), why_no_champion="", saved=0.1)
    assert (gate.champion_version, gate.against, gate.tasks, gate.things) == (3, "v3", 100, 100)
    assert gate.worse is not None
    assert f"{gate.worse:.0%}" in gate.reason
    assert "on 100 tasks of the val set with 100 annotated" in gate.reason
    assert gate == judge("mAP50-95", found_part(0.49), Scored("v3", 3, found_part(0.5)), why_no_champion="", saved=0.1)


def test_the_same_difference_is_surer_on_more_tasks() -> None:
    few, many = (Samples.of(found_part(0.4, count), found_part(0.5, count)).worse for count in (10, 200))
    assert 0.5 < few < many
    assert Samples.of(found_part(0.5), found_part(0.5)).worse == 0.5
