"""After how many annotated tasks trainings follow one another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.train_trigger.schedule import Schedule

SCHEDULE = Schedule(first=5, changed_share=0.1)
SCHEDULES = st.builds(Schedule, first=st.integers(1, 1000), changed_share=st.floats(0, 1))
COUNTS = st.integers(0, 100_000)


def trainings(schedule: Schedule, up_to: int) -> list[int]:
    """Annotated tasks at each training of a project in which nothing but new annotations is made, one by one."""
    at = [schedule.first]
    while at[-1] < up_to:
        at.append(at[-1] + schedule.changes(at[-1], up_to))
    return at


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        pytest.param(SCHEDULE, [5, 10, 20, 40, 44, 49, 54, 60, 66, 73], id="the defaults"),
        pytest.param(Schedule(20, 0.1), [20, 40, 80, 160, 176], id="a later first one"),
        pytest.param(Schedule(2, 0.5), [2, 4, 8, 16, 24, 36, 54], id="half"),
        pytest.param(Schedule(2, 0.0), [2, 3, 4, 5, 6], id="each change"),
        pytest.param(Schedule(1, 1.0), [1, 2, 4, 8, 16, 32], id="doubling without an end"),
    ],
)
def test_when_trainings_follow(schedule: Schedule, expected: list[int]) -> None:
    assert trainings(schedule, expected[-1]) == expected


@given(SCHEDULES, COUNTS, COUNTS)
def test_something_has_to_change_and_never_more_than_there_is(schedule: Schedule, then: int, now: int) -> None:
    wanted = schedule.changes(then, now)
    assert 1 <= wanted <= max(min(then, now), schedule.first, 1)


@given(SCHEDULES, COUNTS, st.integers(1, 1000))
def test_where_more_is_deleted_a_training_is_due_all_the_sooner(schedule: Schedule, then: int, deleted: int) -> None:
    now = max(then - deleted, 0)
    if then - now >= schedule.changes(then, now) and now >= schedule.first:
        less = now - 1
        assert then - less >= schedule.changes(then, less)


@given(SCHEDULES, st.integers(1, 100_000))
def test_who_doubles_never_waits(schedule: Schedule, then: int) -> None:
    doubled = max(2 * then, schedule.first)
    assert doubled - then >= schedule.changes(then, doubled)
    assert schedule.has_doubled(then, doubled) == schedule.is_small(then)
    assert not schedule.has_doubled(then, doubled - 1)
