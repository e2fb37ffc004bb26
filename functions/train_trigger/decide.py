"""Decides whether a project needs a run; `decide_claim` decides what an active one needs. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from functions.train_trigger.schedule import Schedule
from shared.settings import Settings
from shared.state.budget import Limit
from shared.state.jobs_record import PRELABEL, STOPPED, JobsRecord, RunKind
from shared.state.runs import Baseline, Totals
from shared.state.servable import Lack

_LAUNCHING_LIFETIME = 120.0  # seconds that a launched job may take to start before the launcher is asked about it
SKEW = timedelta(minutes=5)
"""How far the clocks of one server's machines may differ. A stored moment that is further in the future was written
while a clock was wrong, and says nothing about how long ago it was."""
_TASKS_A_WORKER = 100
"""Tasks for which another worker is worth it: fewer are predicted while its machine starts."""
_FIRST_COOL_DOWN, _LONGEST_COOL_DOWN = timedelta(minutes=10), timedelta(days=1)


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
    under: str = ""  # as in its claim
    tasks: int = 0  # that it is to look at, about


def decide_before_asking(record: JobsRecord, policy: Policy, now: datetime, *, forced: bool) -> Nothing | Wait | None:
    """The decision if it can be made without asking Label Studio; None if not."""
    if record.closed:
        return Nothing("Label Studio has this project no more")
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
    if record.last_run and record.last_run.outcome == STOPPED:
        return "; the last run was stopped, so what was due then is learnt from now"
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
    known = last.ended_at <= now + SKEW
    return Wait(last.ended_at + pause, reason) if known and now < last.ended_at + pause else None


def decide_to_prepare(record: JobsRecord, lacks: Sequence[Lack], now: datetime) -> Launch | None:
    """Whether to start a run that makes what controls lack; after one that failed or was stopped, after a pause."""
    last = record.last_run
    failed = last is not None and last.outcome in ("failed", STOPPED) and last.ended_at <= now + SKEW
    if not lacks or (last and failed and now < last.ended_at + cool_down_after(last.failures)):
        return None
    return Launch(f"{' and '.join(map(str, lacks))} must be made before predictions", kind="base")


def decide_to_prelabel(
    record: JobsRecord,
    version: str,
    new_tasks: int,
    now: datetime,
    *,
    pause: timedelta,
    under: str,
    asked: bool = False,
) -> Nothing | Wait | Launch:
    """Whether to start a run that writes predictions of `version`, which is served now.

    `record`: as these runs see it (`Jobs`). `new_tasks`: tasks without annotations that the last run of this version
    did not look at, or all of them if it was written under other conditions than `under`
    (`shared.state.servable.conditions`); those that trickle in wait for a `pause` after it, to be predicted together.
    Tasks that it left without a prediction are tried again after growing pauses, and so is a run of this version that
    failed. If nothing can be predicted for any task, the next run begins once that may have changed. `asked`: by a
    person.
    """
    last, done = record.last_run, record.prelabelled
    # What another version was refused for may be different with this one.
    if last and last.outcome == "failed" and last.model_version in ("", version) and last.ended_at <= now + SKEW:
        until = last.ended_at + cool_down_after(last.failures)
        if now < until:
            return Wait(until, f"run {last.run_id} failed: {last.message}")
    if last and last.outcome == STOPPED and last.model_version == version:
        return Nothing(
            f"run {last.run_id} was stopped {last.message}; a person, or another version, starts the next one"
        )
    launch = partial(Launch, kind=PRELABEL, model_version=version, under=under)
    if asked and new_tasks:
        return launch(
            f"a person asked for it: {new_tasks} tasks are looked at for predictions of {version}", tasks=new_tasks
        )
    same = done is not None and done.model_version == version
    if done and new_tasks and done.outdated(version, under):
        why = f"{new_tasks} tasks, whose predictions of {version} are of another labeling config or other settings"
        return launch(why, tasks=new_tasks)
    if done and same and done.hopeless and (new_tasks or done.left):
        return Nothing(
            f"nothing can be predicted with {version} ({', '.join(done.why)}); another version, labeling config or "
            "LABELLOOP_BASE_WEIGHTS, or a person, starts the next run"
        )
    if new_tasks and same and last and last.ended_at - SKEW <= now < last.ended_at + pause:
        return Wait(last.ended_at + pause, f"{new_tasks} tasks came since run {last.run_id}, others may follow")
    if new_tasks:
        return launch(f"{new_tasks} tasks without a prediction of {version}", tasks=new_tasks)
    clock_was_wrong = done is not None and done.written_at > now + SKEW
    if done and same and done.left and (clock_was_wrong or now >= done.written_at + cool_down_after(done.tries)):
        return launch(f"{done.left} tasks were left without a prediction of {version}", tasks=done.left)
    return Nothing(f"every task has a prediction of {version}, or an annotation")


def workers_for(launch: Launch, most: int) -> int:
    """How many jobs share the tasks of a prelabelling: at least one, at most `most`, none for a handful of tasks."""
    return max(1, min(most, launch.tasks // _TASKS_A_WORKER))


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
    return baseline.read_at if baseline.read_at <= now + SKEW else datetime.fromtimestamp(0, UTC)


def cool_down_after(failures: int) -> timedelta:
    """The pause after a failed run before its changes are due again. `failures` in a row; 0: they were not counted."""
    growth: int = 4 ** min(max(failures, 1) - 1, 10)
    return min(_FIRST_COOL_DOWN * growth, _LONGEST_COOL_DOWN)
