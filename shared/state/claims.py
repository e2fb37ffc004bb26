"""Every change of a project's `jobs.json`: pure functions of (record, now), which answer the record to write.

    take            a new run             no claim → launching
    record_job      launcher accepted     launching → queued
    start           first act of the job  launching or queued → running, with a nonce of the job's process
    renew, extend   it goes on            the claim expires later
    refuse          launcher refused      the claim expires now
    withdraw        job never began       queued → launching, expired
    retry_launch    after both            the same attempt is launched again
    interrupt       attempt cannot go on  running without a nonce, expired
    next_attempt    attempt has ended     → launching (queued if the target launches it again by itself)
    release         run has ended         no claim; outcome and baseline are recorded
    stop            somebody ends the run no claim, whatever its job does; what is annotated counts from now on
    next_fence, lower_val_border, close, reopen, forget_next, look_again, go_on, forget_written: the fields beside the
                                          claim

They answer None if nothing is to be written. `Jobs.update` writes what they answer; it may call them again, with a
newer record, also with the one that their own write made if its answer was lost.

Fences grow in steps: a new claim and a rollback take the next thousand, a further attempt of a run the next number. So
the fence of a rollback is greater than those of all attempts, also later ones, of a run that was active when it
happened, and none of them can undo it.
"""

from datetime import datetime, timedelta

from shared.errors import ClaimLost
from shared.evolve import evolve
from shared.state import budget
from shared.state.jobs_record import PRELABEL, STOPPED, Claim, JobsRecord, LastRun, RunKind, RunOutcome
from shared.state.notices import FAILED, PROMOTED, REJECTED, SUSPECTS, Notice, added
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
    workers: int = 1,
    registry_fence: int = 0,
    forced: bool = False,
    decided_on: JobsRecord | None = None,
    trace: str = "",
) -> JobsRecord | None:
    """Claim the training for a new run, unless there is a claim (an expired one is for `next_attempt`).

    If that is of kind base, a training that a person asked for (`forced`) is noted as the next run.
    `lifetime` in seconds. `registry_fence`: the greatest fence of the project's pointers. `decided_on`: the record that
    the decision to train was made on; None: it does not matter. Raises ClaimLost if a run began and ended since then.
    `trace`: traceparent for the job.
    """
    if record.training is not None:
        waits = forced and kind == "train" and record.training.kind == "base" and record.next_run is None
        return evolve(record, next_run=run_id) if waits else None
    if decided_on and (record.baseline, record.last_run) != (decided_on.baseline, decided_on.last_run):
        raise ClaimLost("somebody else decided first")
    fence = _next_step(max(record.fence, registry_fence))
    claim = Claim(
        run_id=run_id,
        kind=kind,
        model_version=model_version,
        workers=workers,
        state="launching",
        fence=fence,
        attempt=1,
        expires_at=_after(now, lifetime),
        started_at=now,
        forced=forced,
        trace=trace,
    )
    return evolve(record, training=claim, fence=fence, next_run=None if kind == "train" else record.next_run)


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
    """Make the next attempt out of an expired or ended one. The caller has asked the launcher: its job is not running.

    `lifetime` in seconds. `error`: how the old attempt ended. `preempted`: it got further than the one before and was
    killed, which does not count against the run. `requeued`: the target starts its job again, as the next attempt;
    otherwise the caller launches a job. Raises ClaimLost if the claim has changed: somebody else was first, or the
    attempt lives again.
    """
    _unchanged(record, claim)
    taken = evolve(
        claim,
        state="queued" if requeued else "launching",
        fence=claim.fence + 1,
        attempt=claim.attempt + 1,
        preempted=claim.preempted + preempted,
        stalled=0 if preempted else claim.stalled,
        spent=claim.has_run(now).total_seconds(),
        counted_to=None,
        nonce=None,
        job=claim.job if requeued else None,
        logs=claim.logs if requeued else None,
        refused=0,
        waits=None,
        stuck_since=None,
        expires_at=_after(now, lifetime),
        started_at=now,
        error=error,
    )
    return evolve(record, training=taken, fence=max(record.fence, taken.fence))


def refuse(record: JobsRecord, now: datetime, claim: Claim, error: str) -> JobsRecord | None:
    """The launcher refused a job: the claim expires at once. Raises ClaimLost if the job started nevertheless."""
    refused = evolve(claim, expires_at=now, refused=claim.refused + 1, error=error)
    if record.training and evolve(record.training, expires_at=now) == refused:
        return None  # our own earlier write, whose answer was lost
    _unchanged(record, claim)
    return evolve(record, training=refused)


def withdraw(record: JobsRecord, now: datetime, claim: Claim, error: str) -> JobsRecord:
    """The job ended, or was stopped, before it began: as if its launch had been refused. Raises ClaimLost if not."""
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
    return evolve(record, training=evolve(claim, expires_at=_after(now, lifetime), started_at=now))


def record_job(
    record: JobsRecord, _now: datetime, claim: Claim, job: str, *, logs: str | None = None
) -> JobsRecord | None:
    """Note the launcher's reference to the job and where its log is. A job that runs already stays running."""
    current = record.training
    if current is None or (current.run_id, current.attempt) != (claim.run_id, claim.attempt):
        return None
    state = "queued" if current.state == "launching" else current.state
    error = None if current.refused else current.error
    return evolve(record, training=evolve(current, state=state, job=job, logs=logs, error=error))


def start(record: JobsRecord, now: datetime, run_id: str, *, nonce: str, lifetime: float) -> JobsRecord | None:
    """The first act of a job, also if its claim has expired meanwhile and nobody took it over.

    `lifetime` in seconds. Raises ClaimLost if another process runs the attempt or ran it, or if the run has ended.
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
        expires_at=_after(now, lifetime),
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
    latest = _after(claim.started_at, longest_run + lifetime)
    if now >= latest:
        raise ClaimLost(f"run {claim.run_id} took longer than {longest_run:.0f} s, the longest run allowed")
    renewed = evolve(current, expires_at=min(_after(now, lifetime), latest), counted_to=now)
    return evolve(record, training=renewed, used=_used(record, current, now))


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
        expires_at=_after(now, lifetime),
        started_at=now if waiting else claim.started_at,
        waits=(waiting and why) or None,
        stuck_since=(claim.stuck_since or now) if waiting and stuck else None,
    )
    return evolve(record, training=extended)


def interrupt(
    record: JobsRecord, now: datetime, claim: Claim, error: str, *, preempted: bool = False, got_further: bool = False
) -> JobsRecord | None:
    """An attempt that cannot go on lets its claim expire at once, so that the next sweep starts the next attempt.

    The claim loses its nonce, so that a renewal under way does not revive it. `preempted`: the machine ended the
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
    """End the run: no claim; its outcome, its baseline and what people are to be told of it are recorded.

    `baseline`: None keeps the old one, and so does a run that failed: the changes that it was for stay due. `silent`:
    nobody knows when the job ended, so it has used what it ran until its last renewal.
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
        seconds=ours.has_run(ours.counted_to or now if silent else now).total_seconds() * ours.workers,
    )
    used = record.used if silent else _used(record, ours, now)
    notices = added(record.notices, now, *_told(ended))
    return evolve(record, training=None, baseline=kept, last_run=ended, used=used, notices=notices)


def stop(
    record: JobsRecord, now: datetime, run_id: str, message: str, *, held: tuple[Totals, datetime] | None = None
) -> JobsRecord | None:
    """End a run because somebody wants it to end; its job finds its claim gone, and publishes nothing any more.

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


def go_on(record: JobsRecord, _now: datetime) -> JobsRecord | None:
    """A person wants again what somebody stopped, or what failed and waits: the last run is forgotten."""
    last = record.last_run
    return evolve(record, last_run=None) if last and last.outcome in (STOPPED, "failed") else None


def next_fence(record: JobsRecord, _now: datetime, registry_fence: int) -> JobsRecord:
    """Take a new fence, for a rollback (`registry_fence` as for `take`): an active run cannot undo it."""
    return evolve(record, fence=_next_step(max(record.fence, registry_fence)))


def lower_val_border(record: JobsRecord, _now: datetime, border: float) -> JobsRecord | None:
    """Record the border (0–1) below which images are for validation, if it is lower than before: it never rises."""
    lower = record.val_border is None or border < record.val_border
    return evolve(record, val_border=border) if lower else None


def forget_next(record: JobsRecord, _now: datetime) -> JobsRecord | None:
    """The training that a person asked for cannot begin any more: nothing is annotated, for example."""
    return None if record.next_run is None else evolve(record, next_run=None)


def look_again(record: JobsRecord, _now: datetime) -> JobsRecord | None:
    """The next prelabelling looks at all tasks, whatever the last one wrote, and shows its version."""
    done = record.prelabelled
    return evolve(record, prelabelled=evolve(done, through=0)) if done and done.through else None


def forget_written(record: JobsRecord, _now: datetime) -> JobsRecord | None:
    """Somebody removed what was written ahead."""
    return evolve(record, prelabelled=None) if record.prelabelled else None


def close(record: JobsRecord, _now: datetime) -> JobsRecord | None:
    """Label Studio says that the project is gone: nothing is started for it until `reopen`."""
    return None if record.closed else evolve(record, closed=True)


def reopen(record: JobsRecord, _now: datetime) -> JobsRecord | None:
    """Label Studio has the project again."""
    return evolve(record, closed=False) if record.closed else None


def _ours(record: JobsRecord, claim: Claim) -> Claim:
    current = record.training
    held = current and (current.run_id, current.fence, current.nonce)
    if current is None or held != (claim.run_id, claim.fence, claim.nonce):
        if record.last_run and (record.last_run.run_id, record.last_run.outcome) == (claim.run_id, STOPPED):
            raise ClaimLost(f"run {claim.run_id} was stopped {record.last_run.message}")
        raise ClaimLost(f"run {claim.run_id} (attempt {claim.attempt}) lost its claim to another one")
    return current


def _told(ended: LastRun) -> tuple[Notice, ...]:
    """What people are told of a run that has ended."""
    if ended.outcome not in (PROMOTED, REJECTED, FAILED):
        return ()
    told = Notice(
        id=f"{ended.run_id}-{ended.outcome}",
        event=ended.outcome,
        at=ended.ended_at,
        message=ended.message,
        run_id=ended.run_id,
        kind=ended.kind,
    )
    if not ended.suspects:
        return (told,)
    count = "1 annotation is" if ended.suspects == 1 else f"{ended.suspects} annotations are"
    listed = evolve(
        told,
        id=f"{ended.run_id}-{SUSPECTS}",
        event=SUSPECTS,
        message=f"{count} worth a look: `labelloop suspects`, or the page",
        count=ended.suspects,
    )
    return told, listed


def _used(record: JobsRecord, current: Claim, now: datetime) -> dict[str, float]:
    """What jobs have used, with the time of the running attempt until now, of all its workers."""
    return budget.added(record.used, current.counted_to or now, now, jobs=current.workers)


def _unchanged(record: JobsRecord, claim: Claim) -> None:
    if record.training != claim:
        raise ClaimLost(f"run {claim.run_id} was taken over by somebody else, or lives again")


def _after(moment: datetime, seconds: float) -> datetime:
    return moment + timedelta(seconds=seconds)


def _next_step(fence: int) -> int:
    return (fence // _FENCE_STEP + 1) * _FENCE_STEP
