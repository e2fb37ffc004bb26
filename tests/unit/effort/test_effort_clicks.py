"""What `bench.labour` counts of clicks with a smart tool, and the work that it makes of them."""

import numpy as np
import pytest

from bench.labour.clicks import Clicks, missed
from bench.labour.tally import Tally
from jobs.train.evidence import Outcome
from shared.geometry.detections import Detections

TREES = np.array([[0, 0, 20, 20], [40, 0, 60, 20], [80, 0, 100, 20], [120, 0, 140, 20.0]])


def outcome(*overlaps: tuple[float, ...]) -> Outcome:
    """One tile with four trees; `overlaps`: of each box shown, with each tree."""
    alike = np.array(overlaps, dtype=np.float64).reshape(-1, 4).T
    found = alike.shape[1]
    scores = np.array([0.9 - 0.01 * place for place in range(found)])
    return Outcome("1", np.zeros(4, dtype=np.int64), np.zeros(found, dtype=np.int64), scores, alike,
                   np.zeros((found, 4)), annotated=TREES)  # fmt: skip


def candidates(*boxes: tuple[float, ...]) -> Detections:
    table = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return Detections(200, 100, table, np.full(len(table), 0.1), np.zeros(len(table), dtype=np.int64), ("Tree",))


def test_each_object_is_shown_by_one_box_at_most() -> None:
    assert missed(outcome((0.9, 0, 0, 0), (0.7, 0, 0, 0), (0, 0.4, 0, 0))).tolist() == [False, True, True, True]
    assert missed(outcome((0.9, 0.6, 0, 0), (0.8, 0.6, 0, 0))).tolist() == [False, False, True, True]
    assert missed(outcome()).all()


def test_a_click_on_each_object_that_is_not_shown() -> None:
    shown = outcome((0.9, 0, 0, 0))
    tight, loose, wrong = (40, 0, 60, 21), (80, 0, 100, 14), (125, 5, 135, 15)
    clicks = Clicks.of(shown, candidates((0, 0, 20, 20), tight, loose, wrong, (118, 0, 142, 20)))
    assert clicks == Clicks(objects=3, drawn=2, tight=1, nothing=0, there=3), "the smallest, not the one that fits"
    assert clicks.work == pytest.approx(3 * 0.3 + 0.5 + 1)
    tally = Tally.of(shown)
    assert tally.saved == pytest.approx(1 / 4)
    assert clicks.saved(tally) == pytest.approx(1 - (3 * 0.3 + 0.5 + 1) / 4)
    assert Clicks.of(shown, candidates()) == Clicks(objects=3, nothing=3)
    assert Clicks.sum([clicks, Clicks(objects=3, nothing=3)]).objects == 6
