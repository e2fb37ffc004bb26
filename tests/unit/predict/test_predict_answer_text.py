"""The response as JSON in small pieces: the encoder blocks all other threads."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.predict.answer_text import answer_text, encoded

MASK = {"type": "brushlabels", "value": {"format": "rle", "rle": [number % 256 for number in range(90_000)]}}
LONGEST = 20_000 * 6  # characters of so many values


def whole(items: list[Any]) -> Any:
    return json.loads(b"".join(answer_text(items)))


@pytest.mark.parametrize(
    "items",
    [
        [],
        [[]],
        [[], {"result": [], "score": 0.5, "model_version": "label:v1"}, []],
        [{"result": [MASK] * 3, "score": 1.0, "model_version": "ä"}],
        [{"result": [{"value": {"points": [[1.5, 2.5]] * 30_000}}]}],
        [[{"result": [MASK]}, {"result": []}]],
        [[] for _ in range(5000)],
    ],
)
def test_it_is_the_answer(items: list[Any]) -> None:
    assert whole(items) == {"results": items}


@settings(max_examples=30)
@given(
    st.recursive(
        st.integers() | st.text(max_size=3),
        lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=2), one, max_size=3),
        max_leaves=8,
    )
)
def test_any_value(value: Any) -> None:
    assert json.loads("".join(encoded(value))) == value


@pytest.mark.parametrize("value", [MASK, {"result": [MASK] * 3}, {"points": [[1.5, 2.5]] * 30_000}])
def test_however_large_a_prediction_is_it_is_encoded_bit_by_bit(value: Any) -> None:
    assert max(map(len, encoded(value))) <= LONGEST
    assert json.loads("".join(encoded(value))) == value


def test_an_item_is_encoded_before_the_next_one_is_asked_for() -> None:
    asked = []

    def items() -> Iterator[Any]:
        for number in range(3):
            asked.append(number)
            yield {"result": [MASK]}

    pieces = answer_text(items())
    next(pieces)
    assert asked == [0]
