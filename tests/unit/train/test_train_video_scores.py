"""MOTA and IDF1 on videos that can be counted by hand."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.train.tracking_scores import TrackingCounts
from shared.geometry.detections import Detections

Box = tuple[int, float] | tuple[int, float, int]


def frame(*boxes: Box) -> Detections:
    """Boxes of 10 × 10 pixels: track, x, class."""
    table = np.array([(one[0], one[1], one[2] if len(one) > 2 else 0) for one in boxes], dtype=np.float64).reshape(
        -1, 3
    )
    xyxy = np.column_stack([table[:, 1], np.zeros(len(table)), table[:, 1] + 10, np.full(len(table), 10.0)])
    classes, tracks = table[:, 2].astype(np.int64), table[:, 0].astype(np.int64)
    return Detections(100, 10, xyxy, np.ones(len(table)), classes, ("a", "b"), tracks=tracks)


def counted(*frames: tuple[list[Box], list[Box]]) -> TrackingCounts:
    counts = TrackingCounts()
    counts.add([(frame(*truth), frame(*found)) for truth, found in frames])
    return counts


A, B = (1, 0.0), (2, 50.0)


@pytest.mark.parametrize(
    ("frames", "mota", "idf1"),
    [
        ([], 1.0, 1.0),
        ([([A, B], [(7, 0.0), (8, 50.0)])] * 4, 1.0, 1.0),
        ([([A], [])] * 4, 0.0, 0.0),
        ([([], [A])] * 4, -3.0, 0.0),
        ([([A], [(7, 0.0), (8, 50.0)])] * 4, 0.0, 8 / 12),
        ([([A], [(7, 0.0)])] * 3 + [([A], [])], 0.75, 6 / 7),
        ([([A], [(7, 0.0)])] * 3 + [([A], [(8, 0.0)])], 0.75, 6 / 8),
        ([([A], [(7, 0.0)]), ([A], []), ([A], [(8, 0.0)]), ([A], [(7, 0.0)])], 1 - 3 / 4, 4 / 7),
        ([([A], [(7, 3.0)])] * 4, 1.0, 1.0),
        ([([A], [(7, 4.0)])] * 4, -1.0, 0.0),
        ([([A], [(7, 0.0, 1)])] * 4, -1.0, 0.0),
        ([([A, B], [(7, 0.0), (8, 50.0)])] * 2 + [([A, B], [(8, 0.0), (7, 50.0)])] * 2, 1 - 2 / 8, 0.5),
    ],
    ids=[
        "nothing",
        "all",
        "none",
        "only what is not there",
        "one too many",
        "lost at the end",
        "another number at the end",
        "lost, another number, and back",
        "half a box aside is near enough",
        "more is not",
        "another class",
        "two swap numbers",
    ],
)
def test_by_hand(frames: list[Any], mota: float, idf1: float) -> None:
    assert counted(*frames).scores() == pytest.approx({"IDF1": idf1, "MOTA": mota})


def test_a_match_is_kept_though_another_box_comes_nearer() -> None:
    counts = counted(([A], [(7, 2.0)]), ([A], [(7, 2.0), (8, 0.0)]))
    assert (counts.matched, counts.switches) == (2, 0)


def test_videos_add_up_and_their_numbers_are_their_own() -> None:
    counts = TrackingCounts()
    for number in (7, 8):
        counts.add([(frame(A), frame((number, 0.0)))] * 2)
    assert counts == TrackingCounts(truth=4, found=4, matched=4, switches=0, identified=4)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), max_size=12))
def test_identity_is_the_best_of_all_pairings(seen: list[tuple[int, int, bool]]) -> None:
    """Three things far apart; in every frame one of them is found under some number, or missed."""
    frames: list[tuple[list[Box], list[Box]]] = []
    together = np.zeros((3, 3))
    for thing, number, hit in seen:
        frames.append(([(thing, 30.0 * thing)], [(number, 30.0 * thing)] if hit else []))
        together[thing, number] += hit
    best = max(sum(together[thing, number] for thing, number in enumerate(order)) for order in permutations(range(3)))
    assert counted(*frames).identified == best
