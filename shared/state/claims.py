"""Claims: the right to run for a project, from the decision to train to the end of the run.

    take        a new run                    no claim → launching
    start       the first act of its job     launching or queued → running, with a nonce of the job's process
    renew       while the job runs           the claim expires later
    interrupt   the attempt cannot go on     running without a nonce, expired: the next attempt may begin
    release     the run has ended            no claim; outcome and baseline are recorded
    stop        somebody ends the run        no claim, whatever its job does; changes are counted from now on
    next_fence  a rollback                   a fence above those of all runs until now

What happens between `take` and `start`, and after an attempt ended, is in `launches`; the fields beside the claim are
changed by `jobs_fields`. All of these are pure functions of (record, now) that answer the record to write into
`jobs.json`, or None if nothing is to be written. `Jobs.update` writes it. It may call them again with a newer record,
even with the one that their own write made, if the answer to that write was lost.

Fences grow in steps: a new claim and a rollback take the next thousand, a further attempt of a run the next number. So
the fence of a rollback is greater than those of all attempts, also later ones, of a run that was active when it
happened, and none of them can undo it.
"""

from datetime import datetime, timedelta

from shared.errors import ClaimLost
from shared.evolve import evolve
from shared.state import budget, outbox
from shared.state.jobs_record import PRELABEL, STOPPED, Claim, JobsRecord, LastRun, RunKind, RunOutcome
from shared.state.notices import added
from shared.state.runs import Baseline, Totals

_FENCE_STEP = 1000


def take(
    record: JobsRecord,
    now: datetime,
    run_id: str,
    *,
    lifetime: float,
    kind: RunKind = "train",
    model_version: str = "",
    under: str = "",
    workers: int = 1,
    registry_fence: int = 0,
    forced: bool = False,
    decided_on: JobsRecord | None = None,
    trace: str = "",
    price: str = "",
) -> JobsRecord | None:
    """Claim the project for a new run. None if there is a claim already, even an expired one (see `next_attempt`).

    If that claim is of kind base, a training that a person asked for (`forced`) is recorded as the next run.
    `lifetime`: seconds. `registry_fence`: the greatest fence of the project's pointers. `decided_on`: the record on
    which the run was decided; ClaimLost is raised if another run began and ended since then. None: do not check.
    `trace`: the W3C traceparent for the job. `price`, `under`: as in the claim.
    """
    if record.training is not None:
        waits = forced and kind == "train" and record.training.kind == "base" and record.next_run is None
        return evolve(record, next_run=run_id) if waits else None
    if decided_on and (record.baseline, record.last_run) != (decided_on.baseline, decided_on.last_run):
        raise ClaimLost("another run began and ended meanwhile")
    fence = _next_step(max(record.fence, registry_fence))
    claim = Claim(
        run_id=run_id,
        kind=kind,
        model_version=model_version,
        under=under,
        workers=workers,
        state="launching",
        fence=fence,
        attempt=1,
        expires_at=now + timedelta(seconds=lifetime),
        started_at=now,
        forced=forced,
        trace=trace,
        price=price,
    )
    return evolve(record, training=claim, fence=fence, next_run=None if kind == "train" else record.next_run)


def start(record: JobsRecord, now: datetime, run_id: str, *, nonce: str, lifetime: float) -> JobsRecord | None:
    """Let a job begin, also if its claim has expired and nobody took it over. This is the first thing a job does.

    `lifetime`: seconds. Raises ClaimLost if another process runs the attempt or ran it, or if the run has ended.
    """
    current = record.training
    if current is None or current.run_id != run_id:
        raise ClaimLost(f"run {run_id} has ended or was replaced")
    if current.state == "running":
        if current.nonce == nonce:
            return None
        raise ClaimLost(f"another process runs {run_id}, or its last one was interrupted")
    started = evolve(
        current,
        state="running",
        nonce=nonce,
        started_at=now,
        counted_to=now,
        expires_at=now + timedelta(seconds=lifetime),
        refused=0,
        error=None if current.refused else current.error,
        waits=None,
        stuck_since=None,
    )
    return evolve(record, training=started)


def renew(record: JobsRecord, now: datetime, claim: Claim, *, lifetime: float, longest_run: float) -> JobsRecord:
    """Extend a running claim by `lifetime` seconds, at most to `longest_run + lifetime` after the job's start.

    The time since the last renewal is counted as used.

    Raises ClaimLost if the claim is not ours any more, or the job took longer than that.
    """
    current = _ours(record, claim)
    latest = claim.started_at + timedelta(seconds=longest_run + lifetime)
    if now >= latest:
        raise ClaimLost(f"run {claim.run_id} took longer than {longest_run:.0f} s, the longest run allowed")
    renewed = evolve(current, expires_at=min(now + timedelta(seconds=lifetime), latest), counted_to=now)
    return evolve(record, training=renewed, used=_used(record, current, now))


def interrupt(
    record: JobsRecord, now: datetime, claim: Claim, error: str, *, preempted: bool = False, got_further: bool = False
) -> JobsRecord | None:
    """Let the claim of an attempt that cannot go on expire now, so that the next sweep starts the next attempt.

    The claim loses its nonce, so that a renewal under way does not extend it. `preempted`: the machine ended the
    attempt, which does not count against the run. `got_further`: it left a checkpoint of its own. Raises ClaimLost if
    the claim is another attempt's.
    """
    current = record.training
    if current and (current.state, current.fence, current.nonce) == ("running", claim.fence, None):
        return None  # our own earlier write, whose answer was lost
    ours = _ours(record, claim)
    interrupted = evolve(
        ours,
        nonce=None,
        expires_at=now,
        counted_to=now,
        error=error,
        preempted=ours.preempted + preempted,
        stalled=0 if got_further else ours.stalled + preempted,
    )
    return evolve(record, training=interrupted, used=_used(record, ours, now))


def release(
    record: JobsRecord,
    now: datetime,
    claim: Claim,
    *,
    outcome: RunOutcome,
    baseline: Baseline | None = None,
    message: str = "",
    suspects: int = 0,
    silent: bool = False,
) -> JobsRecord | None:
    """End the run: remove its claim, record its outcome and baseline, and add the notices that people get of it.

    `baseline`: None keeps the old one. A run that failed keeps it too, so the changes that it was for stay due.
    `silent`: nobody knows when the job ended; its time counts until its last renewal. Raises ClaimLost if the claim is
    not the run's any more.
    """
    last = record.last_run
    if last and last.run_id == claim.run_id and last.outcome != STOPPED:
        return None  # our own earlier write, whose answer was lost
    ours = _ours(record, claim)
    failures, kept = 0, baseline or record.baseline
    if outcome == "failed":
        failures, kept = (last.failures if last else 0) + 1, record.baseline
    ended = LastRun(
        run_id=claim.run_id,
        kind=ours.kind,
        model_version=ours.model_version,
        outcome=outcome,
        ended_at=now,
        message=message,
        suspects=suspects,
        failures=failures,
        seconds=round(ours.counted(None if silent else now) * ours.workers, 3),
        price=ours.price,
    )
    used = record.used if silent else _used(record, ours, now)
    notices = added(record.notices, now, *outbox.of_run(ended))
    return evolve(record, training=None, baseline=kept, last_run=ended, used=used, notices=notices)


def stop(
    record: JobsRecord, now: datetime, run_id: str, message: str, *, held: tuple[Totals, datetime] | None = None
) -> JobsRecord | None:
    """End a run because somebody wants it to end. Its job finds the claim gone and publishes nothing.

    `held`: what Label Studio holds now, and when that was read. For a training it becomes what changes are counted
    from, so that the next one does not begin at once; the digest stays that of the last run that read all, so that it
    learns from everything. None: what is there stays due. Raises ClaimLost if the run has ended by itself.
    """
    last, claim = record.last_run, record.training
    if last and (last.run_id, last.outcome) == (run_id, STOPPED):
        return None  # our own earlier write, whose answer was lost
    if claim is None or claim.run_id != run_id:
        raise ClaimLost(f"run {run_id} has ended")
    baseline = record.baseline
    if held is not None and claim.kind == "train":
        totals, read_at = held
        baseline = evolve(baseline or Baseline(totals=totals, read_at=read_at), totals=totals, read_at=read_at)
    silent = now >= claim.expires_at
    ended = release(record, now, claim, outcome=STOPPED, baseline=baseline, message=message, silent=silent)
    return ended if ended is None or claim.kind == PRELABEL else evolve(ended, next_run=None)


def next_fence(record: JobsRecord, _now: datetime, registry_fence: int) -> JobsRecord:
    """Take a new fence, for a rollback (`registry_fence` as for `take`): an active run cannot undo it."""
    return evolve(record, fence=_next_step(max(record.fence, registry_fence)))


def _ours(record: JobsRecord, claim: Claim) -> Claim:
    """The stored claim, if it is still that of the process which holds `claim`. Raises ClaimLost."""
    current = record.training
    held = current and (current.run_id, current.fence, current.nonce)
    if current is None or held != (claim.run_id, claim.fence, claim.nonce):
        if record.last_run and (record.last_run.run_id, record.last_run.outcome) == (claim.run_id, STOPPED):
            raise ClaimLost(f"run {claim.run_id} was stopped {record.last_run.message}")
        raise ClaimLost(f"run {claim.run_id} (attempt {claim.attempt}) lost its claim to another one")
    return current


def _used(record: JobsRecord, current: Claim, now: datetime) -> dict[str, float]:
    """What jobs have used, with the time of the running attempt until now, of all its workers."""
    return budget.added(record.used, current.counted_to or now, now, jobs=current.workers)


def _next_step(fence: int) -> int:
    """The smallest multiple of 1000 above `fence`."""
    return (fence // _FENCE_STEP + 1) * _FENCE_STEP
