"""What an active run needs, by its claim and what the launcher says of its job."""

from datetime import timedelta
from typing import Any

import pytest

from functions.train_trigger.decide import Nothing, Wait
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
from shared.state.jobs_record import Claim
from tests.samples.decisions import NOW, POLICY, ago, claim

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
            claim(**STUCK, stuck_since=NOW + timedelta(hours=1)), JobStatus("queued", "no image", stuck=True), Withdraw,
            id="since a moment when the store's clock was an hour ahead",
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
