"""When to train, and what an active run needs: two tables."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.train_trigger.decide import Launch, Nothing, Policy, Wait, changed_since, decide, wait_for_budget
from functions.train_trigger.decide_claim import (
    Extend,
    GiveUp,
    NextAttempt,
    Requeue,
    RetryLaunch,
    Withdraw,
    decide_claim,
    pause_after,
)
from functions.train_trigger.launchers import JobStatus
from functions.train_trigger.schedule import Schedule
from shared.state.budget import Budget
from shared.state.jobs_record import Claim, JobsRecord, LastRun
from shared.state.runs import Baseline, Totals

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
POLICY = Policy(
    schedule=Schedule(first=5, changed_share=0.1),
    cool_down=timedelta(minutes=5),
    longest_run=timedelta(hours=6),
    attempts=3,
    running_lifetime=timedelta(minutes=10),
    launching_lifetime=timedelta(minutes=2),
)


def ago(**parts: float) -> datetime:
    return NOW - timedelta(**parts)


def totals(tasks: int, annotations: int | None = None) -> Totals:
    return Totals(
        num_tasks_with_annotations=tasks, total_annotations_number=tasks if annotations is None else annotations
    )


def baseline(annotations: int) -> Baseline:
    return Baseline(totals=totals(annotations), read_at=ago(hours=1))


def last_run(outcome: Any, ended_at: datetime, *, failures: int = 0) -> LastRun:
    return LastRun(run_id="r-1", outcome=outcome, ended_at=ended_at, failures=failures)


def claim(**changes: Any) -> Claim:
    values: dict[str, Any] = {
        "run_id": "r-2", "state": "running", "fence": 1, "attempt": 1, "started_at": ago(hours=1), "job": "local:h:1:1",
    }  # fmt: skip
    return Claim(**values | {"expires_at": NOW + timedelta(minutes=9)} | changes)


IMPORTED = Totals(total_annotations_number=20, ground_truth_number=20)  # as a real Label Studio counts them
LONG_AGO = last_run("promoted", ago(hours=1))
NEW, TRAINED = JobsRecord(), JobsRecord(baseline=baseline(100), last_run=LONG_AGO)


@pytest.mark.parametrize(
    ("record", "now_there", "changed", "forced", "expected"),
    [
        pytest.param(NEW, totals(0), 0, False, Nothing, id="an empty project"),
        pytest.param(NEW, IMPORTED, 0, False, Launch, id="imported annotations are ground truths"),
        pytest.param(NEW, IMPORTED, 0, True, Launch, id="imported annotations, and a person asks"),
        pytest.param(NEW, totals(4, 60), 0, False, Nothing, id="too few annotated tasks, however many annotations"),
        pytest.param(NEW, totals(5), 0, False, Launch, id="enough annotated tasks for the first training"),
        pytest.param(NEW, totals(1), 0, True, Launch, id="a person asks: no threshold"),
        pytest.param(NEW, totals(0), 0, True, Nothing, id="a person asks, but there is nothing to learn from"),
        pytest.param(TRAINED, totals(100), 0, False, Nothing, id="nothing changed"),
        pytest.param(TRAINED, totals(109), 9, False, Nothing, id="one change too few"),
        pytest.param(TRAINED, totals(110), 0, False, Launch, id="new annotations"),
        pytest.param(TRAINED, totals(90), 0, False, Launch, id="deleted annotations"),
        pytest.param(TRAINED, totals(100), 10, False, Launch, id="updated, or deleted and remade: only tasks tell"),
        pytest.param(TRAINED, totals(105), 9, False, Nothing, id="both counts see the same changes: not added up"),
        pytest.param(TRAINED, totals(0), 0, False, Nothing, id="everything deleted: nothing to learn from"),
        pytest.param(TRAINED, totals(100), 0, True, Launch, id="a person asks for a training without changes"),
        pytest.param(
            JobsRecord(baseline=baseline(100), last_run=last_run("promoted", ago(minutes=4))),
            totals(140), 40, False, Wait, id="cool-down",
        ),
        pytest.param(
            JobsRecord(baseline=baseline(100), last_run=last_run("promoted", ago(minutes=5))),
            totals(140), 40, False, Launch, id="cool-down is over",
        ),
        pytest.param(
            JobsRecord(baseline=baseline(100), last_run=last_run("promoted", ago(minutes=1))),
            totals(100), 0, True, Launch, id="a person asks during the cool-down",
        ),
        pytest.param(
            JobsRecord(last_run=last_run("failed", ago(minutes=9))),
            totals(50), 0, False, Wait, id="a failed run backs off for longer",
        ),
        pytest.param(
            JobsRecord(last_run=last_run("failed", ago(minutes=10))),
            totals(50), 0, False, Launch, id="a run that never saw the annotations is tried again",
        ),
        pytest.param(
            JobsRecord(baseline=baseline(100), last_run=last_run("failed", ago(hours=9))),
            totals(110), 0, False, Launch, id="what a failed run was started for is due again",
        ),
        pytest.param(
            JobsRecord(baseline=baseline(100), last_run=last_run("failed", ago(hours=9), failures=4)),
            totals(110), 0, False, Wait, id="the fourth failure in a row: ten hours and a half",
        ),
        pytest.param(
            JobsRecord(baseline=baseline(100), last_run=last_run("failed", ago(hours=25), failures=9999)),
            totals(110), 0, False, Launch, id="daily, however often it failed",
        ),
        pytest.param(
            JobsRecord(baseline=baseline(100), last_run=last_run("failed", ago(minutes=1), failures=9)),
            totals(110), 0, True, Launch, id="a person asks after failures",
        ),
        pytest.param(
            JobsRecord(baseline=baseline(100), last_run=last_run("failed", ago(hours=9))),
            totals(100), 0, False, Nothing, id="a person's run failed, and nothing changed",
        ),
        pytest.param(
            JobsRecord(baseline=baseline(100), last_run=last_run("nothing_to_learn", ago(minutes=6))),
            totals(109), 0, False, Nothing, id="there was nothing to learn: changes are needed",
        ),
        pytest.param(
            JobsRecord(baseline=baseline(100), last_run=last_run("nothing_to_learn", ago(minutes=6))),
            totals(110), 0, False, Launch, id="there was nothing to learn, now there may be",
        ),
        pytest.param(
            JobsRecord(baseline=baseline(100), last_run=last_run("promoted", NOW + timedelta(hours=1))),
            totals(110), 0, False, Launch, id="ended in an hour: the store's clock was wrong, no pause is known",
        ),
        pytest.param(
            JobsRecord(baseline=baseline(100), last_run=last_run("promoted", NOW + timedelta(seconds=30))),
            totals(110), 0, False, Wait, id="ended half a minute ahead: clocks of a store's servers differ",
        ),
        pytest.param(JobsRecord(closed=True), totals(50), 0, True, Nothing, id="closed, even if a person asks"),
        pytest.param(JobsRecord(training=claim()), totals(50), 0, True, Nothing, id="active, even if a person asks"),
    ],
)  # fmt: skip
def test_when_to_train(record: JobsRecord, now_there: Totals, changed: int, forced: bool, expected: type) -> None:
    decision = decide(record, now_there, changed, POLICY, NOW, forced=forced)
    assert isinstance(decision, expected), decision


def test_the_wait_ends_with_the_cool_down() -> None:
    record = JobsRecord(baseline=baseline(100), last_run=last_run("rejected", ago(minutes=1)))
    decision = decide(record, totals(140), 0, POLICY, NOW, forced=False)
    assert isinstance(decision, Wait)
    assert decision.until == NOW + timedelta(minutes=4)


def small(tasks: int, outcome: Any = "promoted", **parts: float) -> JobsRecord:
    """The record of a project with so many annotated tasks, whose last run ended a minute ago."""
    return JobsRecord(baseline=baseline(tasks), last_run=last_run(outcome, ago(**parts or {"minutes": 1})))


@pytest.mark.parametrize(
    ("record", "now_there", "changed", "expected"),
    [
        pytest.param(small(5), totals(9), 4, Nothing, id="not yet twice as many"),
        pytest.param(small(5), totals(10), 5, Launch, id="twice as many: the cool-down is not waited for"),
        pytest.param(small(20), totals(40), 20, Launch, id="the last doubling"),
        pytest.param(small(24), totals(40), 16, Wait, id="its export came late: still at 40, after the cool-down"),
        pytest.param(small(5), totals(5), 5, Wait, id="all annotated anew: the cool-down is"),
        pytest.param(small(5, hours=1), totals(5), 5, Launch, id="all annotated anew"),
        pytest.param(small(5, hours=1), totals(5), 4, Nothing, id="all but one annotated anew"),
        pytest.param(small(10, hours=1), totals(5), 0, Launch, id="half deleted"),
        pytest.param(small(10, hours=1), totals(6), 0, Nothing, id="less than half deleted"),
        pytest.param(small(10, hours=1), totals(2, 2), 0, Launch, id="most deleted"),
        pytest.param(small(1), totals(4), 3, Nothing, id="a person's early run does not hasten the next one"),
        pytest.param(small(1), totals(5), 4, Launch, id="nor delay it"),
        pytest.param(small(2, "nothing_to_learn"), totals(5), 3, Launch, id="nor if there was nothing to learn"),
        pytest.param(small(2, "failed"), totals(5), 3, Wait, id="but after a failure a pause is needed"),
        pytest.param(
            JobsRecord(baseline=baseline(5).model_copy(update={"totals": totals(5, 15)}), last_run=LONG_AGO),
            totals(9, 27), 4, Nothing, id="three annotations each: four tasks more",
        ),
        pytest.param(
            JobsRecord(baseline=baseline(5).model_copy(update={"totals": totals(5, 15)}), last_run=LONG_AGO),
            totals(10, 30), 5, Launch, id="three annotations each: five tasks more",
        ),
    ],
)  # fmt: skip
def test_a_small_project_is_trained_when_it_has_doubled(
    record: JobsRecord, now_there: Totals, changed: int, expected: type
) -> None:
    decision = decide(record, now_there, changed, POLICY, NOW, forced=False)
    assert isinstance(decision, expected), decision


@pytest.mark.parametrize(
    ("record", "changed", "says"),
    [
        (JobsRecord(), 0, "a person asked for it"),
        (JobsRecord(baseline=baseline(100)), 3, "a person asked for it; 3 changes since the last run"),
        (
            JobsRecord(baseline=baseline(100)),
            0,
            "a person asked for it; nothing has changed since the last run: it trains on the same annotations again",
        ),
        (
            JobsRecord(baseline=baseline(100), last_run=last_run("stopped", ago(hours=1))),
            0,
            "a person asked for it; the last run was stopped, so what was due then is learnt from now",
        ),
    ],
)
def test_who_asks_for_a_training_is_told_whether_there_is_anything_new(
    record: JobsRecord, changed: int, says: str
) -> None:
    assert decide(record, totals(100), changed, POLICY, NOW, forced=True) == Launch(says)


def test_what_changed_while_label_studio_s_clock_was_wrong_is_not_missed() -> None:
    def read(at: datetime) -> datetime:
        return changed_since(Baseline(totals=totals(50), read_at=at), NOW)

    assert read(ago(hours=1)) == ago(hours=1)
    assert read(NOW + timedelta(seconds=1)) == NOW + timedelta(seconds=1)
    assert read(NOW + timedelta(hours=1)) < ago(days=365)


@pytest.mark.parametrize(
    ("budget", "used", "in_store", "until"),
    [
        pytest.param(Budget(), 10**6, 10**6, None, id="no limit"),
        pytest.param(Budget(day=60), 53, 53, None, id="enough is left to get somewhere"),
        pytest.param(Budget(day=60), 55, 55, "2026-05-02", id="a twelfth of the limit is left: not worth a start"),
        pytest.param(Budget(day=1000), 950, 950, None, id="a seventh of the longest run is left"),
        pytest.param(Budget(day=1000), 965, 965, "2026-05-02", id="a tenth of the longest run is not left"),
        pytest.param(Budget(day=60, month=60), 60, 60, "2026-06-01", id="until the last of all limits"),
        pytest.param(Budget(store_day=60), 0, 60, "2026-05-02", id="other projects used it up"),
        pytest.param(Budget(day=60, store_month=60), 60, 70, "2026-06-01", id="both"),
    ],
)
def test_when_to_wait_for_the_budget(budget: Budget, used: float, in_store: float, until: str | None) -> None:
    longest = POLICY.longest_run.total_seconds()
    limits = budget.limits({"2026-05-01": used * 60}, {"2026-05-01": in_store * 60}, NOW, longest_run=longest)
    waits = wait_for_budget(limits)
    assert (waits.until.date().isoformat() if waits else None) == until
    assert waits is None or f"begins at {until} 00:00 UTC" in waits.reason


EXPIRED = {"expires_at": ago(minutes=1)}
SOON = {"expires_at": NOW + timedelta(minutes=1)}
BARELY = {"expires_at": ago(seconds=1)}
AHEAD = {"expires_at": NOW + timedelta(minutes=69)}


@pytest.mark.parametrize(
    ("active", "job", "expected"),
    [
        pytest.param(claim(), None, Nothing, id="alive, launcher not asked"),
        pytest.param(claim(), "running", Nothing, id="alive"),
        pytest.param(claim(), "unknown", Nothing, id="alive, launcher cannot be asked"),
        pytest.param(claim(), "failed", NextAttempt, id="killed: at once, without waiting for the claim to expire"),
        pytest.param(claim(), "gone", NextAttempt, id="gone"),
        pytest.param(claim(), "finished", Nothing, id="a second copy finished, the first runs on"),
        pytest.param(claim(**EXPIRED), "finished", NextAttempt, id="finished without release, and nobody renews"),
        pytest.param(claim(state="queued", **SOON), "finished", NextAttempt, id="finished without having started it"),
        pytest.param(claim(**EXPIRED), None, NextAttempt, id="expired, no job known"),
        pytest.param(claim(**EXPIRED), "running", Extend, id="lives but could not renew"),
        pytest.param(claim(state="queued", **EXPIRED), "queued", Extend, id="still queued"),
        pytest.param(
            claim(started_at=ago(hours=9), **EXPIRED), "running", GiveUp, id="hangs longer than the longest run"
        ),
        pytest.param(
            claim(state="queued", started_at=ago(hours=9), **EXPIRED), "queued", Extend, id="waits for a GPU for hours"
        ),
        pytest.param(claim(**EXPIRED), "unknown", Wait, id="expired, launcher cannot be asked: leave it some time"),
        pytest.param(
            claim(expires_at=ago(minutes=11)), "unknown", NextAttempt, id="expired long ago, launcher cannot be asked"
        ),
        pytest.param(claim(**AHEAD), "gone", NextAttempt, id="gone, renewed while the store's clock was an hour ahead"),
        pytest.param(claim(**AHEAD), "running", Extend, id="lives, renewed while the clock was ahead"),
        pytest.param(
            claim(state="launching", job=None, **AHEAD), None, NextAttempt, id="claimed while the clock was ahead"
        ),
        pytest.param(claim(error="SIGTERM", **BARELY), "failed", Wait, id="interrupted a second ago: back off"),
        pytest.param(claim(error="SIGTERM", **EXPIRED), "failed", NextAttempt, id="interrupted a minute ago"),
        pytest.param(claim(attempt=2, error="no GPU", expires_at=ago(seconds=15)), None, Wait, id="longer each time"),
        pytest.param(claim(attempt=2, error="no GPU", expires_at=ago(seconds=25)), None, NextAttempt, id="the second"),
        pytest.param(claim(attempt=3, **BARELY), None, GiveUp, id="the last attempt"),
        pytest.param(claim(attempt=9, preempted=9, **BARELY), None, Wait, id="taken away again and again: no failure"),
        pytest.param(claim(attempt=9, preempted=6, **BARELY), None, GiveUp, id="three of nine failed"),
        pytest.param(
            claim(attempt=11, preempted=11, stalled=11, expires_at=ago(minutes=10)), None, NextAttempt,
            id="taken away before an epoch eleven times",
        ),
        pytest.param(
            claim(attempt=9, preempted=9, spent=17.2 * 3600, **EXPIRED), None, GiveUp,
            id="it got further each time, and ran for three times the longest run",
        ),
        pytest.param(
            claim(attempt=9, preempted=9, spent=16.5 * 3600, **EXPIRED), None, NextAttempt, id="it ran for less"
        ),
        pytest.param(
            claim(attempt=9, preempted=9, spent=17.2 * 3600, state="queued", **EXPIRED), "failed", NextAttempt,
            id="it waited: that is no running",
        ),
        pytest.param(claim(attempt=4, preempted=4, stalled=4, **EXPIRED), None, Wait, id="longer each time, too"),
        pytest.param(claim(attempt=12, preempted=12, stalled=12, **BARELY), None, GiveUp, id="four times too often"),
        pytest.param(
            claim(state="queued", attempt=2, expires_at=NOW + timedelta(minutes=2) - timedelta(seconds=3)),
            "failed", Wait, id="ended three seconds after its launch: no loop",
        ),
    ],
)  # fmt: skip
def test_what_an_active_run_needs(active: Claim, job: Any, expected: type) -> None:
    decision = decide_claim(active, job and JobStatus(job), POLICY, NOW)
    assert isinstance(decision, expected), decision


REFUSED = {"state": "launching", "job": None, "error": "quota"}


@pytest.mark.parametrize(
    ("active", "forced", "expected"),
    [
        pytest.param(claim(**REFUSED, refused=1, expires_at=ago(seconds=4)), False, Wait, id="refused just now"),
        pytest.param(claim(**REFUSED, refused=1, expires_at=ago(seconds=5)), False, RetryLaunch, id="a pause later"),
        pytest.param(claim(**REFUSED, refused=3, expires_at=ago(seconds=79)), False, Wait, id="longer each time"),
        pytest.param(claim(**REFUSED, refused=3, expires_at=ago(seconds=80)), False, RetryLaunch, id="the third pause"),
        pytest.param(claim(**REFUSED, refused=500, expires_at=ago(minutes=10)), False, RetryLaunch, id="ten minutes"),
        pytest.param(claim(**REFUSED, refused=500, expires_at=ago(minutes=9)), True, RetryLaunch, id="a person asks"),
        pytest.param(claim(**REFUSED, refused=2, **SOON), True, Nothing, id="being launched at this moment"),
        pytest.param(
            claim(**REFUSED, refused=9, attempt=3, expires_at=ago(minutes=11)), False, RetryLaunch,
            id="the last attempt: a refusal is no failure",
        ),
        pytest.param(
            claim(**REFUSED, refused=1, expires_at=NOW + timedelta(hours=1)), False, RetryLaunch,
            id="refused while the store's clock was an hour ahead",
        ),
        pytest.param(claim(error="x", attempt=3, **BARELY), True, GiveUp, id="failed, not refused: no more tries"),
    ],
)  # fmt: skip
def test_what_a_refused_launch_needs(active: Claim, forced: bool, expected: type) -> None:
    decision = decide_claim(active, None, POLICY, NOW, forced=forced)
    assert isinstance(decision, expected), decision


QUEUED = {"state": "queued", "started_at": ago(minutes=1), "waits": "no GPU", **SOON}
STUCK = {**QUEUED, "waits": "no image"}


@pytest.mark.parametrize(
    ("active", "job", "expected"),
    [
        pytest.param(claim(**QUEUED), JobStatus("queued", "no GPU"), Nothing, id="what is known already"),
        pytest.param(claim(**QUEUED), JobStatus("queued", "no node"), Extend, id="it waits for something else now"),
        pytest.param(claim(**QUEUED), JobStatus("running"), Extend, id="it waits no more"),
        pytest.param(claim(**QUEUED), JobStatus("queued", "no GPU", stuck=True), Extend, id="it needs a correction"),
        pytest.param(claim(**QUEUED), JobStatus("unknown"), Nothing, id="nobody can say"),
        pytest.param(
            claim(**{**QUEUED, **EXPIRED}), JobStatus("queued", "no GPU"), Extend, id="it waits for hours: capacity"
        ),
        pytest.param(
            claim(**STUCK, stuck_since=ago(minutes=9)), JobStatus("queued", "no image", stuck=True), Nothing,
            id="nine minutes: a registry may be restarted",
        ),
        pytest.param(
            claim(**STUCK, stuck_since=ago(minutes=10)), JobStatus("queued", "no image", stuck=True), Withdraw,
            id="ten minutes",
        ),
        pytest.param(
            claim(**STUCK, stuck_since=ago(minutes=30)), JobStatus("queued", "no GPU"), Extend,
            id="it was corrected meanwhile",
        ),
        pytest.param(
            claim(state="running", stuck_since=ago(minutes=30)), JobStatus("queued", "no image", stuck=True), Nothing,
            id="one that runs is not withdrawn",
        ),
        pytest.param(claim(**QUEUED, attempt=3), JobStatus("refused", "no image"), Withdraw, id="it never began"),
        pytest.param(claim(**EXPIRED), JobStatus("refused", "no image"), NextAttempt, id="it began, says the claim"),
    ],
)  # fmt: skip
def test_waiting_for_capacity_is_no_waiting_for_a_correction(active: Claim, job: JobStatus, expected: type) -> None:
    decision = decide_claim(active, job, POLICY, NOW)
    assert isinstance(decision, expected), decision
    assert not isinstance(decision, Withdraw) or decision.error == "no image"


HELD = {"nonce": "n", "attempt": 3}


@pytest.mark.parametrize(
    ("active", "job", "kept_an_epoch", "expected"),
    [
        pytest.param(
            claim(**HELD, **EXPIRED), "failed", True, NextAttempt, id="spot loss without SIGTERM, but further"
        ),
        pytest.param(claim(**HELD, **EXPIRED), "gone", True, NextAttempt, id="the machine and its job are gone"),
        pytest.param(claim(**HELD, **EXPIRED), "failed", False, GiveUp, id="killed where the one before was killed"),
        pytest.param(
            claim(attempt=3, **EXPIRED), "failed", True, GiveUp, id="gave notice: counted then, or not, by itself"
        ),
        pytest.param(claim(**HELD), "running", True, Nothing, id="alive"),
        pytest.param(claim(**HELD), "queued", True, Nothing, id="put back into the queue, not sure yet that it ended"),
        pytest.param(claim(**HELD, **EXPIRED), "queued", True, Requeue, id="put back into the queue: the next attempt"),
        pytest.param(claim(attempt=2, **BARELY), "queued", False, Requeue, id="put back after it gave notice: at once"),
        pytest.param(claim(**HELD, **EXPIRED), "queued", False, GiveUp, id="put back again and again without an epoch"),
    ],
)
def test_an_attempt_that_was_killed_counts_only_if_it_got_no_further(
    active: Claim, job: Any, kept_an_epoch: bool, expected: type
) -> None:
    decision = decide_claim(active, job and JobStatus(job), POLICY, NOW, kept_an_epoch=kept_an_epoch)
    assert isinstance(decision, expected), decision
    assert not isinstance(decision, NextAttempt) or decision.preempted
    assert not isinstance(decision, Requeue) or decision.preempted == kept_an_epoch


def test_the_error_of_the_last_attempt_is_kept() -> None:
    decision = decide_claim(claim(error="the GPU fell off", **EXPIRED), None, POLICY, NOW)
    assert decision == NextAttempt("the GPU fell off")


def test_what_the_target_says_of_a_failed_job_is_the_error() -> None:
    job = JobStatus("failed", "Host EC2 (instance i-0) terminated.")
    decision = decide_claim(claim(**EXPIRED), job, POLICY, NOW)
    assert decision == NextAttempt("attempt 1 ended without a word (Host EC2 (instance i-0) terminated.)")


def test_pauses_grow_and_are_bounded() -> None:
    pauses = [pause_after(attempt).total_seconds() for attempt in (1, 2, 3, 4, 50)]
    assert pauses == [5, 20, 80, 320, 600]
