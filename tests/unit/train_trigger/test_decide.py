"""When a project needs a run: a table."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from functions.train_trigger.decide import Launch, Nothing, Wait, changed_since, decide, wait_for_budget
from shared.state.budget import Budget
from shared.state.jobs_record import JobsRecord
from shared.state.runs import Baseline, Totals
from tests.samples.decisions import NOW, POLICY, ago, baseline, claim, last_run, totals

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
