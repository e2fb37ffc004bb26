"""Decides whether a project needs a training, and what an active run needs. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from functions.train_trigger.launchers import JobStatus
from functions.train_trigger.schedule import Schedule
from shared.settings import Settings
from shared.state.budget import Limit
from shared.state.jobs_record import PRELABEL, STOPPED, Claim, JobsRecord, RunKind
from shared.state.runs import Baseline, Totals
from shared.state.servable import Lack

_LAUNCHING_LIFETIME = 120.0  # seconds that a launched job may take to start before the launcher is asked about it
_FIRST_PAUSE, _LONGEST_PAUSE = 5, 600  # seconds
_SKEW = timedelta(minutes=5)
"""How far the clocks of one server's machines may differ. A stored moment that is further in the future was written
while a clock was wrong, and says nothing about how long ago it was."""
_FIRST_COOL_DOWN, _LONGEST_COOL_DOWN = timedelta(minutes=10), timedelta(days=1)
_LONGEST_STUCK = timedelta(minutes=10)  # how long a job may wait for a correction before it is launched anew
_MAX_STALLED = 4
"""Machines may end so many times LABELLOOP_ATTEMPTS attempts in a row before an epoch is done; then the run fails."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When to train, for one project."""

    schedule: Schedule
    cool_down: timedelta  # between the end of a run and the start of the next
    longest_run: timedelta  # all attempts of a run together
    attempts: int  # of one run that may fail
    running_lifetime: timedelta  # of the claim of a job that renews it
    launching_lifetime: timedelta  # of the claim of a job that has not started

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """As the settings say, the project's overrides applied (`shared.state.projects.with_overrides`)."""
        return cls(
            schedule=Schedule(settings.min_annotations, settings.changed_share),
            cool_down=timedelta(seconds=settings.cool_down),
            longest_run=timedelta(seconds=settings.longest_run),
            attempts=settings.attempts,
            running_lifetime=timedelta(seconds=settings.claim_lifetime),
            launching_lifetime=timedelta(seconds=min(settings.claim_lifetime, _LAUNCHING_LIFETIME)),
        )


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing is to be done."""

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
    kind: RunKind = "train"
    model_version: str = ""  # of the predictions that a prelabelling is to write


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


def decide_before_asking(record: JobsRecord, policy: Policy, now: datetime, *, forced: bool) -> Nothing | Wait | None:
    """The decision if it can be made without asking Label Studio; None if not."""
    if record.closed:
        return Nothing("the project is closed")
    if record.training is not None:
        return Nothing(f"run {record.training.run_id} is active")
    pause = None if forced else pause_after_last(record, policy, now)
    failed = record.last_run is not None and record.last_run.outcome == "failed"
    small = record.baseline is not None and policy.schedule.is_small(annotated_tasks(record.baseline.totals))
    return None if small and not failed else pause  # a small project that has doubled does not wait


def decide(
    record: JobsRecord, totals: Totals, changed_tasks: int, policy: Policy, now: datetime, *, forced: bool
) -> Nothing | Wait | Launch:
    """Whether to start a run.

    `totals`: Label Studio's counters now. `changed_tasks`: annotated tasks that were updated since the baseline was
    read. The number of changes is the greater of what both say: counters do not show an update, nor a deletion followed
    by a new annotation; changed tasks do not show a deletion. `forced`: a person asked, so thresholds and cool-down are
    skipped. The baseline is that of the last run that did not fail, so the changes of a failed run stay due.
    """
    early = decide_before_asking(record, policy, now, forced=forced)
    if early is not None:
        return early
    annotated = annotated_tasks(totals)
    if annotated == 0:
        return Nothing("nothing is annotated yet")
    if forced:
        return Launch(f"a person asked for it{_since_the_last(record, totals, changed_tasks)}")
    if record.baseline is None:
        if annotated < policy.schedule.first:
            return Nothing(f"{annotated} of {policy.schedule.first} annotated tasks for the first training")
        return Launch(f"{annotated} annotated tasks, first training")
    then = annotated_tasks(record.baseline.totals)
    changes = changes_since(record.baseline.totals, totals, changed_tasks)
    wanted = policy.schedule.changes(then, annotated)
    if changes < wanted:
        return Nothing(f"{changes} of {wanted} changes since the last run")
    pause = None if policy.schedule.has_doubled(then, annotated) else pause_after_last(record, policy, now)
    return pause or Launch(f"{changes} changes since the last run")


def _since_the_last(record: JobsRecord, totals: Totals, changed_tasks: int) -> str:
    """What a training that a person asks for has to learn that the last run did not see."""
    if record.baseline is None:
        return ""
    changes = changes_since(record.baseline.totals, totals, changed_tasks)
    if changes == 0:
        return "; nothing has changed since the last run: it trains on the same annotations again"
    return f"; {changes} changes since the last run"


def annotated_tasks(totals: Totals) -> int:
    """Label Studio does not count tasks that have only ground truths, and imported annotations are ground truths."""
    return totals.num_tasks_with_annotations + totals.ground_truth_number


def changes_since(then: Totals, now: Totals, changed_tasks: int) -> int:
    """New, changed or deleted tasks; `changed_tasks` as for `decide`."""
    return max(_changed_tasks(then, now), changed_tasks)


def _changed_tasks(then: Totals, now: Totals) -> int:
    """By how many tasks the number of annotations differs, where a task has as many annotations as before."""
    difference = abs(now.total_annotations_number - then.total_annotations_number)
    each = max(then.total_annotations_number / max(annotated_tasks(then), 1), 1.0)
    return math.ceil(difference / each)


def pause_after_last(record: JobsRecord, policy: Policy, now: datetime) -> Wait | None:
    """The pause after the last run, if it is not over: the cool-down, or a longer one after it failed."""
    last = record.last_run
    if last is None or last.kind == "base":  # that one read nothing of the project
        return None
    if last.outcome == "failed":
        pause = max(policy.cool_down, cool_down_after(last.failures))
        reason = f"run {last.run_id} failed, {max(last.failures, 1)} in a row: its changes are due after {pause}"
    else:
        pause = policy.cool_down
        reason = f"run {last.run_id} ended ({last.outcome}) a short while ago: the next one begins after {pause}"
    known = last.ended_at <= now + _SKEW
    return Wait(last.ended_at + pause, reason) if known and now < last.ended_at + pause else None


def decide_to_prepare(record: JobsRecord, lacks: Sequence[Lack], now: datetime) -> Launch | None:
    """Whether to start a run that makes what controls lack; after one that failed or was stopped, after a pause."""
    last = record.last_run
    failed = last is not None and last.outcome in ("failed", STOPPED) and last.ended_at <= now + _SKEW
    if not lacks or (last and failed and now < last.ended_at + cool_down_after(last.failures)):
        return None
    return Launch(f"{' and '.join(map(str, lacks))} must be made before predictions", kind="base")


def decide_to_prelabel(
    record: JobsRecord, version: str, new_tasks: int, now: datetime, *, pause: timedelta
) -> Nothing | Wait | Launch:
    """Whether to start a run that writes predictions of `version`, which is served now.

    `record`: as these runs see it (`Jobs`). `new_tasks`: tasks without annotations that the last run of this version
    did not look at; those that trickle in wait for a `pause` after it, to be predicted together. Tasks that it left
    without a prediction are tried again after growing pauses, and so is a run of this version that failed.
    """
    last, done = record.last_run, record.prelabelled
    # What another version was refused for may be different with this one.
    if last and last.outcome == "failed" and last.model_version in ("", version) and last.ended_at <= now + _SKEW:
        until = last.ended_at + cool_down_after(last.failures)
        if now < until:
            return Wait(until, f"run {last.run_id} failed: {last.message}")
    if last and last.outcome == STOPPED and last.model_version == version:
        return Nothing(
            f"run {last.run_id} was stopped {last.message}; a person, or another version, starts the next one"
        )
    same = done is not None and done.model_version == version
    if new_tasks and same and last and last.ended_at - _SKEW <= now < last.ended_at + pause:
        return Wait(last.ended_at + pause, f"{new_tasks} tasks came since run {last.run_id}, others may follow")
    if new_tasks:
        return Launch(f"{new_tasks} tasks without a prediction of {version}", PRELABEL, version)
    if done and same and done.left and now >= done.written_at + cool_down_after(done.tries):
        return Launch(f"{done.left} tasks were left without a prediction of {version}", PRELABEL, version)
    return Nothing(f"every task has a prediction of {version}, or an annotation")


def wait_for_budget(limits: Sequence[Limit]) -> Wait | None:
    """Whether an attempt has to wait until its project, or the whole store, may use more machine time.

    Also one that a person asks for: the limits are the operator's. It begins only if enough is left to get somewhere.
    """
    last = max((limit for limit in limits if limit.too_little), key=lambda limit: limit.renewed_at, default=None)
    return Wait(last.renewed_at, str(last)) if last else None


def changed_since(baseline: Baseline, now: datetime) -> datetime:
    """The moment since when updated tasks are changes that the last run did not see; all by Label Studio's clock.

    A baseline from the future was read while that clock was wrong: then all tasks count, and the run finds by the
    digest whether anything changed.
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
    again = last_sign + pause_after(max(failures + stalled, 1)) if last_sign <= now + _SKEW else now
    return NextAttempt(error, preempted=preempted) if now >= again else Wait(again, error)


def has_expired(claim: Claim, policy: Policy, now: datetime) -> bool:
    """Whether a claim has expired, or expires later than anybody can have claimed, so that its time says nothing."""
    longest = max(policy.running_lifetime, policy.launching_lifetime)
    return now >= claim.expires_at or claim.expires_at > now + longest + _SKEW


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
    if job.state == "queued" and job.stuck and claim.stuck_since and now >= claim.stuck_since + _LONGEST_STUCK:
        return job.why or "the job cannot start"
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


def cool_down_after(failures: int) -> timedelta:
    """The pause after a failed run before its changes are due again. `failures` in a row; 0: they were not counted."""
    growth: int = 4 ** min(max(failures, 1) - 1, 10)
    return min(_FIRST_COOL_DOWN * growth, _LONGEST_COOL_DOWN)
