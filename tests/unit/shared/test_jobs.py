"""Claims: one owner at a time, fences that only grow, and lost answers that change nothing."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from shared.errors import ClaimLost, NotFound, StoreError
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, JobsRecord, LastRun
from shared.state.runs import Baseline, Progress, RunRequest, Totals, new_run_id
from tests.fakes.stores import UNREACHABLE, BeforeWrite, Clocked, LosesAnswers, Unreachable

T = TypeVar("T")
UID = "7.1700000000"
START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BASELINE = Baseline(totals=Totals(task_number=3), read_at=START, digest="d")


@pytest.fixture
def clock(file_store: ObjectStore) -> Clocked:
    return Clocked(file_store, START)


@pytest.fixture
def jobs(clock: Clocked) -> Jobs:
    return Jobs(clock, UID)


def take(jobs: Jobs, *, registry_fence: int = 0, decided_on: JobsRecord | None = None) -> Claim:
    run_id = new_run_id(START)
    claim = jobs.update(claims.take, run_id, lifetime=600, registry_fence=registry_fence, decided_on=decided_on).held
    assert claim.run_id == run_id, "the claim is ours"
    return claim


def running(jobs: Jobs, nonce: str = "n") -> Claim:
    return jobs.update(claims.start, take(jobs).run_id, nonce=nonce, lifetime=600).held


def test_nobody_has_a_claim_at_first(jobs: Jobs) -> None:
    found = jobs.read()
    assert (found.training, found.fence, found.last_run, found.baseline, found.closed) == (None, 0, None, None, False)


def test_a_run_from_claim_to_release(jobs: Jobs, clock: Clocked) -> None:
    claim = take(jobs)
    assert (claim.state, claim.attempt, claim.nonce, claim.job) == ("launching", 1, None, None)
    assert claim.expires_at == START + 10 * MINUTE
    jobs.update(claims.record_job, claim, "local:1")
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
    again = jobs.update(claims.next_attempt, claim, lifetime=600, error="gone").held
    assert claim.fence < again.fence < rollback
    assert jobs.read().fence == rollback


def test_concurrent_fences_are_all_different(file_store: ObjectStore) -> None:
    with ThreadPoolExecutor(6) as threads:
        fences = list(threads.map(lambda _: Jobs(file_store, UID).update(claims.next_fence, 0).fence, range(12)))
    assert len(set(fences)) == 12
    assert Jobs(file_store, UID).read().fence == max(fences)


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


@pytest.mark.parametrize("state", ["launching", "running"])
def test_an_expired_claim_is_taken_over_once(jobs: Jobs, clock: Clocked, state: str) -> None:
    claim = running(jobs) if state == "running" else take(jobs)
    clock.time += 11 * MINUTE
    again = jobs.update(claims.next_attempt, claim, lifetime=600, error="killed").held
    assert (again.run_id, again.attempt, again.state, again.nonce, again.job, again.error) == (
        claim.run_id, 2, "launching", None, None, "killed",
    )  # fmt: skip
    assert again.fence > claim.fence
    assert again.started_at == clock.time, "the time of the attempt before does not count"
    with pytest.raises(ClaimLost):
        jobs.update(claims.next_attempt, claim, lifetime=600, error="killed")
    if state == "running":
        for use in everything_a_job_does(jobs, claim):
            with pytest.raises(ClaimLost):
                use()
    assert jobs.update(claims.start, claim.run_id, nonce="n2", lifetime=600).held.attempt == 2


def everything_a_job_does(jobs: Jobs, claim: Claim) -> list[Callable[[], object]]:
    return [
        lambda: jobs.update(claims.renew, claim, lifetime=600, longest_run=3600).held,
        lambda: jobs.update(claims.interrupt, claim, "stop"),
        lambda: jobs.update(claims.release, claim, outcome="promoted", baseline=BASELINE),
    ]


def test_a_claim_that_lives_again_is_not_taken_over(jobs: Jobs, clock: Clocked) -> None:
    mine = running(jobs)
    clock.time += 11 * MINUTE
    seen = jobs.read().training
    assert seen is not None
    jobs.update(claims.renew, mine, lifetime=600, longest_run=3600)
    with pytest.raises(ClaimLost, match="lives again"):
        jobs.update(claims.next_attempt, seen, lifetime=600, error="expired")
    jobs.update(claims.renew, mine, lifetime=600, longest_run=3600)


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


def test_a_job_that_waits_keeps_its_claim(jobs: Jobs, clock: Clocked) -> None:
    claim = take(jobs)
    jobs.update(claims.record_job, claim, "local:1")
    queued = jobs.read().training
    assert queued is not None
    clock.time += 20 * MINUTE
    jobs.update(claims.extend, queued, lifetime=600, waiting=True)
    extended = jobs.read().training
    assert extended is not None
    assert extended == evolve(queued, expires_at=clock.time + 10 * MINUTE, started_at=clock.time)
    jobs.update(claims.extend, queued, lifetime=6000, waiting=True)  # seen before the other extension: changes nothing
    assert jobs.read().training == extended


def test_the_time_of_all_attempts_adds_up_and_waiting_is_none(jobs: Jobs, clock: Clocked) -> None:
    mine = running(jobs)
    clock.time += 20 * MINUTE
    jobs.update(claims.renew, mine, lifetime=600, longest_run=3600)
    clock.time += 5 * MINUTE
    jobs.update(claims.interrupt, mine, "SIGTERM", preempted=True, got_further=True)
    clock.time += 60 * MINUTE  # until somebody sweeps
    ended = jobs.read().training
    assert ended is not None
    second = jobs.update(claims.next_attempt, ended, lifetime=120, error="SIGTERM").held
    assert second.spent == 25 * 60
    clock.time += 120 * MINUTE  # until a machine is free
    started = jobs.update(claims.start, second.run_id, nonce="second", lifetime=600).held
    clock.time += 90 * MINUTE  # killed at once: its claim expired after ten minutes
    assert jobs.update(claims.next_attempt, started, lifetime=120, error="killed").held.spent == 35 * 60


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
    jobs.update(claims.next_attempt, killed, lifetime=600, error="it was silent")
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
    jobs.update(claims.release, claim, outcome="failed", silent=True)
    assert jobs.read().used == {"2026-01-01": 4 * 60}


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
    assert jobs.update(claims.next_attempt, expired, lifetime=600, error="SIGTERM").held.attempt == 2


def test_an_attempt_that_a_machine_ended_after_it_got_further_is_counted_apart(jobs: Jobs) -> None:
    claim = take(jobs)
    for preempted, count in ((True, 1), (False, 1), (True, 2)):
        jobs.update(
            claims.interrupt,
            jobs.update(claims.start, claim.run_id, nonce="n", lifetime=600).held,
            "SIGTERM",
            preempted=preempted,
        )
        found = jobs.read().training
        assert found is not None
        assert found.preempted == count
        claim = jobs.update(claims.next_attempt, found, lifetime=600, error="SIGTERM").held


def test_a_refused_launch_gives_way_at_once_and_the_same_attempt_is_tried_again(jobs: Jobs, clock: Clocked) -> None:
    claim = take(jobs)
    jobs.update(claims.refuse, claim, "quota")
    expired = jobs.read().training
    assert expired is not None
    assert (expired.expires_at, expired.error, expired.refused) == (clock.time, "quota", 1)
    again = jobs.update(claims.retry_launch, expired, lifetime=600).held
    assert (again.attempt, again.fence, again.refused) == (claim.attempt, claim.fence, 1)
    with pytest.raises(ClaimLost):
        jobs.update(claims.retry_launch, expired, lifetime=600)
    jobs.update(claims.record_job, again, "fake:1", logs="there")
    queued = jobs.read().training
    assert queued is not None
    assert (queued.state, queued.refused, queued.error, queued.logs) == ("queued", 1, None, "there")


def test_a_refusal_of_a_launch_that_somebody_else_tries_again_is_not_noted(jobs: Jobs, clock: Clocked) -> None:
    claim = take(jobs)
    jobs.update(claims.refuse, claim, "quota")
    expired = jobs.read().training
    assert expired is not None
    clock.time += MINUTE
    again = jobs.update(claims.retry_launch, expired, lifetime=600).held
    with pytest.raises(ClaimLost):
        jobs.update(claims.refuse, claim, "quota, said late")
    assert jobs.read().training == again


def test_a_job_that_starts_after_a_refusal_is_no_refused_launch(jobs: Jobs) -> None:
    claim = take(jobs)
    jobs.update(claims.refuse, claim, "no answer")
    mine = jobs.update(claims.start, claim.run_id, nonce="n", lifetime=600).held
    assert (mine.state, mine.refused, mine.error) == ("running", 0, None)
    with pytest.raises(ClaimLost):
        jobs.update(claims.refuse, claim, "no answer")


@pytest.mark.parametrize("lost", ["refused", "no answer"])
def test_a_refusal_whose_own_answer_was_lost_counts_once(clock: Clocked, jobs: Jobs, lost: Any) -> None:
    claim = take(jobs)
    flaky = LosesAnswers(clock)
    flaky.lose = [lost]
    stubborn(lambda: Jobs(flaky, UID).update(claims.refuse, claim, "quota"))
    refused = jobs.read().training
    assert refused is not None
    assert refused.refused == 1


def test_the_reference_of_a_job_that_runs_already_is_noted(jobs: Jobs) -> None:
    claim = take(jobs)
    mine = jobs.update(claims.start, claim.run_id, nonce="n", lifetime=600).held
    jobs.update(claims.record_job, claim, "local:1")
    assert jobs.read().training == evolve(mine, job="local:1")
    jobs.update(claims.release, mine, outcome="rejected", baseline=BASELINE)
    jobs.update(claims.record_job, claim, "local:1")
    assert jobs.read().training is None


def test_the_reference_of_an_older_attempt_is_not_noted(jobs: Jobs) -> None:
    claim = take(jobs)
    again = jobs.update(claims.next_attempt, claim, lifetime=600, error="").held
    jobs.update(claims.record_job, claim, "local:old")
    assert jobs.read().training == again


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


def test_a_record_of_an_older_version_is_read(jobs: Jobs, file_store: ObjectStore) -> None:
    """The active claim had the totals that the run was decided on; the last run had no count of failures."""
    take(jobs)
    key = f"projects/{UID}/jobs.json"
    stored = file_store.get(key)
    assert stored is not None
    old = json.loads(stored.data)
    del old["training"]["stalled"]
    old["training"]["baseline"] = BASELINE.model_dump(mode="json")
    old["last_run"] = {"run_id": "r", "outcome": "failed", "ended_at": START.isoformat(), "message": ""}
    file_store.put(key, json.dumps(old).encode())
    found = jobs.read()
    assert found.training is not None
    assert found.last_run is not None
    assert (found.training.stalled, found.last_run.failures) == (0, 0)
    jobs.update(
        claims.release, jobs.update(claims.start, found.training.run_id, nonce="n", lifetime=60).held, outcome="failed"
    )
    assert jobs.read().last_run.failures == 1  # type: ignore[union-attr]


def test_a_closed_project_stays_closed(jobs: Jobs) -> None:
    jobs.update(claims.close)
    closed = jobs.read()
    jobs.update(claims.close)
    assert closed.closed
    assert jobs.read() == closed


LOST = pytest.mark.parametrize("lost", ["refused", "no answer"])


def test_a_first_claim_whose_answer_was_lost_is_ours(clock: Clocked) -> None:
    take(Jobs(LosesAnswers(clock, "refused"), UID))


def stubborn(use: Callable[[], T]) -> T:
    """As a caller does after a network error."""
    try:
        return use()
    except StoreError as error:
        if error is not UNREACHABLE:
            raise
        return use()


@LOST
def test_every_step_of_a_job_survives_a_lost_answer(clock: Clocked, jobs: Jobs, lost: Any) -> None:
    claim = take(jobs)
    flaky = LosesAnswers(clock)
    there = Jobs(flaky, UID)

    flaky.lose = [lost]
    stubborn(lambda: there.update(claims.record_job, claim, "local:1"))
    flaky.lose = [lost]
    mine = stubborn(lambda: there.update(claims.start, claim.run_id, nonce="n", lifetime=600).held)
    assert mine is not None
    assert jobs.read().training == mine
    assert (mine.job, mine.state) == ("local:1", "running")
    clock.time += MINUTE
    flaky.lose = [lost]
    renewed = stubborn(lambda: there.update(claims.renew, mine, lifetime=600, longest_run=3600).held)
    assert renewed is not None
    assert renewed.expires_at == START + 11 * MINUTE
    flaky.lose = [lost]
    stubborn(lambda: there.update(claims.release, mine, outcome="promoted", baseline=BASELINE))
    flaky.lose = [lost]
    stubborn(lambda: there.update(claims.close))
    assert flaky.lose == [], "each answer was lost once"

    found = jobs.read()
    assert (found.training, found.closed, found.baseline) == (None, True, BASELINE)
    assert found.last_run is not None
    assert found.last_run.run_id == claim.run_id


@LOST
def test_an_interruption_survives_a_lost_answer(clock: Clocked, jobs: Jobs, lost: Any) -> None:
    mine = running(jobs)
    there = Jobs(LosesAnswers(clock, lost), UID)
    stubborn(lambda: there.update(claims.interrupt, mine, "SIGTERM"))
    expired = jobs.read().training
    assert expired is not None
    assert (expired.expires_at, expired.error) == (clock.time, "SIGTERM")


def test_a_next_attempt_whose_answer_was_lost_is_ours(clock: Clocked, jobs: Jobs) -> None:
    claim = take(jobs)
    again = Jobs(LosesAnswers(clock, "refused"), UID).update(claims.next_attempt, claim, lifetime=600, error="").held
    assert jobs.read().training == again


def test_a_fence_whose_answer_was_lost_is_taken_once(clock: Clocked, jobs: Jobs) -> None:
    jobs.update(claims.next_fence, 0)
    fence = Jobs(LosesAnswers(clock, "refused"), UID).update(claims.next_fence, 0).fence
    assert jobs.read().fence == fence


def test_an_unreachable_store_is_an_error(file_store: ObjectStore) -> None:
    jobs = Jobs(Unreachable(file_store), UID)
    for use in (
        jobs.read,
        lambda: take(jobs),
        lambda: jobs.update(claims.next_fence, 0).fence,
        lambda: jobs.runs.progress("r"),
    ):
        with pytest.raises(StoreError, match="network broke"):
            use()


def test_a_change_that_refuses_is_not_written(jobs: Jobs) -> None:
    take(jobs)
    before = jobs.read()

    def refuse(_record: JobsRecord, _now: datetime) -> JobsRecord:
        raise ClaimLost("no")

    with pytest.raises(ClaimLost):
        jobs.update(refuse)
    assert jobs.update(lambda record, now: None) == before == jobs.read()


def test_no_two_writes_have_the_same_bytes(jobs: Jobs, file_store: ObjectStore) -> None:
    def bytes_now() -> bytes:
        stored = file_store.get(f"projects/{UID}/jobs.json")
        assert stored is not None
        return stored.data

    jobs.update(lambda record, now: record)
    first = bytes_now()
    jobs.update(lambda record, now: record)
    assert bytes_now() != first


def test_the_first_request_of_a_run_is_kept(jobs: Jobs) -> None:
    with pytest.raises(NotFound):
        jobs.runs.request("run")
    request = RunRequest(run_id="run", project_uid=UID, project_id=7, reason="r", created_at=START)
    jobs.runs.write_request(request)
    jobs.runs.write_request(evolve(request, reason="second attempt"))
    assert jobs.runs.request("run") == request


def test_the_last_progress_is_kept(jobs: Jobs) -> None:
    assert jobs.runs.progress("run") is None
    for phase in ("export", "train"):
        jobs.runs.write_progress("run", Progress(phase=phase, attempt=1, updated_at=START))
    found = jobs.runs.progress("run")
    assert found is not None
    assert found.phase == "train"


def test_a_slow_writer_gets_its_turn(clock: Clocked, jobs: Jobs) -> None:
    """Another process writes before our first writes."""
    take(jobs)

    class Crowded(BeforeWrite):
        left = 5

        def _now(self, key: str) -> None:
            if self.left:
                self.left -= 1
                jobs.update(claims.next_fence, 0)

    before = jobs.read().fence
    fence = Jobs(Crowded(clock, lambda: None), UID).update(claims.next_fence, 0).fence
    assert fence == jobs.read().fence == before + 6 * 1000
