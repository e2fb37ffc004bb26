"""What jobs have used, day by day, and how long a limit lasts."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from shared.state.budget import Budget, added, used_by

NIGHT = datetime(2026, 11, 30, 23, 50, tzinfo=UTC)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def test_time_counts_on_the_day_on_which_it_was_used() -> None:
    used = added({}, NIGHT - timedelta(days=1), NIGHT - timedelta(days=1) + minutes(4))
    used = added(used, NIGHT, NIGHT + minutes(5))
    assert used == {"2026-11-29": 240, "2026-11-30": 300}
    assert used_by(used, NIGHT) == (300, 540)
    used = added(used, NIGHT + minutes(5), NIGHT + minutes(25))
    assert used == {"2026-12-01": 900}, "another month has begun: nobody asks for the one before"
    assert used_by(used, NIGHT + minutes(25)) == (900, 900)
    assert added({}, NIGHT, NIGHT + timedelta(days=2)) == {"2026-12-01": 86400, "2026-12-02": 85800}


def test_days_are_those_of_utc_and_a_clock_that_goes_back_takes_nothing_away() -> None:
    assert added({}, NIGHT.astimezone(timezone(timedelta(hours=9))), NIGHT + minutes(5)) == {"2026-11-30": 300}
    assert added({"2026-11-30": 60.0}, NIGHT, NIGHT - minutes(5)) == {"2026-11-30": 60}


@pytest.mark.parametrize(
    ("used", "left", "lasts", "of_four"),
    [
        pytest.param(0, 60, 10 + 60, 10 + 15, id="the next day begins before it is used up"),
        pytest.param(30, 30, 10 + 60, 7.5, id="not if four jobs run together"),
        pytest.param(55, 5, 5, 1.25, id="it is used up before the next day begins"),
        pytest.param(61, 0, 0, 0, id="used up"),
    ],
)
def test_a_day_s_limit(used: float, left: float, lasts: float, of_four: float) -> None:
    [limit] = Budget(day=60).limits({"2026-11-30": used * 60}, {}, NIGHT)
    assert (limit.left, limit.lasts(NIGHT), limit.lasts(NIGHT, jobs=4)) == (left * 60, lasts * 60, of_four * 60)
    assert limit.renewed_at == datetime(2026, 12, 1, tzinfo=UTC)


def test_every_limit_is_said() -> None:
    budget = Budget(day=60, month=600.5, store_month=9000)
    now = datetime(2026, 12, 31, 12, tzinfo=UTC)
    assert [str(limit) for limit in budget.limits({"2026-12-30": 3599, "2026-12-31": 600}, {}, now)] == [
        "10 of the 60 minutes that the project's jobs may run in a day are used; "
        "the next day begins at 2027-01-01 00:00 UTC",
        "70 of the 600.5 minutes that the project's jobs may run in a month are used; "
        "the next month begins at 2027-01-01 00:00 UTC",
        "0 of the 9000 minutes that the store's jobs may run in a month are used; "
        "the next month begins at 2027-01-01 00:00 UTC",
    ]
    assert Budget().limits({}, {}, now) == []
    assert (budget.smallest, budget.of_store, Budget(day=1).of_store) == (3600, True, False)
