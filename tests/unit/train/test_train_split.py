"""Which pictures are held out: by what is seen, against a border that only falls."""

from array import array

import pytest

from jobs.train.data.split import Places, lower_border, place_of, split_of
from shared.labelstudio.config import parse_label_config
from tests.fakes.train_parts import CONFIG, rectangle

[CONTROL] = parse_label_config(CONFIG)
[CHOICES] = parse_label_config(
    '<View><Image name="img" value="$image"/><Choices name="label" toName="img"><Choice value="ok"/>'
    '<Choice value="defect"/></Choices></View>'
)


def url(number: int) -> str:
    return f"/data/upload/1/{number}.jpg"


def places(numbers: range, labels: dict[int, str] | None = None) -> Places:
    found = Places(CONTROL if labels is None else CHOICES)
    for number in numbers:
        chosen = {"from_name": "label", "type": "choices", "value": {"choices": [(labels or {}).get(number, "ok")]}}
        found.add(url(number), [rectangle() if labels is None else chosen])
    return found


def in_val(numbers: range, border: float) -> set[int]:
    return {number for number in numbers if split_of(url(number), border) == "val"}


def test_the_same_picture_in_two_tasks_is_on_one_side() -> None:
    assert place_of(url(7)) == place_of(url(7))
    assert place_of({"a": [1]}) == place_of({"a": [1]})
    assert 0 <= place_of("\ud800") < 1


@pytest.mark.parametrize("first", [1, 31, 1000, 4242])
def test_twenty_tasks_of_any_label_studio_hold_at_least_four_to_validate_on(first: int) -> None:
    numbers = range(first, first + 20)
    border = lower_border([places(numbers)], 0.2, None)
    assert len(in_val(numbers, border)) == 4


@pytest.mark.parametrize("first", range(0, 1000, 100))
def test_a_small_project_does_not_give_away_more_than_is_asked_for(first: int) -> None:
    numbers = range(first, first + 24)
    assert 4 <= len(in_val(numbers, lower_border([places(numbers)], 0.25, None))) <= 6


@pytest.mark.parametrize(("count", "least"), [(2, 1), (3, 1), (5, 2), (8, 3), (10, 4), (500, 75)])
def test_small_projects_have_a_val_set_and_something_to_learn_from(count: int, least: int) -> None:
    numbers = range(count)
    held_out = in_val(numbers, lower_border([places(numbers)], 0.2, None))
    assert least <= len(held_out) < count


def test_one_picture_is_learnt_from() -> None:
    assert in_val(range(1), lower_border([places(range(1))], 0.2, None)) == set()


def test_a_project_that_grows_never_moves_a_picture_from_train_to_val() -> None:
    border, learnt = None, set[int]()
    for count in (5, 10, 20, 40, 80, 160, 640):
        numbers = range(count)
        border = lower_border([places(numbers)], 0.2, border)
        val = in_val(numbers, border)
        assert not val & learnt
        learnt |= set(numbers) - val
    assert 0.15 < len(val) / 640 < 0.25


def test_tasks_in_which_the_control_was_not_used_do_not_count() -> None:
    found = Places(CONTROL)
    found.add(url(2), [rectangle(control="other")])
    assert found.all == array("d")


def test_pictures_without_anything_count_but_two_with_something_are_held_out() -> None:
    found = places(range(4))
    for number in range(4, 24):
        found.add(url(number), [])
    held_out = in_val(range(24), found.border(0.2))
    assert len(held_out) >= 4
    assert 1 <= len(held_out & set(range(4))) < 4


def test_a_classifier_is_measured_on_two_classes() -> None:
    numbers = range(20)
    labels = {3: "defect", 11: "defect"}
    held_out = in_val(numbers, lower_border([places(numbers, labels)], 0.2, None))
    assert {labels.get(number, "ok") for number in held_out} == {"ok", "defect"}
    assert {labels.get(number, "ok") for number in set(numbers) - held_out} == {"ok", "defect"}
