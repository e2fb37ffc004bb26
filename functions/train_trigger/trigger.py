"""Reconciles a project: compares what is annotated with what the last run read, and starts a training if it is due."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Protocol

from functions.train_trigger.active_run import attend
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
    decide_to_prelabel,
    decide_to_prepare,
    workers_for,
)
from functions.train_trigger.lacking import Lacking
from functions.train_trigger.launchers import Launcher
from functions.train_trigger.metrics import Metrics
from functions.train_trigger.reconciled import Reconciled
from functions.train_trigger.telling import Telling
from shared import tracing
from shared.errors import ClaimLost, LabelConfigError, LabelloopError, LabelStudioError, ProjectGone
from shared.evolve import evolve
from shared.labelstudio.api import ProjectState
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.labelstudio.requests import project_id
from shared.objectstore import ObjectStore
from shared.objectstore.selftest import ensure_checked
from shared.settings import Settings
from shared.state import claims, outbox
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.projects import Project, read_project, with_overrides, write_project
from shared.state.registry import Registry
from shared.state.runs import Totals, new_run_id
from shared.state.servable import servable, served_version

logger = logging.getLogger(__name__)

Look = Callable[[], ProjectState]
"""Asks Label Studio for the state of the project, at most once."""


class LabelStudio(Protocol):
    """What the trigger asks Label Studio."""

    def project(self, project_id: int) -> ProjectState:
        """The project's counters now. Raises LabelStudioError, ProjectGone."""

    def changed_tasks(self, project_id: int, since: datetime) -> int:
        """Annotated tasks updated after `since`. Raises LabelStudioError, ProjectGone."""

    def unannotated_tasks(self, project_id: int, above: int) -> int:
        """Tasks without annotations whose id is above `above`. Raises LabelStudioError, ProjectGone."""


class Trigger:
    """Safe to call from many threads and processes at once: the one that wins the claim launches."""

    def __init__(
        self, store: ObjectStore, label_studio: LabelStudio, launcher: Launcher, settings: Settings, metrics: Metrics
    ) -> None:
        self._store = store
        self._label_studio = label_studio
        self._attempts = Attempts(store, launcher, metrics)
        self._budgets = Budgets(store)
        self._settings = settings
        self._metrics = metrics
        self._checking, self._checked = threading.Lock(), False
        self._lacking = Lacking(store, settings)
        self._away = False  # Label Studio failed when it was asked last
        self._telling = Telling(store, metrics)

    def reconcile(self, uid: str, *, forced: bool = False, sweeping: bool = False) -> Reconciled:
        """Start what is due, or look after the active runs. Never raises: an error is an outcome.

        `forced`: a person asked for a training, so thresholds and cool-down are skipped, but never the claim.
        `sweeping`: the launcher is asked about jobs even if their claims have not expired. The answer is about the
        training, unless there is nothing to say of it, and of predictions that are written ahead there is.
        """
        look = cache(partial(self._project_state, uid))  # Label Studio is asked once

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
        look = cache(partial(self._project_state, uid))

        def write() -> Reconciled:
            jobs = Jobs(self._store, uid, prelabelling=True)
            jobs.update(claims.go_on)
            jobs.update(claims.look_again)
            return self._prelabel(uid, look, sweeping=False)

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
                state = self._project_state(uid)
                held = _totals(state), state.read_at
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
            self._telling.of(jobs.uid, record, now)
            self._tell_of_budgets(jobs, record, settings)
        if active := record.training:
            outcome = self._attend(jobs, record, settings, policy, forced=forced, sweeping=sweeping)
            if not forced or active.kind != "base" or outcome.status == "given_up":
                return outcome
            record = evolve(record, training=None)  # it makes what is lacking: what a person asks for is decided now
        forced = forced or record.next_run is not None
        if project is not None and project.connection == "none" and not forced:
            return Reconciled("nothing", "the project is disconnected")
        if record.closed:
            record = self._reopen(jobs)
        early = decide_before_asking(record, policy, now, forced=forced)
        if early is not None:
            return _outcome(early)
        try:
            state = look()
            since = changed_since(record.baseline, state.read_at) if record.baseline else None
            changed = self._label_studio.changed_tasks(project_id(jobs.uid), since) if since else 0
        except ProjectGone as error:
            return self._close(jobs, error)
        project = self._follow_config(jobs.uid, project, state)
        totals = _totals(state)
        decision = decide(record, totals, changed, policy, now, forced=forced)
        logger.debug(decision.reason, extra={"event": "decided", "project": jobs.uid, "read_at": state.read_at})
        if isinstance(decision, Launch) and (problem := _not_trainable(state.counters.label_config)):
            decision = Nothing(problem)
        if not isinstance(decision, Launch) and record.next_run is not None:
            jobs.update(claims.forget_next)
        if not isinstance(decision, Launch):  # a training makes what is lacking by itself
            lacks = [] if active else self._lacking.of(jobs.uid, project, record.fence, now)
            prepare = decide_to_prepare(record, lacks, now)
            if prepare is None or self._lacking.others_make(lacks, now):
                return _outcome(decision)
            decision = prepare
        return self._claim(jobs, record, decision, settings, policy, forced=forced)

    def _tell_of_budgets(self, jobs: Jobs, record: JobsRecord, settings: Settings) -> None:
        """Once a period, note for people that a budget is spent, whether anything waits for it or not."""
        if self._settings.notify_url is None:
            return
        limits = self._budgets.limits(record, settings)
        if outbox.announce_spent(record, self._store.now(), jobs.uid, limits):
            jobs.update(outbox.announce_spent, jobs.uid, limits)

    def _prelabel(self, uid: str, look: Look, *, sweeping: bool) -> Reconciled:
        """Start the job that writes predictions ahead if it is due, or look after it."""
        jobs = Jobs(self._store, uid, prelabelling=True)
        record = jobs.read()
        claim = record.training
        if claim is None and (why := self._never_ahead(record)):
            return Reconciled("nothing", f"no predictions are written ahead: {why}")
        project = read_project(self._store, uid)
        settings = with_overrides(self._settings, project)
        policy = Policy.of(settings)
        if claim is not None:
            return self._attend(jobs, record, settings, policy, forced=False, sweeping=sweeping)
        if project is None or not project.push:
            why = "the project is not connected: `labelloop connect`"
            return Reconciled("nothing", f"no predictions are written ahead: {why}")
        try:
            state = look()
        except ProjectGone as error:
            return self._close(jobs, error)
        self._follow_config(uid, project, state)
        decision = self._due_ahead(jobs, record, state.counters.label_config, settings)
        if not isinstance(decision, Launch):
            return _outcome(decision)
        return self._claim(jobs, record, decision, settings, policy)

    def _never_ahead(self, record: JobsRecord) -> str:
        """Why nothing is written ahead, whatever is served; empty if something may be."""
        if self._settings.push == "off":
            return "LABELLOOP_PUSH=off, so Label Studio asks for them while people label"
        if self._settings.dummy:
            return "LABELLOOP_DUMMY answers fixed ones, without a model"
        return "Label Studio has this project no more" if record.closed else ""

    def _due_ahead(
        self, jobs: Jobs, record: JobsRecord, label_config: str, settings: Settings
    ) -> Nothing | Wait | Launch:
        """Whether tasks without annotations lack predictions of what is served now."""
        try:
            controls = parse_label_config(label_config)
        except LabelConfigError as error:
            return Nothing(str(error))
        if not controls:
            return Nothing("the labeling config has no control that labelloop serves")
        decision = self._ahead_of(controls, jobs, record, settings)
        if not isinstance(decision, Launch):
            return decision
        ready = servable(self._store, jobs.uid, controls, settings.base_weights)
        if len(ready) == len(controls):
            return decision
        making = Jobs(self._store, jobs.uid).read().training
        if not ready or (making and making.kind == "base"):
            return Nothing("a run must make first what predictions need")
        return self._ahead_of(ready, jobs, record, settings)  # once the rest is made, another version is due

    def _ahead_of(
        self, controls: Sequence[Control], jobs: Jobs, record: JobsRecord, settings: Settings
    ) -> Nothing | Wait | Launch:
        """Whether tasks without annotations lack predictions of these controls."""
        version = served_version(Registry(self._store, jobs.uid), controls, settings.base_weights)
        done = record.prelabelled
        seen = done.through if done and done.model_version == version else 0
        lacking = self._label_studio.unannotated_tasks(project_id(jobs.uid), seen)
        pause = timedelta(seconds=settings.sweep_interval)
        return decide_to_prelabel(record, version, lacking, self._store.now(), pause=pause)

    def _attend(
        self, jobs: Jobs, record: JobsRecord, settings: Settings, policy: Policy, *, forced: bool, sweeping: bool
    ) -> Reconciled:
        budget = partial(self._budgets.wait, record, settings)
        now = self._store.now()
        return attend(
            self._attempts, jobs, record.held, settings, policy, now, forced=forced, sweeping=sweeping, budget=budget
        )

    def _claim(
        self,
        jobs: Jobs,
        record: JobsRecord,
        decision: Launch,
        settings: Settings,
        policy: Policy,
        *,
        forced: bool = False,
    ) -> Reconciled:
        self._check_store()
        if wait := self._budgets.wait(record, settings):
            return _outcome(wait)
        asked = record.next_run if decision.kind == "train" else None
        run_id = asked or new_run_id(self._store.now())
        with tracing.span("claim", project=jobs.uid, run=run_id, kind=decision.kind) as trace:
            return self._take(jobs, record, decision, settings, policy, run_id, trace, forced=forced)

    def _take(
        self,
        jobs: Jobs,
        record: JobsRecord,
        decision: Launch,
        settings: Settings,
        policy: Policy,
        run_id: str,
        trace: str,
        *,
        forced: bool,
    ) -> Reconciled:
        """Claim the run and launch its job, unless somebody else is first."""
        try:
            taken = jobs.update(
                claims.take,
                run_id,
                lifetime=policy.launching_lifetime.total_seconds(),
                kind=decision.kind,
                model_version=decision.model_version,
                workers=workers_for(decision, settings.prelabel_workers),
                forced=forced,
                registry_fence=Registry(self._store, jobs.uid).fence(),
                decided_on=None if forced else record,
                trace=trace,
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

    def _follow_config(self, uid: str, project: Project | None, state: ProjectState) -> Project | None:
        """The project with its labeling config of now. Where predictions are written ahead, no /setup may tell it."""
        config = state.counters.label_config
        if project is None or not config or config == project.label_config:
            return project
        try:
            parse_label_config(config)
        except LabelConfigError:  # /setup refuses it, too; status and doctor say why
            return project
        return write_project(self._store, uid, label_config=config)

    def _project_state(self, uid: str) -> ProjectState:
        """The state of exactly this project. Raises ProjectGone, also if its id belongs to another project here."""
        try:
            state = self._label_studio.project(project_id(uid))
        except ProjectGone:
            raise
        except LabelStudioError:
            self._away = True
            raise
        if self._away:
            self._away = False
            logger.info("Label Studio answers again", extra={"event": "label_studio_back"})
        if state.counters.uid != uid:
            raise ProjectGone(
                f"project {project_id(uid)} of this Label Studio is {state.counters.uid}, not {uid}: "
                "the store holds projects of another installation, or LABEL_STUDIO_URL names another one"
            )
        return state

    def _reopen(self, jobs: Jobs) -> JobsRecord:
        """Open a closed project again if Label Studio has it; answers the record."""
        try:
            self._project_state(jobs.uid)
        except ProjectGone:
            return jobs.read()
        return jobs.update(claims.reopen)

    def _close(self, jobs: Jobs, error: ProjectGone) -> Reconciled:
        if read_project(self._store, jobs.uid) or jobs.read().fence:  # else only an event named it: nothing to close
            jobs.update(claims.close)
        logger.warning(str(error), extra={"event": "project_closed", "project": jobs.uid})
        return Reconciled("closed", str(error))

    def _check_store(self) -> None:
        """Once a process, before its first claim: check that the store keeps conditions. Raises UnsafeStore."""
        if not self._checked:
            with self._checking:
                ensure_checked(self._store)
                self._checked = True


def _totals(state: ProjectState) -> Totals:
    return Totals.model_validate(state.counters.model_dump(include=set(Totals.model_fields)))


def _outcome(decision: Nothing | Wait) -> Reconciled:
    return Reconciled("nothing" if isinstance(decision, Nothing) else "waiting", decision.reason)


def _not_trainable(label_config: str) -> str:
    """Why a run could learn nothing under this labeling config, whatever is annotated; empty if it could."""
    try:
        controls = parse_label_config(label_config) if label_config else None
    except LabelConfigError as error:
        return str(error)
    if controls == ():
        return "the labeling config has no control that labelloop trains: `labelloop doctor` says why"
    return ""
