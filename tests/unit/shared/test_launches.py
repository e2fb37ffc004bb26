"""What the launcher says of an attempt: it is refused, launched again, extended, or followed by the next one."""

from collections.abc import Callable

import pytest

from shared.errors import ClaimLost
from shared.evolve import evolve
from shared.state import claims, launches
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim
from tests.fakes.stores import Clocked
from tests.samples.claims import BASELINE, MINUTE, running, take


@pytest.mark.parametrize("state", ["launching", "running"])
def test_an_expired_claim_is_taken_over_once(jobs: Jobs, clock: Clocked, state: str) -> None:
    claim = running(jobs) if state == "running" else take(jobs)
    clock.time += 11 * MINUTE
    again = jobs.update(launches.next_attempt, claim, lifetime=600, error="killed").held
    assert (again.run_id, again.attempt, again.state, again.nonce, again.job, again.error) == (
        claim.run_id, 2, "launching", None, None, "killed",
    )  # fmt: skip
    assert again.fence > claim.fence
    assert again.started_at == clock.time, "the time of the attempt before does not count"
    with pytest.raises(ClaimLost):
        jobs.update(launches.next_attempt, claim, lifetime=600, error="killed")
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
        jobs.update(launches.next_attempt, seen, lifetime=600, error="expired")
    jobs.update(claims.renew, mine, lifetime=600, longest_run=3600)


def test_a_job_that_waits_keeps_its_claim(jobs: Jobs, clock: Clocked) -> None:
    claim = take(jobs)
    jobs.update(launches.record_job, claim, "local:1")
    queued = jobs.read().training
    assert queued is not None
    clock.time += 20 * MINUTE
    jobs.update(launches.extend, queued, lifetime=600, waiting=True)
    extended = jobs.read().training
    assert extended is not None
    assert extended == evolve(queued, expires_at=clock.time + 10 * MINUTE, started_at=clock.time)
    jobs.update(
        launches.extend, queued, lifetime=6000, waiting=True
    )  # seen before the other extension: changes nothing
    assert jobs.read().training == extended


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
        claim = jobs.update(launches.next_attempt, found, lifetime=600, error="SIGTERM").held


def test_a_refused_launch_gives_way_at_once_and_the_same_attempt_is_tried_again(jobs: Jobs, clock: Clocked) -> None:
    claim = take(jobs)
    jobs.update(launches.refuse, claim, "quota")
    expired = jobs.read().training
    assert expired is not None
    assert (expired.expires_at, expired.error, expired.refused) == (clock.time, "quota", 1)
    again = jobs.update(launches.retry_launch, expired, lifetime=600).held
    assert (again.attempt, again.fence, again.refused) == (claim.attempt, claim.fence, 1)
    with pytest.raises(ClaimLost):
        jobs.update(launches.retry_launch, expired, lifetime=600)
    jobs.update(launches.record_job, again, "fake:1", logs="there")
    queued = jobs.read().training
    assert queued is not None
    assert (queued.state, queued.refused, queued.error, queued.logs) == ("queued", 1, None, "there")


def test_a_refusal_of_a_launch_that_somebody_else_tries_again_is_not_noted(jobs: Jobs, clock: Clocked) -> None:
    claim = take(jobs)
    jobs.update(launches.refuse, claim, "quota")
    expired = jobs.read().training
    assert expired is not None
    clock.time += MINUTE
    again = jobs.update(launches.retry_launch, expired, lifetime=600).held
    with pytest.raises(ClaimLost):
        jobs.update(launches.refuse, claim, "quota, said late")
    assert jobs.read().training == again


def test_a_job_that_starts_after_a_refusal_is_no_refused_launch(jobs: Jobs) -> None:
    claim = take(jobs)
    jobs.update(launches.refuse, claim, "no answer")
    mine = jobs.update(claims.start, claim.run_id, nonce="n", lifetime=600).held
    assert (mine.state, mine.refused, mine.error) == ("running", 0, None)
    with pytest.raises(ClaimLost):
        jobs.update(launches.refuse, claim, "no answer")


def test_the_reference_of_a_job_that_runs_already_is_noted(jobs: Jobs) -> None:
    claim = take(jobs)
    mine = jobs.update(claims.start, claim.run_id, nonce="n", lifetime=600).held
    jobs.update(launches.record_job, claim, "local:1")
    assert jobs.read().training == evolve(mine, job="local:1")
    jobs.update(claims.release, mine, outcome="rejected", baseline=BASELINE)
    jobs.update(launches.record_job, claim, "local:1")
    assert jobs.read().training is None


def test_the_reference_of_an_older_attempt_is_not_noted(jobs: Jobs) -> None:
    claim = take(jobs)
    again = jobs.update(launches.next_attempt, claim, lifetime=600, error="").held
    jobs.update(launches.record_job, claim, "local:old")
    assert jobs.read().training == again
