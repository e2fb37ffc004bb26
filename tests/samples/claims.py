"""Claims of one project, taken and running, on a clock that a test moves."""

from datetime import UTC, datetime, timedelta

from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, JobsRecord
from shared.state.runs import Baseline, Totals, new_run_id

UID = "7.1700000000"
START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BASELINE = Baseline(totals=Totals(task_number=3), read_at=START, digest="d")


def take(jobs: Jobs, *, registry_fence: int = 0, decided_on: JobsRecord | None = None) -> Claim:
    run_id = new_run_id(START)
    claim = jobs.update(claims.take, run_id, lifetime=600, registry_fence=registry_fence, decided_on=decided_on).held
    assert claim.run_id == run_id, "the claim is ours"
    return claim


def running(jobs: Jobs, nonce: str = "n") -> Claim:
    return jobs.update(claims.start, take(jobs).run_id, nonce=nonce, lifetime=600).held
