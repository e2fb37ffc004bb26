"""What is shown: by the least work, shrunk to the defaults where evidence is small."""

import numpy as np
import pytest

from jobs.train.evidence import Outcome
from jobs.train.shown_choice import ADD, DELETE, MOVE, as_shown, choose, saved, worth_of
from shared.state.versions import DEFAULT_SHOWN, Shown


def picture(number: int, *found: tuple[float, float, int], there: int = 1, class_: int = 0) -> Outcome:
    """(score, overlap, number of the object that it means) of each object found; −1 for none."""
    table = np.zeros((there, len(found)))
    for column, (_, overlap, thing) in enumerate(found):
        if thing >= 0:
            table[thing, column] = overlap
    boxes = np.array([[100.0 * column, 0, 100.0 * column + 10, 10] for column in range(len(found))]).reshape(-1, 4)
    return Outcome(
        str(number),
        np.full(there, class_),
        np.full(len(found), class_),
        np.array([score for score, _, _ in found]),
        table,
        boxes,
    )


def test_the_work_of_a_person() -> None:
    one = picture(1, (0.9, 0.9, 0), (0.8, 0.6, 1), (0.7, 0.3, 2), there=3)
    assert worth_of([one], 0.7).change.tolist() == pytest.approx([-ADD, MOVE - ADD, DELETE])
    objects, spared = saved([one], {0: DEFAULT_SHOWN})[0]
    assert (objects, spared) == (3, pytest.approx(1 + 0.5 - 0.2))
    said = as_shown([one], {0: DEFAULT_SHOWN})
    assert said == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "saved": 1.3 / 3})


def test_where_false_ones_are_sure_less_is_shown() -> None:
    """A first version showed 71 boxes on a picture with 16 trees."""
    trees = [
        picture(number, *[(0.9, 0.85, thing) for thing in range(4)], *[(0.5, 0.0, -1)] * 40, there=16)
        for number in range(4)
    ]
    chosen = choose(trees, [0])[0]
    assert 0.5 < chosen.confidence < 0.9
    assert saved(trees, {0: DEFAULT_SHOWN})[:, 1].sum() < 0 < saved(trees, {0: chosen})[:, 1].sum()


def test_where_faint_ones_are_right_more_is_shown() -> None:
    faint = [picture(number, *[(0.12, 0.85, thing) for thing in range(8)], there=8) for number in range(10)]
    assert choose(faint, [0])[0].confidence < 0.12


def test_little_evidence_stays_near_the_defaults() -> None:
    one = [picture(1, (0.9, 0.85, 0), (0.5, 0.0, -1))]
    many = [picture(number, (0.9, 0.85, 0), (0.5, 0.0, -1)) for number in range(200)]
    near, far = (abs(choose(each, [0])[0].confidence - DEFAULT_SHOWN.confidence) for each in (one, many))
    assert near < 0.1 < far
    assert choose([], [0]) == {0: DEFAULT_SHOWN}


def test_one_object_beside_the_threshold_does_not_decide() -> None:
    """The least work on two pictures jumps from 0.15 to 0.65 for it."""
    sure = [(0.9, 0.85, 0), (0.8, 0.7, 1), (0.7, 0.7, 2)]
    without = [picture(1, *sure, (0.5, 0.0, -1), (0.2, 0.7, 3), there=4), picture(2, *sure, there=4)]
    with_it = [picture(1, *sure, (0.5, 0.0, -1), (0.2, 0.0, -1), there=4), picture(2, *sure, there=4)]
    jump = [choose(each, [0], doubt=0.0)[0].confidence for each in (without, with_it)]
    steady = [choose(each, [0])[0].confidence for each in (without, with_it)]
    assert jump == pytest.approx([0.15, 0.65])
    assert abs(steady[1] - steady[0]) < 0.2


def test_a_class_with_few_objects_is_shown_as_the_others() -> None:
    """One that nothing is known of but that the others are far too sure."""
    others = [picture(number, (0.9, 0.85, 0), *[(0.6, 0.0, -1)] * 8) for number in range(20)]
    one = [picture(20, (0.9, 0.85, 0), (0.6, 0.0, -1), class_=1)]
    assert choose([*others, *one], [0, 1])[1].confidence > choose(one, [1])[1].confidence + 0.1


def test_what_only_costs_work_is_not_shown() -> None:
    """Little evidence would leave the threshold low; there all that is shown is wrong."""
    wrong = [picture(number, (0.45, 0.0, -1), (0.4, 0.0, -1)) for number in range(4)]
    assert saved(wrong, {0: choose(wrong, [0])[0]})[:, 1].sum() == 0
    mixed = [picture(number, (0.9, 0.9, 0), *[(0.4, 0.0, -1)] * 30) for number in range(2)]
    assert saved(mixed, {0: choose(mixed, [0])[0]})[:, 1].sum() == pytest.approx(2.0)


def test_nested_boxes_are_one_where_that_saves_work() -> None:
    def nested(number: int) -> Outcome:
        boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 6.0]])  # overlap 0.6
        table = np.array([[0.9, 0.55]])
        return Outcome(str(number), np.array([0]), np.array([0, 0]), np.array([0.9, 0.8]), table, boxes)

    chosen = choose([nested(number) for number in range(60)], [0])[0]
    assert chosen.iou < 0.6


def test_each_class_has_its_own() -> None:
    sure = [picture(number, (0.95, 0.9, 0), (0.6, 0.0, -1), (0.6, 0.0, -1)) for number in range(60)]
    faint = [picture(number, (0.1, 0.9, 0), class_=1) for number in range(60, 120)]
    chosen = choose([*sure, *faint], [0, 1])
    assert chosen[1].confidence < 0.2 < chosen[0].confidence
    assert set(chosen) == {0, 1}
    assert all(isinstance(each, Shown) for each in chosen.values())
