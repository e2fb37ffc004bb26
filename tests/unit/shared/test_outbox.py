"""Notices: written with what they tell, tried, sent, and only then removed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.errors import ClaimLost
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.state import claims, outbox
from shared.state.budget import Budget
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord, RunOutcome
from shared.state.notices import BUDGET_SPENT, KEPT, Notice, added, tried
from tests.fakes.stores import Clocked, LosesAnswers

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def notice(id_: str = "a", **values: Any) -> Notice:
    return Notice(id=id_, event="promoted", at=values.pop("at", NOON), message=values.pop("message", ""), **values)


def ended(jobs: Jobs, outcome: RunOutcome) -> JobsRecord:
    jobs.update(claims.take, "run", lifetime=60)
    claim = jobs.update(claims.start, "run", nonce="n", lifetime=60).held
    return jobs.update(claims.release, claim, outcome=outcome, message="because")


@pytest.mark.parametrize("prelabelling", [False, True])
@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ("promoted", ["promoted"]),
        ("rejected", ["rejected"]),
        ("failed", ["failed"]),
        ("unchanged", []),
        ("nothing_to_learn", []),
        ("prepared", []),
        ("prelabelled", []),
    ],
)
def test_the_write_that_ends_a_run_holds_what_is_told_of_it(
    file_store: ObjectStore, outcome: RunOutcome, told: list[str], prelabelling: bool
) -> None:
    jobs = Jobs(Clocked(file_store, NOON), "1.1", prelabelling=prelabelling)
    record = ended(jobs, outcome)
    assert [one.event for one in record.notices] == told
    for one in record.notices:
        assert (one.id, one.at, one.message) == (f"run-{outcome}", NOON, "because")


@pytest.mark.parametrize("lost", ["refused", "no answer"])
def test_a_run_that_ends_twice_since_an_answer_was_lost_is_told_once(file_store: ObjectStore, lost: Any) -> None:
    jobs = Jobs(file_store, "1.1")
    jobs.update(claims.take, "run", lifetime=60)
    claim = jobs.update(claims.start, "run", nonce="n", lifetime=60).held
    with_losses = Jobs(LosesAnswers(file_store, lost), "1.1")
    for _ in range(2):
        try:
            with_losses.update(claims.release, claim, outcome="promoted")
        except Exception:  # noqa: BLE001 - the job tries again
            continue
    assert len(jobs.read().notices) == 1


def test_a_notice_belongs_to_the_one_that_tries_it_until_its_pause_is_over() -> None:
    record = JobsRecord(notices=(notice("a"), notice("b")))
    record = outbox.take(record, NOON, "a")
    assert [one.tries for one in record.notices] == [1, 0]
    with pytest.raises(ClaimLost, match="another process"):
        outbox.take(record, NOON + MINUTE / 2, "a")
    again = outbox.take(record, NOON + MINUTE, "a")  # that process was killed, or the receiver is down
    assert [one.tries for one in again.notices] == [2, 0]
    sent = outbox.drop(again, NOON, "a")
    assert sent is not None
    assert [one.id for one in sent.notices] == ["b"]
    assert outbox.drop(sent, NOON, "a") is None
    with pytest.raises(ClaimLost):
        outbox.take(sent, NOON, "a")


def test_pauses_double_up_to_an_hour_and_a_wrong_clock_holds_up_nothing() -> None:
    one, now, pauses = notice(), NOON, []
    for _ in range(9):
        one = tried(one, now)
        assert one.next_try is not None
        pauses.append((one.next_try - now) / MINUTE)
        now = one.next_try
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert tried(one, NOON + 400 * KEPT).is_due(NOON), "it was written while the store's clock was a year ahead"


def test_where_nobody_sends_them_they_stay_few_short_and_young() -> None:
    found: tuple[Notice, ...] = ()
    for hour in range(100):
        now = NOON + hour * timedelta(hours=1)
        found = added(found, now, notice(f"{hour}", at=now, message="x" * 5000))
        assert all(now - one.at < KEPT and len(one.message) == 1000 for one in found)
    assert [one.id for one in found] == [f"{hour}" for hour in range(80, 100)]
    assert added(found, now, found[3]) == found


def test_a_budget_is_told_once_a_period_and_the_next_one_again() -> None:
    budget = Budget(day=60, store_month=600)
    record = JobsRecord(used={"2026-03-31": 3600.0})

    def look(record: JobsRecord, now: datetime, in_store: float) -> JobsRecord:
        day = now.date().isoformat()
        limits = budget.limits(record.used, {day: in_store}, now)
        return outbox.announce_spent(record, now, "1.1", limits) or record

    record = look(record, NOON, 3600)
    assert [(one.event, one.id) for one in record.notices] == [(BUDGET_SPENT, "1.1-project-day-until-2026-04-01")]
    assert record.notices[0].message.startswith(
        "60 of the 60 minutes that the project's jobs may run in a day are used"
    )
    assert look(record, NOON + MINUTE, 3600) is record
    record = look(record, NOON + 2 * MINUTE, 36000)
    assert [one.id for one in record.notices][1:] == ["1.1-store-month-until-2026-04-01"]
    april = NOON + timedelta(days=1)
    assert look(record, april, 0) is record
    record = look(evolve(record, used={"2026-04-01": 4000.0}), april, 0)
    assert record.notices[-1].id == "1.1-project-day-until-2026-04-02"
    assert len(record.budgets_told) == 1, "of the periods that are over nothing is kept"


def test_a_project_that_used_nothing_is_not_told_that_others_used_it_up() -> None:
    limits = Budget(store_day=60).limits({}, {"2026-03-31": 3600.0}, NOON)
    assert outbox.announce_spent(JobsRecord(), NOON, "1.1", limits) is None


def test_who_announces_the_same_again_changes_nothing() -> None:
    once = added((), NOON, notice())
    assert added(once, NOON, notice()) == once
