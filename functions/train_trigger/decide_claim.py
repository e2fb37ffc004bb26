"""Decides what an active run needs, from its claim and what the launcher says of its job. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from functions.train_trigger.decide import SKEW, Nothing, Policy, Wait
from functions.train_trigger.launchers import JobStatus
from shared.state.jobs_record import Claim

_FIRST_PAUSE, _LONGEST_PAUSE = 5, 600  # seconds
_LONGEST_STUCK = timedelta(minutes=10)  # how long a job may wait for a correction before it is launched anew
_MAX_STALLED = 4
"""Machines may end so many times LABELLOOP_ATTEMPTS attempts in a row before an epoch is done; then the run fails."""


@dataclass(frozen=True, slots=True)
class Extend:
    """Extend the claim: the launcher knows the job, and the claim expired or does not say yet why the job waits."""


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """Start the next attempt of the run."""

    error: str  # how the last attempt ended
    preempted: bool = False  # the last one got further and was killed: that is no failure of the run


@dataclass(frozen=True, slots=True)
class Requeue:
    """The target itself put the job back into its queue (Kueue): when the job starts again, it is the next attempt."""

    error: str  # how the last attempt ended
    preempted: bool = False  # as for NextAttempt


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The job did not begin and will not: stop what is left of it, and count its launch as refused."""

    error: str  # why


@dataclass(frozen=True, slots=True)
class RetryLaunch:
    """Launch the same attempt again: its launch was refused or withdrawn."""

    error: str  # why it was refused


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the run as failed."""

    error: str


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

    `job`: the launcher's answer; None: it was not asked, or the claim names no job. `forced`: a person asked, so a
    refused launch is tried again without a pause. `kept_an_epoch`: this attempt left a checkpoint of its own; then a
    kill without notice does not count against the run, as a stop with notice (SIGTERM) does not.
    """
    expired = has_expired(claim, policy, now)
    if claim.state == "launching" and claim.refused:
        return _decide_refused(claim, now, expired=expired, forced=forced)
    state = job.state if job else None
    if job and claim.state != "running" and (error := _never_began(claim, job, now)):
        return Withdraw(error)
    requeued = expired and state == "queued" and claim.state == "running"
    if job and state in ("queued", "running") and not requeued:
        if not expired and not _reason_is_new(claim, job):
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
    again = last_sign + pause_after(max(failures + stalled, 1)) if last_sign <= now + SKEW else now
    return NextAttempt(error, preempted=preempted) if now >= again else Wait(again, error)


def has_expired(claim: Claim, policy: Policy, now: datetime) -> bool:
    """Whether a claim has expired, or expires later than anybody can have claimed, so that its time says nothing."""
    longest = max(policy.running_lifetime, policy.launching_lifetime)
    return now >= claim.expires_at or claim.expires_at > now + longest + SKEW


def ended(claim: Claim, job: JobStatus | None) -> bool:
    """Whether the launcher says that the attempt has ended, even if its claim has not expired."""
    # While a job runs, `finished` may be said of a second copy of it, which ends at once.
    state = job.state if job else None
    return state in ("failed", "refused", "gone") or (state == "finished" and claim.state != "running")


def killed(claim: Claim) -> bool:
    """Whether an attempt that has ended gave no notice: it got SIGKILL, or its machine was taken away."""
    return claim.state == "running" and claim.nonce is not None


def _never_began(claim: Claim, job: JobStatus, now: datetime) -> str:
    """Why the job is not going to begin, so that the attempt has to be launched again; empty if it may begin."""
    if job.state == "refused":
        return job.why or "the job ended before it began"
    if job.state == "queued" and job.stuck and (since := claim.stuck_since):
        long_ago = now >= since + _LONGEST_STUCK or since > now + SKEW  # or a clock was wrong
        return (job.why or "the job cannot start") if long_ago else ""
    return ""


def _reason_is_new(claim: Claim, job: JobStatus) -> bool:
    """Whether the claim does not say yet what the launcher says about why the job waits."""
    waits, stuck = (job.why or None, job.stuck) if job.state == "queued" else (None, False)
    return claim.state != "running" and (waits, stuck) != (claim.waits, claim.stuck_since is not None)


def _decide_refused(claim: Claim, now: datetime, *, expired: bool, forced: bool) -> Nothing | Wait | RetryLaunch:
    if not expired:
        return Nothing(f"run {claim.run_id} is being launched")
    error = claim.error or "the launcher refused"
    again = claim.expires_at + pause_after(claim.refused) if claim.expires_at <= now else now  # else a clock was wrong
    return RetryLaunch(error) if forced or now >= again else Wait(again, error)


def pause_after(attempt: int) -> timedelta:
    """The pause before the next attempt or launch: 5 s after the first one that failed, then 20, 80 … at most 600 s."""
    return timedelta(seconds=min(_FIRST_PAUSE * 4 ** (attempt - 1), _LONGEST_PAUSE))
