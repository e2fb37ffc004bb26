"""The jobs record: read, changed by compare-and-swap, and beside it the files of runs."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from shared.errors import ClaimLost, NotFound, StoreError
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.state import claims, jobs_fields
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.runs import Progress, RunRequest
from tests.fakes.stores import BeforeWrite, Clocked, Unreachable
from tests.samples.claims import BASELINE, START, UID, take


def test_concurrent_fences_are_all_different(file_store: ObjectStore) -> None:
    with ThreadPoolExecutor(6) as threads:
        fences = list(threads.map(lambda _: Jobs(file_store, UID).update(claims.next_fence, 0).fence, range(12)))
    assert len(set(fences)) == 12
    assert Jobs(file_store, UID).read().fence == max(fences)


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
    jobs.update(jobs_fields.close)
    closed = jobs.read()
    jobs.update(jobs_fields.close)
    assert closed.closed
    assert jobs.read() == closed


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
