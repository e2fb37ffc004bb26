"""Which candidate a click, or a rough box, means: a table of scenes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.geometry.detections import Detections, Floats, Outline
from shared.prediction.region_ids import SMART, is_smart, with_own_ids
from shared.prediction.smart.choosing import clicked, dragged, without_copies

LEAF, TREE, WOOD, FAR_AWAY = (40, 40, 60, 60), (20, 20, 80, 80), (0, 0, 100, 100), (150, 150, 170, 170)
NONE_DRAWN = np.zeros((0, 4))


def scene(*boxes: tuple[float, ...], scores: Any = None, classes: Any = None, **more: Any) -> Detections:
    count = len(boxes)
    return Detections(
        200,
        200,
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.full(count, 0.1) if scores is None else np.array(scores, dtype=np.float64),
        np.zeros(count, dtype=np.int64) if classes is None else np.array(classes),
        ("Tree", "Bush"),
        **more,
    )


def ring(x1: float, y1: float, x2: float, y2: float) -> Floats:
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], dtype=np.float64)


def click(candidates: Detections, *points: tuple[float, float, bool], drawn: Floats = NONE_DRAWN) -> int | None:
    places = np.array([point[:2] for point in points], dtype=np.float64).reshape(-1, 2)
    return clicked(candidates, places, np.array([point[2] for point in points], dtype=np.bool_), drawn)


NESTED = scene(WOOD, FAR_AWAY, TREE, LEAF)


@pytest.mark.parametrize(
    ("points", "drawn", "meant"),
    [
        ([(50, 50, True)], [], 3),
        ([(46, 55, True)], [], 2),
        ([(25, 25, True)], [], 0),
        ([(160, 160, True)], [], 1),
        ([(190, 50, True)], [], None),
        ([(50, 50, True)], [LEAF], 2),
        ([(50, 50, True)], [(41, 40, 61, 60)], 2),
        ([(50, 50, True)], [LEAF, TREE, WOOD], None),
        ([(50, 50, True), (55, 55, False)], [], 2),
        ([(50, 50, True), (190, 190, False)], [], 2),
        ([(50, 50, True), (55, 55, False), (56, 55, False)], [], 0),
        ([(50, 50, True), (55, 55, False), (56, 55, False), (57, 55, False)], [], None),
        ([(50, 50, True), (55, 55, False), (160, 160, True)], [], 1),
        ([(160, 160, True), (50, 50, True)], [], 3),
        ([(50, 50, False)], [], None),
        ([], [], None),
    ],
    ids=[
        "the smallest",
        "the smallest that holds it about its middle",
        "about no middle: the nearest one",
        "another place",
        "nothing there",
        "the smallest is drawn",
        "it is drawn nearly so",
        "all are drawn",
        "not that one",
        "not that one, clicked beside it",
        "not that one either",
        "none of them",
        "an object after another one",
        "only the last point counts",
        "only a negative point",
        "no point",
    ],
)
def test_click(points: list[tuple[float, float, bool]], drawn: list[tuple[float, ...]], meant: int | None) -> None:
    assert click(NESTED, *points, drawn=np.array(drawn, dtype=np.float64).reshape(-1, 4)) == meant


def test_a_negative_click_prefers_what_does_not_hold_it() -> None:
    candidates = scene(LEAF, (38, 20, 62, 80), (20, 30, 120, 62))
    assert click(candidates, (50, 50, True), (50, 58, False)) == 1
    assert click(candidates, (50, 50, True), (50, 70, False)) == 2, "the tall one holds it"


def test_a_negative_click_goes_past_copies_of_what_it_refuses() -> None:
    assert click(scene(LEAF, (40, 40, 61, 60), TREE), (50, 50, True), (50, 50, False)) == 2


def test_masks_count_rather_than_their_boxes() -> None:
    frame: Outline = (ring(0, 0, 100, 100), ring(10, 10, 90, 90)[::-1])
    candidates = scene(WOOD, TREE, outlines=(frame, ()))
    assert click(candidates, (50, 50, True)) == 1, "inside the hole is outside; without a mask it is the box"
    assert click(candidates, (5, 5, True)) == 0
    ring_only = scene(WOOD, (5, 5, 95, 95), outlines=(frame, (ring(5, 5, 95, 95),)))
    assert click(ring_only, (8, 8, True)) == 0, "the frame has less area than what its hole holds"


def test_rotated_boxes_count_rather_than_those_around_them() -> None:
    rotated = np.array([(50, 50, 100, 10, np.pi / 4), (50, 50, 60, 60, 0)])
    candidates = scene((11, 11, 89, 89), (20, 20, 80, 80), rotated=rotated)
    assert click(candidates, (50, 50, True)) == 0
    assert click(candidates, (70, 30, True)) == 1, "beside the slim one, inside the box around it"


def test_a_rough_box_means_the_best_candidate_or_itself() -> None:
    assert dragged(NESTED, np.array([15, 22, 85, 82.0])) == 2
    assert dragged(NESTED, np.array([100, 100, 130, 130.0])) is None
    assert dragged(NESTED, np.array([30, 30, 30, 30.0])) is None
    assert dragged(scene(), np.array([10, 10, 20, 20.0])) is None
    sure_and_unsure = scene((10, 10, 90, 90), (20, 20, 80, 80), scores=[0.9, 0.05])
    assert dragged(sure_and_unsure, np.array([18, 18, 80, 80.0])) == 0, "unsure boxes are like anything"


def test_of_copies_the_surest_remains_whatever_its_class() -> None:
    left = without_copies(scene(LEAF, (40, 40, 61, 60), TREE, scores=[0.1, 0.3, 0.05], classes=[0, 1, 0]))
    assert left.xyxy.tolist() == [[40, 40, 61, 60], list(TREE)]


@given(
    st.lists(st.tuples(*[st.integers(0, 200)] * 4), max_size=12),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200), st.booleans()), max_size=5),
)
def test_what_is_meant_holds_the_last_positive_point(
    boxes: list[tuple[int, int, int, int]], points: list[tuple[int, int, bool]]
) -> None:
    candidates = scene(*((min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in boxes))
    meant = click(candidates, *points)
    if meant is not None:
        x, y, _ = [point for point in points if point[2]][-1]
        x1, y1, x2, y2 = candidates.xyxy[meant]
        assert x1 <= x <= x2
        assert y1 <= y <= y2


def test_ids_of_smart_regions_can_be_told_from_others() -> None:
    first, second = (with_own_ids([{"id": "label-0"}, {"id": "label-0"}], SMART) for _ in range(2))
    assert is_smart(first[0]["id"])
    assert first[0]["id"] == first[1]["id"] != second[0]["id"]
    assert not is_smart(with_own_ids([{"id": "label-0"}])[0]["id"])
    assert not is_smart(None)
