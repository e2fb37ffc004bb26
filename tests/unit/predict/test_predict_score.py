"""The score of a prediction, by which Label Studio can hand out tasks: lowest first."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.prediction.score import Confidences, Order, doubt, image_score, score_of

SURE, UNSURE = Confidences([0.97, 0.95], [0.06]), Confidences([0.6, 0.5], [0.4])
CROWDED, EMPTY = Confidences([0.6, 0.5, 0.55, 0.45], [0.4, 0.2]), Confidences([], [])
lists = st.lists(st.floats(0, 1), max_size=300)


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


def by_score(order: Order) -> list[Confidences]:
    return sorted([SURE, CROWDED, EMPTY, UNSURE], key=lambda each: score_of([each], order))


def test_useful_begins_where_most_is_in_doubt_and_easy_where_least_is() -> None:
    assert by_score("useful") == [CROWDED, UNSURE, SURE, EMPTY]
    assert by_score("easy") == [EMPTY, SURE, UNSURE, CROWDED]


def test_a_coin_flip_is_the_greatest_doubt_and_what_is_certain_is_none() -> None:
    assert doubt([0.5]) == pytest.approx(math.log(2))
    assert doubt([0.0, 1.0, 1.0 - 1e-17]) == 0.0
    assert doubt([0.1]) == pytest.approx(doubt([0.9]))


def test_objects_of_all_controls_count() -> None:
    assert score_of([SURE, UNSURE], "useful") < score_of([UNSURE, EMPTY], "useful") == score_of([UNSURE], "useful")


@given(shown=lists, hidden=lists)
def test_a_score_is_from_0_to_1_and_easy_is_useful_turned_round(shown: list[float], hidden: list[float]) -> None:
    found = [Confidences(shown, hidden)]
    useful, easy = score_of(found, "useful"), score_of(found, "easy")
    assert 0.0 < useful <= 1.0
    assert easy == pytest.approx(1.0 - useful)
    assert score_of([Confidences([*shown, 0.5], hidden)], "useful") < useful, "one more doubtful object"
