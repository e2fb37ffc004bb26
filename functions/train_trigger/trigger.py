"""Reconciles a project: compares what is annotated with what the last run read, and starts a training if it is due."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

from functions.train_trigger.active_run import attend
from functions.train_trigger.ahead import Ahead
from functions.train_trigger.asking import Asking, LabelStudio, not_trainable
from functions.train_trigger.attempts import Attempts
from functions.train_trigger.budgets import Budgets
from functions.train_trigger.decide import (
    Launch,
    Nothing,
    Policy,
    Wait,
    changed_since,
    decide,
    decide_before_asking,
    decide_to_prepare,
    workers_for,
)
from functions.train_trigger.lacking import Lacking
from functions.train_trigger.launchers import Launcher
from functions.train_trigger.metrics import Metrics
from functions.train_trigger.reconciled import Reconciled
from functions.train_trigger.work_metrics import WorkMetrics
from shared import tracing
from shared.errors import ClaimLost, LabelloopError, LabelStudioError, ProjectGone
from shared.evolve import evolve
from shared.labelstudio.api import ProjectState
from shared.objectstore import ObjectStore
from shared.objectstore.selftest import ensure_checked
from shared.settings import Settings
from shared.state import claims, jobs_fields, outbox
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.projects import read_project, with_overrides
from shared.state.registry import Registry
from shared.state.runs import Totals, new_run_id

logger = logging.getLogger(__name__)

Look = Callable[[], ProjectState]
"""Asks Label Studio for the state of the project, at most once."""


class Trigger:
    """Safe to call from many threads and processes at once: the one that wins the claim launches."""

    def __init__(
        self, store: ObjectStore, label_studio: LabelStudio, launcher: Launcher, settings: Settings, metrics: Metrics
    ) -> None:
        self._store = store
        self._asking = Asking(store, label_studio)
        self._ahead = Ahead(store, self._asking, settings)
        self._attempts = Attempts(store, launcher, metrics)
        self._budgets = Budgets(store)
        self._settings = settings
        self._metrics = metrics
        self._checking, self._checked = threading.Lock(), False
        self._lacking = Lacking(store, settings)
        self._work_metrics = WorkMetrics(store, metrics)

    def reconcile(self, uid: str, *, forced: bool = False, sweeping: bool = False) -> Reconciled:
        """Start what is due, or look after the active runs. Never raises: an error is an outcome.

        `forced`: a person asked for a training, so thresholds and cool-down are skipped, but never the claim.
        `sweeping`: the launcher is asked about jobs even if their claims have not expired. The answer is about the
        training, unless there is nothing to say of it, and of predictions that are written ahead there is.
        """
        look = cache(partial(self._asking.state, uid))  # Label Studio is asked once

        def train() -> Reconciled:
            return self._reconcile(Jobs(self._store, uid), look, forced=forced, sweeping=sweeping)

        outcome = self._guarded(uid, train)
        if outcome.status not in ("closed", "failed"):
            ahead = self._guarded(uid, lambda: self._prelabel(uid, look, sweeping=sweeping))
            if not forced and outcome.status in ("nothing", "waiting") and ahead.status != "nothing":
                outcome = ahead
        self._metrics.reconciles.labels(outcome.status).inc()
        return outcome

    def train(self, uid: str) -> Reconciled:
        """Start a training because a person asks for it; the answer is about the active one if there is one."""
        outcome = self.reconcile(uid, forced=True)
        if outcome.status == "given_up":  # of an older run, which was in the way
            outcome = self.reconcile(uid, forced=True)
        return outcome

    def write_ahead(self, uid: str) -> Reconciled:
        """Start the job that writes predictions ahead because a person asks for it: it looks at all tasks again."""
        look = cache(partial(self._asking.state, uid))

        def write() -> Reconciled:
            jobs = Jobs(self._store, uid, prelabelling=True)
            jobs.update(jobs_fields.go_on)
            jobs.update(jobs_fields.look_again)
            return self._prelabel(uid, look, sweeping=False, asked=True)

        outcome = self._guarded(uid, write)
        self._metrics.reconciles.labels(outcome.status).inc()
        return outcome

    def stop(self, uid: str, by: str, *, prelabelling: bool = False) -> Reconciled:
        """End the active run because a person wants it; with `prelabelling` the one that writes predictions ahead.

        `by`: how, for people: "by somebody, on the page". The next training begins after as many changes as after any
        run, counted from now on, or when a person asks; predictions, with another version, or when a person asks.
        """
        return self._guarded(uid, lambda: self._stop(uid, by, prelabelling=prelabelling))

    def _stop(self, uid: str, by: str, *, prelabelling: bool) -> Reconciled:
        jobs = Jobs(self._store, uid, prelabelling=prelabelling)
        claim = jobs.read().training
        if claim is None:
            return Reconciled("nothing", "no run is active")
        held, rest = None, ""
        if claim.kind == "train":
            try:
                state = self._asking.state(uid)
                held = Totals.of(state.counters), state.read_at
            except LabelStudioError as error:
                rest = f"; the next one begins as soon as it is due, since Label Studio cannot be asked now ({error})"
        try:
            outcome = self._attempts.stop(jobs, claim, by, held)
        except ClaimLost as error:
            return Reconciled("nothing", str(error))
        return replace(outcome, reason=outcome.reason + rest)

    def _guarded(self, uid: str, reconcile: Callable[[], Reconciled]) -> Reconciled:
        try:
            return reconcile()
        except LabelloopError as error:
            logger.error(str(error), extra={"event": "reconcile_failed", "project": uid, "error": type(error).__name__})
            return Reconciled("failed", str(error))
        except Exception as error:
            logger.exception("unexpected error while reconciling", extra={"event": "reconcile_crashed", "project": uid})
            return Reconciled("failed", f"{type(error).__name__}; the log names it")

    def tidy(self) -> None:
        """Once a sweep: let the launcher remove what ended jobs left. Logs what it cannot do."""
        self._attempts.tidy()

    def _reconcile(self, jobs: Jobs, look: Look, *, forced: bool, sweeping: bool) -> Reconciled:
        record, now = jobs.read(), self._store.now()
        project = read_project(self._store, jobs.uid)
        settings = with_overrides(self._settings, project)
        policy = Policy.of(settings)
        if sweeping:
            self._work_metrics.update(jobs.uid, record, now)
            self._tell_of_budgets(jobs, record, settings)
        if active := record.training:
            outcome = self._attend(jobs, record, settings, forced=forced, sweeping=sweeping)
            if not forced or active.kind != "base" or outcome.status == "given_up":
                return outcome
            record = evolve(record, training=None)  # it makes what is lacking: what a person asks for is decided now
        forced = forced or record.next_run is not None
        if project is not None and project.connection == "none" and not forced:
            return Reconciled("nothing", "the project is disconnected")
        if record.closed:
            record = self._asking.reopen(jobs)
        early = decide_before_asking(record, policy, now, forced=forced)
        if early is not None:
            return _outcome(early)
        try:
            state = look()
            since = changed_since(record.baseline, state.read_at) if record.baseline else None
            changed = self._asking.changed_tasks(jobs.uid, since) if since else 0
        except ProjectGone as error:
            return self._asking.close(jobs, error)
        project = self._asking.follow_config(jobs.uid, project, state)
        totals = Totals.of(state.counters)
        decision = decide(record, totals, changed, policy, now, forced=forced)
        logger.debug(decision.reason, extra={"event": "decided", "project": jobs.uid, "read_at": state.read_at})
        if isinstance(decision, Launch) and (problem := not_trainable(state.counters.label_config)):
            decision = Nothing(problem)
        if not isinstance(decision, Launch) and record.next_run is not None:
            jobs.update(jobs_fields.forget_next)
        if not isinstance(decision, Launch):  # a training makes what is lacking by itself
            lacks = [] if active else self._lacking.of(jobs.uid, project, record.fence, now)
            prepare = decide_to_prepare(record, lacks, now)
            if prepare is None or self._lacking.others_make(lacks, now):
                return _outcome(decision)
            decision = prepare
        return self._claim(jobs, record, decision, settings, forced=forced)

    def _tell_of_budgets(self, jobs: Jobs, record: JobsRecord, settings: Settings) -> None:
        """Once a period, note for people that a budget is spent, whether anything waits for it or not."""
        if self._settings.notify_url is None:
            return
        limits = self._budgets.limits(record, settings)
        if outbox.announce_spent(record, self._store.now(), jobs.uid, limits):
            jobs.update(outbox.announce_spent, jobs.uid, limits)

    def _prelabel(self, uid: str, look: Look, *, sweeping: bool, asked: bool = False) -> Reconciled:
        """Start the job that writes predictions ahead if it is due, or look after it. `asked`: by a person, now."""
        jobs = Jobs(self._store, uid, prelabelling=True)
        record = jobs.read()
        claim = record.training
        if claim is None and (why := self._ahead.never(record)):
            return Reconciled("nothing", f"no predictions are written ahead: {why}")
        project = read_project(self._store, uid)
        settings = with_overrides(self._settings, project)
        if claim is not None:
            return self._attend(jobs, record, settings, forced=False, sweeping=sweeping)
        if project is None or not project.push:
            why = "the project is not connected: `labelloop connect`"
            return Reconciled("nothing", f"no predictions are written ahead: {why}")
        try:
            state = look()
        except ProjectGone as error:
            return self._asking.close(jobs, error)
        self._asking.follow_config(uid, project, state)
        decision = self._ahead.due(jobs, record, state.counters.label_config, settings, asked=asked)
        if not isinstance(decision, Launch):
            return _outcome(decision)
        return self._claim(jobs, record, decision, settings)

    def _attend(
        self, jobs: Jobs, record: JobsRecord, settings: Settings, *, forced: bool, sweeping: bool
    ) -> Reconciled:
        budget, now = partial(self._budgets.wait, record, settings), self._store.now()
        return attend(self._attempts, jobs, record.held, settings, now, forced=forced, sweeping=sweeping, budget=budget)

    def _claim(
        self, jobs: Jobs, record: JobsRecord, decision: Launch, settings: Settings, *, forced: bool = False
    ) -> Reconciled:
        """Claim a run and launch its job, unless the budget is spent or somebody else is first."""
        self._check_store()
        if wait := self._budgets.wait(record, settings):
            return _outcome(wait)
        asked = record.next_run if decision.kind == "train" else None
        run_id = asked or new_run_id(self._store.now())
        with tracing.span("claim", project=jobs.uid, run=run_id, kind=decision.kind) as trace:
            try:
                taken = jobs.update(
                    claims.take,
                    run_id,
                    lifetime=Policy.of(settings).launching_lifetime.total_seconds(),
                    kind=decision.kind,
                    model_version=decision.model_version,
                    under=decision.under,
                    workers=workers_for(decision, settings.prelabel_workers),
                    forced=forced,
                    registry_fence=Registry(self._store, jobs.uid).fence(),
                    decided_on=None if forced else record,
                    trace=trace,
                    price=settings.price_per_hour or "",
                )
                claim = taken.held
            except ClaimLost as error:
                return Reconciled("nothing", str(error))
            if claim.run_id != run_id and forced and taken.next_run:
                follows = f"run {claim.run_id} makes what predictions need; the training begins when that has ended"
                return Reconciled("waiting", follows, taken.next_run)
            if claim.run_id != run_id:
                return Reconciled("active", f"run {claim.run_id} is active", claim.run_id)
            return self._attempts.launch(jobs, claim, settings, decision.reason)

    def _check_store(self) -> None:
        """Once a process, before its first claim: check that the store keeps conditions. Raises UnsafeStore."""
        if not self._checked:
            with self._checking:
                ensure_checked(self._store)
                self._checked = True


def _outcome(decision: Nothing | Wait) -> Reconciled:
    return Reconciled("nothing" if isinstance(decision, Nothing) else "waiting", decision.reason)
