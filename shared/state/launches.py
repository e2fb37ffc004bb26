"""What the launcher says of a run's attempt, as changes of its claim: pure functions, as in `shared.state.claims`.

record_job    it accepted the job           launching → queued
extend        it knows the job              the claim expires later
refuse        it refused the job            the claim expires now
withdraw      the job never began           queued → launching, expired
retry_launch  after both                    the same attempt is launched again
next_attempt  the attempt's job has ended   → launching (queued if the target starts the job again by itself)
"""

from datetime import datetime, timedelta

from shared.errors import ClaimLost
from shared.evolve import evolve
from shared.state.jobs_record import Claim, JobsRecord


def record_job(
    record: JobsRecord, _now: datetime, claim: Claim, job: str, *, logs: str | None = None
) -> JobsRecord | None:
    """Record the launcher's reference to the job and where its log is. A job that runs already stays running."""
    current = record.training
    if current is None or (current.run_id, current.attempt) != (claim.run_id, claim.attempt):
        return None
    state = "queued" if current.state == "launching" else current.state
    error = None if current.refused else current.error
    return evolve(record, training=evolve(current, state=state, job=job, logs=logs, error=error))


def extend(
    record: JobsRecord,
    now: datetime,
    claim: Claim,
    *,
    lifetime: float,
    waiting: bool,
    why: str = "",
    stuck: bool = False,
) -> JobsRecord | None:
    """The launcher knows the job: extend its claim by `lifetime` seconds, unless the claim has changed.

    `waiting`: the job has not started, so the run's time does not count yet; `why` it waits, in the target's words;
    `stuck`: it waits for a correction by a person, not for capacity.
    """
    if record.training != claim:
        return None
    extended = evolve(
        claim,
        expires_at=now + timedelta(seconds=lifetime),
        started_at=now if waiting else claim.started_at,
        waits=(waiting and why) or None,
        stuck_since=(claim.stuck_since or now) if waiting and stuck else None,
    )
    return evolve(record, training=extended)


def refuse(record: JobsRecord, now: datetime, claim: Claim, error: str) -> JobsRecord | None:
    """Record that the launcher refused the job: the claim expires now. Raises ClaimLost if the job has started."""
    refused = evolve(claim, expires_at=now, refused=claim.refused + 1, error=error)
    if record.training and evolve(record.training, expires_at=now) == refused:
        return None  # our own earlier write, whose answer was lost
    _unchanged(record, claim)
    return evolve(record, training=refused)


def withdraw(record: JobsRecord, now: datetime, claim: Claim, error: str) -> JobsRecord:
    """Record that the job ended or was stopped before it began, as a refused launch. Raises ClaimLost if it began."""
    _unchanged(record, claim)
    withdrawn = evolve(
        claim,
        state="launching",
        job=None,
        logs=None,
        waits=None,
        stuck_since=None,
        expires_at=now,
        refused=claim.refused + 1,
        error=error,
    )
    return evolve(record, training=withdrawn)


def retry_launch(record: JobsRecord, now: datetime, claim: Claim, *, lifetime: float) -> JobsRecord:
    """Claim the same attempt again after its launch was refused: its job keeps its name at the target.

    `lifetime` in seconds. Raises ClaimLost if somebody else was first, or the job started nevertheless.
    """
    _unchanged(record, claim)
    return evolve(record, training=evolve(claim, expires_at=now + timedelta(seconds=lifetime), started_at=now))


def next_attempt(
    record: JobsRecord,
    now: datetime,
    claim: Claim,
    *,
    lifetime: float,
    error: str,
    preempted: bool = False,
    requeued: bool = False,
) -> JobsRecord:
    """Claim the next attempt of a run. The caller has asked the launcher: no job of the old attempt is running.

    `lifetime`: seconds. `error`: how the old attempt ended. `preempted`: it got further than the one before and was
    killed, which does not count against the run. `requeued`: the target itself starts the job again; otherwise the
    caller launches one. Raises ClaimLost if the claim has changed: somebody else was first, or the job has renewed it.
    """
    _unchanged(record, claim)
    taken = evolve(
        claim,
        state="queued" if requeued else "launching",
        fence=claim.fence + 1,
        attempt=claim.attempt + 1,
        preempted=claim.preempted + preempted,
        stalled=0 if preempted else claim.stalled,
        spent=claim.counted(),
        counted_to=None,
        nonce=None,
        job=claim.job if requeued else None,
        logs=claim.logs if requeued else None,
        refused=0,
        waits=None,
        stuck_since=None,
        expires_at=now + timedelta(seconds=lifetime),
        started_at=now,
        error=error,
    )
    return evolve(record, training=taken, fence=max(record.fence, taken.fence))


def _unchanged(record: JobsRecord, claim: Claim) -> None:
    if record.training != claim:
        raise ClaimLost(f"run {claim.run_id} was taken over by somebody else, or lives again")
