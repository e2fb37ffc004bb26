"""Every change of a claim survives an answer of the store that was lost: it happens once."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from shared.errors import StoreError
from shared.state import claims, jobs_fields, launches
from shared.state.jobs import Jobs
from tests.fakes.stores import UNREACHABLE, Clocked, LosesAnswers
from tests.samples.claims import BASELINE, MINUTE, START, UID, running, take

T = TypeVar("T")


@pytest.mark.parametrize("lost", ["refused", "no answer"])
def test_a_refusal_whose_own_answer_was_lost_counts_once(clock: Clocked, jobs: Jobs, lost: Any) -> None:
    claim = take(jobs)
    flaky = LosesAnswers(clock)
    flaky.lose = [lost]
    stubborn(lambda: Jobs(flaky, UID).update(launches.refuse, claim, "quota"))
    refused = jobs.read().training
    assert refused is not None
    assert refused.refused == 1


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
    stubborn(lambda: there.update(launches.record_job, claim, "local:1"))
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
    stubborn(lambda: there.update(jobs_fields.close))
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
    again = Jobs(LosesAnswers(clock, "refused"), UID).update(launches.next_attempt, claim, lifetime=600, error="").held
    assert jobs.read().training == again


def test_a_fence_whose_answer_was_lost_is_taken_once(clock: Clocked, jobs: Jobs) -> None:
    jobs.update(claims.next_fence, 0)
    fence = Jobs(LosesAnswers(clock, "refused"), UID).update(claims.next_fence, 0).fence
    assert jobs.read().fence == fence
