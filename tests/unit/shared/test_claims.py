"""Claims: one owner at a time, fences that only grow, and the time of each attempt counted once."""

from datetime import timedelta

import pytest

from shared.errors import ClaimLost
from shared.evolve import evolve
from shared.state import claims, launches
from shared.state.jobs import Jobs
from shared.state.jobs_record import LastRun
from tests.fakes.stores import BeforeWrite, Clocked
from tests.samples.claims import BASELINE, MINUTE, START, UID, running, take


def test_nobody_has_a_claim_at_first(jobs: Jobs) -> None:
    found = jobs.read()
    assert (found.training, found.fence, found.last_run, found.baseline, found.closed) == (None, 0, None, None, False)


def test_a_run_from_claim_to_release(jobs: Jobs, clock: Clocked) -> None:
    claim = take(jobs)
    assert (claim.state, claim.attempt, claim.nonce, claim.job) == ("launching", 1, None, None)
    assert claim.expires_at == START + 10 * MINUTE
    jobs.update(launches.record_job, claim, "local:1")
    queued = jobs.read().training
    assert queued is not None
    assert (queued.state, queued.job) == ("queued", "local:1")
    clock.time += MINUTE
    mine = jobs.update(claims.start, claim.run_id, nonce="n", lifetime=600).held
    assert (mine.state, mine.nonce, mine.job, mine.expires_at) == ("running", "n", "local:1", START + 11 * MINUTE)
    clock.time += MINUTE
    assert jobs.update(claims.renew, mine, lifetime=600, longest_run=3600).held.expires_at == START + 12 * MINUTE
    jobs.update(claims.release, mine, outcome="promoted", baseline=BASELINE, message="v1")
    found = jobs.read()
    assert found.training is None
    assert found.baseline == BASELINE
    assert found.last_run == LastRun(
        run_id=claim.run_id, outcome="promoted", ended_at=clock.time, message="v1", seconds=60.0
    )


def test_a_second_claim_answers_the_first(jobs: Jobs) -> None:
    claim = take(jobs)
    assert jobs.update(claims.take, "another-run", lifetime=600, forced=True).held == claim


def test_a_claim_is_decided_on_what_is_stored(clock: Clocked, jobs: Jobs) -> None:
    """Between the decision and the claim another run began and ended."""

    def other_run() -> None:
        jobs.update(claims.release, running(jobs), outcome="unchanged", baseline=BASELINE)

    slow = Jobs(BeforeWrite(clock, other_run), UID)
    with pytest.raises(ClaimLost):
        take(slow, decided_on=jobs.read())
    assert jobs.read().training is None


def test_fences_are_above_every_earlier_one(jobs: Jobs) -> None:
    first = take(jobs, registry_fence=41_000)
    assert first.fence > 41_000
    jobs.update(claims.release, first, outcome="failed", baseline=None)
    rollback = jobs.update(claims.next_fence, registry_fence=first.fence).fence
    second = take(jobs)
    assert first.fence < rollback < second.fence
    assert jobs.update(claims.next_fence, registry_fence=10**6).fence > 10**6


def test_no_attempt_of_a_run_rises_above_a_rollback(jobs: Jobs) -> None:
    claim = running(jobs)
    rollback = jobs.update(claims.next_fence, registry_fence=0).fence
    again = jobs.update(launches.next_attempt, claim, lifetime=600, error="gone").held
    assert claim.fence < again.fence < rollback
    assert jobs.read().fence == rollback


def test_a_second_copy_of_a_launch_ends(jobs: Jobs) -> None:
    mine = running(jobs, "first")
    with pytest.raises(ClaimLost, match="another process"):
        jobs.update(claims.start, mine.run_id, nonce="second", lifetime=600)
    assert jobs.update(claims.start, mine.run_id, nonce="first", lifetime=600).held == mine


def test_a_job_that_waited_long_still_starts_if_nobody_took_over(jobs: Jobs, clock: Clocked) -> None:
    claim = take(jobs)
    clock.time += timedelta(hours=9)
    mine = jobs.update(claims.start, claim.run_id, nonce="n", lifetime=600).held
    renewed = jobs.update(claims.renew, mine, lifetime=600, longest_run=3600).held
    assert renewed.expires_at == clock.time + 10 * MINUTE, "waiting is no part of the longest run"


def test_renewals_end_with_the_longest_run(jobs: Jobs, clock: Clocked) -> None:
    mine = running(jobs)
    clock.time += timedelta(seconds=3590)
    assert jobs.update(claims.renew, mine, lifetime=600, longest_run=3600).held.expires_at == START + timedelta(
        seconds=4190
    )
    clock.time += timedelta(seconds=300)
    assert jobs.update(claims.renew, mine, lifetime=600, longest_run=3600).held.expires_at == START + timedelta(
        seconds=4200
    )
    clock.time += timedelta(seconds=310)
    with pytest.raises(ClaimLost, match="longest run"):
        jobs.update(claims.renew, mine, lifetime=600, longest_run=3600)


def test_the_time_of_all_attempts_adds_up_and_waiting_is_none(jobs: Jobs, clock: Clocked) -> None:
    mine = running(jobs)
    clock.time += 20 * MINUTE
    jobs.update(claims.renew, mine, lifetime=600, longest_run=3600)
    clock.time += 5 * MINUTE
    jobs.update(claims.interrupt, mine, "SIGTERM", preempted=True, got_further=True)
    clock.time += 60 * MINUTE  # until somebody sweeps
    ended = jobs.read().training
    assert ended is not None
    second = jobs.update(launches.next_attempt, ended, lifetime=120, error="SIGTERM").held
    assert second.spent == 25 * 60
    clock.time += 120 * MINUTE  # until a machine is free
    started = jobs.update(claims.start, second.run_id, nonce="second", lifetime=600).held
    clock.time += 3 * MINUTE
    jobs.update(claims.renew, started, lifetime=600, longest_run=3600)
    clock.time += 90 * MINUTE  # killed: its claim expired after ten minutes, and what it ran meanwhile nobody knows
    killed = jobs.read().held
    third = jobs.update(launches.next_attempt, killed, lifetime=120, error="killed").held
    assert third.spent == 28 * 60
    assert sum(jobs.read().used.values()) == 28 * 60, "a run's time is what the budgets count of it"


def test_what_jobs_use_is_counted_until_they_wrote_last(jobs: Jobs, clock: Clocked) -> None:
    """A second copy uses nothing; of a killed attempt what it ran until its last renewal counts, and no waiting."""

    def pass_minutes(number: int) -> float:
        clock.time += number * MINUTE
        return sum(jobs.read().used.values()) / 60

    first = running(jobs)
    with pytest.raises(ClaimLost):
        jobs.update(claims.start, first.run_id, nonce="of a second copy", lifetime=600)
    assert pass_minutes(2) == 0
    jobs.update(claims.renew, first, lifetime=600, longest_run=3600)
    assert pass_minutes(20) == 2
    killed = jobs.read().held
    jobs.update(launches.next_attempt, killed, lifetime=600, error="it was silent")
    pass_minutes(5)
    second = jobs.update(claims.start, first.run_id, nonce="m", lifetime=600).held
    ahead = Jobs(clock, UID, prelabelling=True)
    ahead.update(claims.take, "ahead", lifetime=600, kind="prelabel")
    beside = ahead.update(claims.start, "ahead", nonce="p", lifetime=600).held
    assert pass_minutes(3) == 2
    with pytest.raises(ClaimLost):
        jobs.update(claims.renew, first, lifetime=600, longest_run=3600)
    ahead.update(claims.interrupt, beside, "SIGTERM")
    assert pass_minutes(1) == 2 + 3
    jobs.update(claims.release, second, outcome="promoted")
    assert pass_minutes(1) == 2 + 3 + 4
    assert jobs.read().used == {"2026-01-01": 9 * 60}


def test_a_job_that_was_given_up_used_what_it_ran_until_its_last_renewal(jobs: Jobs, clock: Clocked) -> None:
    claim = running(jobs)
    clock.time += 4 * MINUTE
    jobs.update(claims.renew, claim, lifetime=600, longest_run=3600)
    clock.time += 40 * MINUTE
    record = jobs.update(claims.release, claim, outcome="failed", silent=True)
    assert record.used == {"2026-01-01": 4 * 60}
    assert record.last_run
    assert (record.last_run.seconds, record.last_run.cost) == (4 * 60, None)


@pytest.mark.parametrize("ended", ["failed", "rejected", "stopped", "prelabelled"])
def test_every_run_keeps_what_all_its_attempts_and_workers_cost(jobs: Jobs, clock: Clocked, ended: str) -> None:
    """At the price that was set when it was taken; a failed or stopped one too."""
    workers = 3 if ended == "prelabelled" else 1
    claim = jobs.update(claims.take, "run", lifetime=600, forced=True, price="0.90 EUR", workers=workers).held
    first = jobs.update(claims.start, "run", nonce="1", lifetime=600).held
    clock.time += 6 * MINUTE
    interrupted = jobs.update(claims.interrupt, first, "SIGTERM", preempted=True).held
    jobs.update(launches.next_attempt, interrupted, lifetime=600, error="SIGTERM")
    clock.time += 30 * MINUTE  # until a machine is free
    second = jobs.update(claims.start, "run", nonce="2", lifetime=600).held
    clock.time += 4 * MINUTE
    jobs.update(claims.renew, second, lifetime=600, longest_run=3600)
    if ended == "stopped":
        record = jobs.update(claims.stop, claim.run_id, "by somebody")
    else:
        record = jobs.update(claims.release, second, outcome=ended)  # type: ignore[arg-type]
    assert record.last_run
    assert record.last_run.seconds == sum(record.used.values()) == 600 * workers
    assert str(record.last_run.cost) == ("0.15 EUR" if workers == 1 else "0.45 EUR")


@pytest.mark.parametrize(("minutes", "used"), [(3, 4 + 3), (40, 4)], ids=["running", "silent"])
def test_a_run_that_a_person_stops_has_used_what_it_ran(jobs: Jobs, clock: Clocked, minutes: int, used: int) -> None:
    claim = running(jobs)
    clock.time += 4 * MINUTE
    jobs.update(claims.renew, claim, lifetime=600, longest_run=3600)
    clock.time += minutes * MINUTE
    record = jobs.update(claims.stop, claim.run_id, "by somebody")
    assert record.used == {"2026-01-01": used * 60}
    assert record.last_run is not None
    assert record.last_run.seconds == used * 60


def test_an_interrupted_job_gives_way_at_once(jobs: Jobs, clock: Clocked) -> None:
    mine = running(jobs)
    jobs.update(claims.interrupt, mine, "SIGTERM")
    expired = jobs.read().training
    assert expired is not None
    assert expired.expires_at <= clock.time
    assert expired.error == "SIGTERM"
    with pytest.raises(ClaimLost):  # a renewal that was under way
        jobs.update(claims.renew, mine, lifetime=600, longest_run=3600)
    with pytest.raises(ClaimLost):
        jobs.update(claims.start, mine.run_id, nonce="other", lifetime=600)
    assert jobs.update(launches.next_attempt, expired, lifetime=600, error="SIGTERM").held.attempt == 2


def test_release_twice_changes_nothing_more(jobs: Jobs) -> None:
    mine = running(jobs)
    jobs.update(claims.release, mine, outcome="promoted", baseline=BASELINE)
    after = jobs.read()
    jobs.update(claims.release, mine, outcome="failed", baseline=None, message="late")
    assert jobs.read() == after
    other = running(jobs)
    jobs.update(claims.release, mine, outcome="failed", baseline=None)
    assert jobs.read().training == other, "somebody else's claim stays"


def test_a_failed_run_keeps_the_old_baseline_and_is_counted(jobs: Jobs) -> None:
    jobs.update(claims.release, running(jobs), outcome="promoted", baseline=BASELINE)
    newer = evolve(BASELINE, digest="e")
    counts = []
    for outcome in ("failed", "failed", "nothing_to_learn", "failed"):
        jobs.update(claims.release, running(jobs), outcome=outcome, baseline=newer)
        last = jobs.read().last_run
        assert last is not None
        counts.append((last.failures, jobs.read().baseline == newer))
    assert counts == [(1, False), (2, False), (0, True), (1, True)]
