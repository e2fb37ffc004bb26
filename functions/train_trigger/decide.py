"""Whether a project needs a training, and what an active run needs. Pure: values in, decision out."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from functions.train_trigger.launchers import JobStatus
from shared.settings import Settings
from shared.state.jobs_record import Claim, JobsRecord
from shared.state.runs import Baseline, Totals

_LAUNCHING_LIFETIME = 120.0  # seconds that a launched job may take to start before the launcher is asked about it
_FIRST_PAUSE, _LONGEST_PAUSE = 5, 600  # seconds
_SKEW = timedelta(minutes=5)
"""What clocks of one server's machines may differ by. A moment further ahead was written while a clock was wrong: it
says nothing about how long ago that is."""
_FIRST_COOL_DOWN, _LONGEST_COOL_DOWN = timedelta(minutes=10), timedelta(days=1)
_LONGEST_STUCK = timedelta(minutes=10)  # that a job may wait for a correction before it is launched anew
_MAX_STALLED = 4
"""A run is given up when machines ended so many times its attempts, one after the other, before an epoch was done."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When to train; per-project overrides are applied."""

    min_annotations: int  # annotated tasks
    min_changes: int  # annotations
    cool_down: timedelta
    longest_run: timedelta
    attempts: int
    running_lifetime: timedelta  # of the claim of a job that renews it
    launching_lifetime: timedelta  # of the claim of a job that has not started

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """What the operator set, and the project within these limits (`shared.state.projects.with_overrides`)."""
        return cls(
            min_annotations=settings.min_annotations,
            min_changes=settings.min_changes,
            cool_down=timedelta(seconds=settings.cool_down),
            longest_run=timedelta(seconds=settings.longest_run),
            attempts=settings.attempts,
            running_lifetime=timedelta(seconds=settings.claim_lifetime),
            launching_lifetime=timedelta(seconds=min(settings.claim_lifetime, _LAUNCHING_LIFETIME)),
        )


@dataclass(frozen=True, slots=True)
class Nothing:
    """All is as it should be."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Something is due, but not before `until`."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Launch:
    """Start a run."""

    reason: str


@dataclass(frozen=True, slots=True)
class Extend:
    """The launcher knows the job, only its claim grew old, or says something new of why it waits."""


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """Start the next attempt of the run."""

    error: str  # how the last one ended
    preempted: bool = False  # it got further and was killed: no failure of the run


@dataclass(frozen=True, slots=True)
class Requeue:
    """The target itself put the job back into its queue (Kueue): when it starts anew, it is the next attempt."""

    error: str  # how the last one ended
    preempted: bool = False


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The job never began and will not: stop what is left of it, and count its launch as refused."""

    error: str  # why


@dataclass(frozen=True, slots=True)
class RetryLaunch:
    """Try the launch of this attempt again, which came to nothing."""

    error: str  # what it said


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the run as failed."""

    error: str


def decide_before_asking(record: JobsRecord, policy: Policy, now: datetime, *, forced: bool) -> Nothing | Wait | None:
    """What can be said without Label Studio's numbers; None if they are needed."""
    if record.closed:
        return Nothing("the project is closed")
    if record.training is not None:
        return Nothing(f"run {record.training.run_id} is active")
    last = record.last_run
    if last is None or forced:
        return None
    if last.outcome == "failed":
        pause = max(policy.cool_down, cool_down_after(last.failures))
        reason = f"run {last.run_id} failed, {max(last.failures, 1)} in a row: its changes are due after {pause}"
    else:
        pause, reason = policy.cool_down, f"run {last.run_id} ended ({last.outcome}) a short while ago"
    known = last.ended_at <= now + _SKEW
    return Wait(last.ended_at + pause, reason) if known and now < last.ended_at + pause else None


def decide(
    record: JobsRecord, totals: Totals, changed_tasks: int, policy: Policy, now: datetime, *, forced: bool
) -> Nothing | Wait | Launch:
    """Whether to start a run.

    `totals` are Label Studio's counters now; `changed_tasks` counts the annotated tasks that were updated since the
    baseline was read. The counters miss an update, and a deletion followed by a new annotation; the tasks miss a
    deletion: the greater of both counts. `forced` (a person asked) skips thresholds and cool-down. The baseline is that
    of the last run that did not fail: what a failed one was started for is due until a run has read it.
    """
    early = decide_before_asking(record, policy, now, forced=forced)
    if early is not None:
        return early
    # Label Studio leaves tasks with ground truths alone out of its count, and imported annotations are ground truths.
    annotated = totals.num_tasks_with_annotations + totals.ground_truth_number
    if annotated == 0:
        return Nothing("nothing is annotated yet")
    if forced:
        return Launch("a person asked for it")
    if record.baseline is None:
        if annotated < policy.min_annotations:
            return Nothing(f"{annotated} of {policy.min_annotations} annotated tasks for the first training")
        return Launch(f"{annotated} annotated tasks, first training")
    difference = totals.total_annotations_number - record.baseline.totals.total_annotations_number
    changes = max(abs(difference), changed_tasks)
    if changes < policy.min_changes:
        return Nothing(f"{changes} of {policy.min_changes} changes since the last run")
    return Launch(f"{changes} changes since the last run")


def changed_since(baseline: Baseline, now: datetime) -> datetime:
    """From when on a task's update is a change that the last run did not see. Both are Label Studio's clock.

    A baseline of a moment that is still to come was read while that clock was wrong: then all tasks count, and the run
    that they start finds by their digest what changed.
    """
    return baseline.read_at if baseline.read_at <= now + _SKEW else datetime.fromtimestamp(0, UTC)


def decide_claim(
    claim: Claim,
    job: JobStatus | None,
    policy: Policy,
    now: datetime,
    *,
    forced: bool = False,
    kept_an_epoch: bool = False,
) -> Nothing | Wait | Extend | NextAttempt | Requeue | Withdraw | RetryLaunch | GiveUp:
    """What an active run needs.

    `job` is the launcher's answer; None: it was not asked, or the claim names no job. `forced`: a person asked, so a
    launch that was refused is tried again without a pause. `kept_an_epoch`: this attempt left a checkpoint of its own;
    then one that was killed without a word does not count against the run, as one that was told to stop does not.
    """
    expired = has_expired(claim, policy, now)
    if claim.state == "launching" and claim.refused:
        return _decide_refused(claim, now, expired=expired, forced=forced)
    state = job.state if job else None
    if job and claim.state != "running" and (error := _never_began(claim, job, now)):
        return Withdraw(error)
    requeued = expired and state == "queued" and claim.state == "running"
    if job and state in ("queued", "running") and not requeued:
        if not expired and not _waits_otherwise(claim, job):
            return Nothing(f"run {claim.run_id} is active")
        if state == "running" and now >= claim.started_at + policy.longest_run + policy.running_lifetime:
            return GiveUp(f"the run stopped renewing its claim and is still there after {policy.longest_run}")
        return Extend()
    if not (expired or ended(claim, job)):
        return Nothing(f"run {claim.run_id} is active")
    if state == "unknown" and now < claim.expires_at + policy.running_lifetime:
        return Wait(claim.expires_at + policy.running_lifetime, "the launcher cannot say what became of the job")
    word = (job.why or job.state) if job else "claim expired"
    error = claim.error or f"attempt {claim.attempt} ended without a word ({word})"
    preempted = kept_an_epoch and killed(claim)
    failures = claim.attempt - claim.preempted - preempted
    if failures >= policy.attempts:
        return GiveUp(f"{error}; that was attempt {failures} of {policy.attempts}")
    stalled = 0 if preempted else claim.stalled
    if stalled >= _MAX_STALLED * policy.attempts:
        return GiveUp(f"{error}; a machine was taken away {stalled} times in a row before an epoch was done")
    total = claim.has_run(now)
    if total >= policy.attempts * policy.longest_run:
        return GiveUp(f"{error}; all {claim.attempt} attempts ran for {total}, {policy.attempts} times the longest run")
    if requeued:
        return Requeue(error, preempted=preempted)
    lifetime = policy.running_lifetime if claim.state == "running" else policy.launching_lifetime
    last_sign = claim.expires_at if expired else claim.expires_at - lifetime
    again = last_sign + pause_after(max(failures + stalled, 1)) if last_sign <= now + _SKEW else now
    return NextAttempt(error, preempted=preempted) if now >= again else Wait(again, error)


def has_expired(claim: Claim, policy: Policy, now: datetime) -> bool:
    """Whether the time of a claim is over, or cannot be told: it is longer than anybody claims."""
    longest = max(policy.running_lifetime, policy.launching_lifetime)
    return now >= claim.expires_at or claim.expires_at > now + longest + _SKEW


def ended(claim: Claim, job: JobStatus | None) -> bool:
    """Whether the launcher's answer says that the attempt is over, also while its claim has not expired."""
    # A second copy of a launch finishes at once, while the first runs and renews.
    state = job.state if job else None
    return state in ("failed", "refused", "gone") or (state == "finished" and claim.state != "running")


def killed(claim: Claim) -> bool:
    """Whether an attempt that is over gave no notice of its end: SIGKILL, or its machine was taken away."""
    return claim.state == "running" and claim.nonce is not None


def _never_began(claim: Claim, job: JobStatus, now: datetime) -> str:
    """Why the attempt has to be launched anew; empty: it has not."""
    if job.state == "refused":
        return job.why or "the job ended before it began"
    if job.state == "queued" and job.stuck and claim.stuck_since and now >= claim.stuck_since + _LONGEST_STUCK:
        return job.why or "the job cannot start"
    return ""


def _waits_otherwise(claim: Claim, job: JobStatus) -> bool:
    """Whether what the launcher says of a job that waits is not yet in its claim."""
    waits, stuck = (job.why or None, job.stuck) if job.state == "queued" else (None, False)
    return claim.state != "running" and (waits, stuck) != (claim.waits, claim.stuck_since is not None)


def _decide_refused(claim: Claim, now: datetime, *, expired: bool, forced: bool) -> Nothing | Wait | RetryLaunch:
    if not expired:
        return Nothing(f"run {claim.run_id} is being launched")
    error = claim.error or "the launcher refused"
    again = claim.expires_at + pause_after(claim.refused) if claim.expires_at <= now else now  # that clock was wrong
    return RetryLaunch(error) if forced or now >= again else Wait(again, error)


def pause_after(attempt: int) -> timedelta:
    """How long to wait after the last sign of an attempt, or the last refusal of its launch, before the next."""
    return timedelta(seconds=min(_FIRST_PAUSE * 4 ** (attempt - 1), _LONGEST_PAUSE))


def cool_down_after(failures: int) -> timedelta:
    """How long after a failed run its changes are due again; `failures` in a row, 0: it was not counted."""
    growth: int = 4 ** min(max(failures, 1) - 1, 10)
    return min(_FIRST_COOL_DOWN * growth, _LONGEST_COOL_DOWN)
