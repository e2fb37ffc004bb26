"""The claim is renewed, outages are survived, a lost claim ends the training."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ClaimLost, NotFound, StoreError, StoreRefusal
from shared.evolve import evolve
from shared.objectstore import ObjectStore, Stored, Token
from shared.state import claims, launches
from shared.state.heartbeat import Heartbeat
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim
from tests.fakes.train_parts import UID, begin_run


class Flaky:
    """A store that fails as long as a test says; tells when it was asked for the record."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.failures = 0
        self.refusal: StoreRefusal | None = None
        self.asked = threading.Semaphore(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        try:
            if self.failures > 0:
                self.failures -= 1
                raise self.refusal or StoreError("the store is not reachable")
            return self._store.get(key, if_changed_from)
        finally:
            self.asked.release()


def running(store: ObjectStore) -> tuple[Jobs, Claim]:
    jobs = Jobs(store, UID)
    return jobs, jobs.update(claims.start, begin_run(store).run_id, nonce="ours", lifetime=600).held


def heartbeat(jobs: Jobs, claim: Claim, *, on_lost: threading.Event | None = None, lifetime: float = 0.06) -> Heartbeat:
    told = on_lost or threading.Event()
    return Heartbeat(jobs, claim, lifetime=lifetime, longest_run=3600, on_lost=told.set)


def test_it_renews_and_survives_an_outage(file_store: ObjectStore) -> None:
    flaky = Flaky(file_store)
    jobs, claim = running(flaky)
    flaky.failures = 3
    lost = threading.Event()
    with heartbeat(jobs, claim, on_lost=lost) as beating:
        for _ in range(12):
            assert flaky.asked.acquire(timeout=30)
    assert not beating.lost
    assert not lost.is_set()
    renewed = jobs.read().training
    assert renewed is not None
    assert renewed.expires_at != claim.expires_at


def test_a_claim_that_was_taken_over_is_noticed(file_store: ObjectStore) -> None:
    jobs, claim = running(file_store)
    jobs.update(launches.next_attempt, claim, lifetime=600, error="it was silent")
    lost = threading.Event()
    with heartbeat(jobs, claim, on_lost=lost) as beating:
        assert lost.wait(30)
        with pytest.raises(ClaimLost):
            beating.check()
        with pytest.raises(ClaimLost):
            beating.confirm()


def test_confirm_waits_out_an_outage(file_store: ObjectStore) -> None:
    flaky = Flaky(file_store)
    jobs, claim = running(flaky)
    beating = heartbeat(jobs, claim, lifetime=600)
    flaky.failures = 2
    before = file_store.now()
    beating.confirm()
    assert flaky.failures == 0
    renewed = jobs.read().training
    assert renewed is not None
    assert renewed.expires_at >= before + timedelta(seconds=600)


def test_a_run_that_may_take_longer_keeps_its_claim_longer(file_store: ObjectStore) -> None:
    """A claim cannot be renewed long after the longest run is over: here the run began 3,000 s ago."""
    jobs, claim = running(file_store)
    old = evolve(claim, started_at=claim.started_at - timedelta(seconds=3000))
    jobs.update(lambda record, now: evolve(record, training=old))
    beating = Heartbeat(jobs, old, lifetime=600, longest_run=1000, on_lost=lambda: None)
    with pytest.raises(ClaimLost, match="longest run"):
        beating.confirm()
    beating.set_longest_run(9000)
    beating.confirm()


@pytest.mark.parametrize("what", ["403: not allowed", "jobs.json is no JobsRecord of this labelloop"])
def test_a_refusal_is_no_outage(file_store: ObjectStore, what: str) -> None:
    """It would be answered again for as long as anybody waits: seen as an hour of a GPU for each call."""
    flaky = Flaky(file_store)
    jobs, claim = running(flaky)
    flaky.failures, flaky.refusal = 3, StoreRefusal(what)
    beating = heartbeat(jobs, claim, lifetime=600)
    with pytest.raises(StoreRefusal, match=what):
        beating.confirm()
    assert flaky.failures == 2, "asked once"


def test_an_attempt_that_is_refused_for_the_lifetime_of_its_claim_ends(file_store: ObjectStore) -> None:
    flaky = Flaky(file_store)
    jobs, claim = running(flaky)
    flaky.failures, flaky.refusal = 10**6, StoreRefusal("403: not allowed")
    told = threading.Event()
    with heartbeat(jobs, claim, on_lost=told) as beating:
        assert told.wait(30)
        assert not beating.lost, "nobody took it"
        with pytest.raises(StoreRefusal, match="403"):
            beating.check()
        with pytest.raises(StoreRefusal, match="403"):
            beating.patiently(jobs.read)


def test_one_refusal_ends_no_training(file_store: ObjectStore) -> None:
    flaky = Flaky(file_store)
    jobs, claim = running(flaky)
    flaky.failures, flaky.refusal = 1, StoreRefusal("403: the policy has not spread yet")
    told = threading.Event()
    with heartbeat(jobs, claim, on_lost=told, lifetime=0.6) as beating:
        for _ in range(4):
            assert flaky.asked.acquire(timeout=30)
        beating.check()
    assert not told.is_set()


def test_refusals_are_answers(file_store: ObjectStore, tmp_path: Path) -> None:
    jobs, claim = running(file_store)
    with pytest.raises(NotFound):
        heartbeat(jobs, claim).patiently(file_store.download, "nothing", tmp_path / "file")
