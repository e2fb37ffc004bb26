"""The demo's table: an annotator's work by hand-counted cases, ultralytics' metrics by their limits."""

import numpy as np
import pytest

from infra.local.demo_metrics import Boxes, annotators_work, measure

TREES = [[0, 0, 100, 100], [200, 200, 300, 300]]


def _boxes(found: list[list[float]], expert: list[list[float]], scores: list[float] | None = None) -> Boxes:
    return Boxes(
        "tile",
        np.array(found, dtype=np.float64).reshape(-1, 4),
        np.array(scores or [0.9] * len(found), dtype=np.float64),
        np.array(expert, dtype=np.float64).reshape(-1, 4),
    )


@pytest.mark.parametrize(
    ("found", "expert", "work"),
    [
        pytest.param(TREES, TREES, (0, 0, 0), id="perfect"),
        pytest.param([], TREES, (2, 0, 0), id="nothing found: all are added"),
        pytest.param(TREES, [], (0, 0, 2), id="nothing there: all are deleted"),
        pytest.param([], [], (0, 0, 0), id="empty"),
        pytest.param([[0, 0, 100, 40]], TREES, (1, 1, 0), id="IoU 0.4 is moved, the other tree is added"),
        pytest.param([[0, 0, 100, 50], TREES[1]], TREES, (0, 0, 0), id="IoU 0.5 is good enough"),
        pytest.param([[0, 0, 100, 20], TREES[1]], TREES, (1, 0, 1), id="IoU 0.2 is another thing"),
        pytest.param([TREES[0], TREES[0], TREES[1]], TREES, (0, 0, 1), id="a double is deleted"),
    ],
)
def test_annotators_work(found: list[list[float]], expert: list[list[float]], work: tuple[int, int, int]) -> None:
    assert annotators_work(_boxes(found, expert)) == work


def test_the_best_overlap_is_paired_first() -> None:
    shifted = [0, 0, 100, 70]
    assert annotators_work(_boxes([shifted, TREES[0]], [TREES[0]])) == (0, 0, 1)


def test_a_perfect_model() -> None:
    quality = measure([_boxes(TREES, TREES), _boxes([TREES[1]], [TREES[1]])])
    assert quality.map50 == pytest.approx(0.995, abs=0.01)  # ultralytics interpolates precision at 101 recalls
    assert (quality.precision, quality.recall) == (pytest.approx(1.0, abs=0.01), pytest.approx(1.0, abs=0.01))
    assert (quality.add, quality.move, quality.delete) == (0, 0, 0)


def test_a_model_that_finds_nothing() -> None:
    quality = measure([_boxes([], TREES), _boxes([], TREES)])
    assert (quality.precision, quality.recall, quality.map50, quality.map50_95) == (0, 0, 0, 0)
    assert quality.add == 2


def test_confident_mistakes_cost_more_than_timid_ones() -> None:
    wrong = [400, 400, 450, 450]
    timid = measure([_boxes([TREES[0], wrong], TREES, [0.9, 0.3])])
    bold = measure([_boxes([TREES[0], wrong], TREES, [0.3, 0.9])])
    assert timid.map50 > bold.map50
