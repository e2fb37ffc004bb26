"""Reconciles a project: compares Label Studio with the last run and starts the training that is missing, once."""

import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from functions.train_trigger.decide import (
    Extend,
    GiveUp,
    Launch,
    NextAttempt,
    Nothing,
    Policy,
    Requeue,
    RetryLaunch,
    Wait,
    Withdraw,
    changed_since,
    decide,
    decide_before_asking,
    decide_claim,
    ended,
    has_expired,
    killed,
)
from functions.train_trigger.launchers import JobStatus, Launcher
from functions.train_trigger.metrics import Metrics
from shared.errors import ClaimLost, LabelConfigError, LabelloopError, LaunchError, ProjectGone
from shared.evolve import evolve
from shared.labelstudio.api import ProjectState
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.requests import project_id
from shared.objectstore import ObjectStore
from shared.objectstore.selftest import ensure_checked
from shared.settings import Settings
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, JobsRecord
from shared.state.projects import read_project, with_overrides
from shared.state.registry import Registry
from shared.state.runs import Progress, RunPhase, RunRequest, Totals, TrainRequest, new_run_id

logger = logging.getLogger(__name__)

LAUNCHING_LIFETIME = 120.0  # seconds that a launched job may take to start before the launcher is asked about it
TRAINING_SETTINGS = (
    "epochs", "image_size", "batch", "freeze", "patience", "val_fraction", "seed", "base_weights", "longest_run",
    "iou", "max_objects", "fliplr", "flipud",
)  # fmt: skip

Status = Literal["nothing", "waiting", "active", "launched", "relaunched", "refused", "given_up", "closed", "failed"]


class LabelStudio(Protocol):
    """What the trigger asks Label Studio."""

    def project(self, project_id: int) -> ProjectState:
        """The project's counters now. Raises LabelStudioError, ProjectGone."""

    def changed_tasks(self, project_id: int, since: datetime) -> int:
        """Annotated tasks updated after `since`. Raises LabelStudioError, ProjectGone."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What reconciling one project came to."""

    status: Status
    reason: str
    run_id: str | None = None  # of the run that is active now


class Trigger:
    """Safe to call from many threads and many processes at once: whoever wins the claim launches."""

    def __init__(
        self, store: ObjectStore, label_studio: LabelStudio, launcher: Launcher, settings: Settings, metrics: Metrics
    ) -> None:
        self._store = store
        self._label_studio = label_studio
        self._launcher = launcher
        self._settings = settings
        self._metrics = metrics
        self._checking, self._checked = threading.Lock(), False

    def reconcile(self, uid: str, *, forced: bool = False, sweeping: bool = False) -> Reconciled:
        """Start what is missing for one project. Never raises for what can go wrong outside.

        `forced`: a person asked, so thresholds and cool-down are skipped, but never the claim. `sweeping`: the
        launcher is asked about a job whose claim has not expired, too.
        """
        try:
            outcome = self._reconcile(Jobs(self._store, uid), forced=forced, sweeping=sweeping)
        except LabelloopError as error:
            logger.error(str(error), extra={"event": "reconcile_failed", "project": uid, "error": type(error).__name__})
            outcome = Reconciled("failed", str(error))
        except Exception as error:
            logger.exception("unexpected error while reconciling", extra={"event": "reconcile_crashed", "project": uid})
            outcome = Reconciled("failed", f"{type(error).__name__}; the log names it")
        self._metrics.reconciles.labels(outcome.status).inc()
        return outcome

    def tidy(self) -> None:
        """What the launcher does once a sweep. What it cannot do is logged: the next sweep tries again."""
        try:
            self._launcher.tidy()
        except LaunchError as error:
            logger.warning(str(error), extra={"event": "tidy_refused"})

    def _reconcile(self, jobs: Jobs, *, forced: bool, sweeping: bool) -> Reconciled:
        record, now = jobs.read(), self._store.now()
        settings = with_overrides(self._settings, read_project(self._store, jobs.uid))
        policy = _policy(settings)
        if record.training is not None:
            return self._attend(jobs, record.training, settings, policy, forced=forced, sweeping=sweeping)
        if record.closed:
            record = self._reopen(jobs)
        early = decide_before_asking(record, policy, now, forced=forced)
        if early is not None:
            return _outcome(early)
        try:
            state = self._project_state(jobs.uid)
            since = None if forced or record.baseline is None else changed_since(record.baseline, state.read_at)
            changed = self._label_studio.changed_tasks(project_id(jobs.uid), since) if since else 0
        except ProjectGone as error:
            return self._close(jobs, error)
        totals = Totals.model_validate(state.counters.model_dump(include=set(Totals.model_fields)))
        decision = decide(record, totals, changed, policy, now, forced=forced)
        logger.debug(decision.reason, extra={"event": "decided", "project": jobs.uid, "read_at": state.read_at})
        if not isinstance(decision, Launch):
            return _outcome(decision)
        if problem := _not_trainable(state.counters.label_config):
            return Reconciled("nothing", problem)
        return self._claim(jobs, record, decision, settings, policy, forced=forced)

    def _claim(
        self,
        jobs: Jobs,
        record: JobsRecord,
        decision: Launch,
        settings: Settings,
        policy: Policy,
        *,
        forced: bool,
    ) -> Reconciled:
        self._check_store()
        run_id = new_run_id(self._store.now())
        try:
            claim = jobs.update(
                claims.take,
                run_id,
                lifetime=policy.launching_lifetime.total_seconds(),
                forced=forced,
                registry_fence=Registry(self._store, jobs.uid).fence(),
                decided_on=None if forced else record,
            ).held
        except ClaimLost as error:
            return Reconciled("nothing", str(error))
        if claim.run_id != run_id:
            return Reconciled("active", f"run {claim.run_id} is active", claim.run_id)
        return self._launch(jobs, claim, settings, decision.reason)

    def _attend(
        self, jobs: Jobs, claim: Claim, settings: Settings, policy: Policy, *, forced: bool, sweeping: bool
    ) -> Reconciled:
        """Look after the active run: extend its claim, start its next attempt, or end it."""
        now = self._store.now()
        expired = has_expired(claim, policy, now)
        job = self._job_status(claim.job) if claim.job and (sweeping or expired) else None
        silent = killed(claim) and (expired or ended(claim, job))
        kept_an_epoch = silent and jobs.runs.kept_an_epoch(claim.run_id, claim.attempt)
        decision = decide_claim(claim, job, policy, now, forced=forced, kept_an_epoch=kept_an_epoch)
        lifetime = policy.launching_lifetime.total_seconds()
        try:
            if isinstance(decision, NextAttempt):
                again = jobs.update(
                    claims.next_attempt, claim, lifetime=lifetime, error=decision.error, preempted=decision.preempted
                ).held
                return self._launch(jobs, again, settings, decision.error)
            if isinstance(decision, Requeue):
                jobs.update(
                    claims.next_attempt,
                    claim,
                    lifetime=lifetime,
                    error=decision.error,
                    preempted=decision.preempted,
                    requeued=True,
                )
                return Reconciled("active", decision.error, claim.run_id)
            if isinstance(decision, Withdraw):
                return self._withdraw(jobs, claim, decision.error)
            if isinstance(decision, RetryLaunch):
                return self._launch(
                    jobs, jobs.update(claims.retry_launch, claim, lifetime=lifetime).held, settings, decision.error
                )
            if isinstance(decision, GiveUp):
                return self._give_up(jobs, claim, decision.error)
        except ClaimLost as error:
            return Reconciled("active", str(error), claim.run_id)
        if isinstance(decision, Extend):
            if claim.state == "running":
                lifetime = policy.running_lifetime.total_seconds()
            assert job is not None
            waiting = job.state == "queued"
            jobs.update(claims.extend, claim, lifetime=lifetime, waiting=waiting, why=job.why, stuck=job.stuck)
            said = f"the launcher says that the job of run {claim.run_id} is {job.state}"
            return Reconciled("active", f"{said}: {job.why}" if job.why else said, claim.run_id)
        return Reconciled("active" if isinstance(decision, Nothing) else "waiting", decision.reason, claim.run_id)

    def _launch(self, jobs: Jobs, claim: Claim, settings: Settings, reason: str) -> Reconciled:
        named = {"project": jobs.uid, "run": claim.run_id, "attempt": claim.attempt, "reason": reason}
        jobs.runs.write_request(
            RunRequest(
                run_id=claim.run_id,
                project_uid=jobs.uid,
                project_id=project_id(jobs.uid),
                reason=reason,
                created_at=claim.started_at,
                settings={name: getattr(settings, name) for name in TRAINING_SETTINGS},
            )
        )
        request = TrainRequest(store=settings.store, project_uid=jobs.uid, run_id=claim.run_id)
        try:
            job = self._launcher.launch(request, attempt=claim.attempt)
        except LaunchError as error:
            self._metrics.launches.labels("refused").inc()
            logger.error(str(error), extra={"event": "launch_refused", **named})
            try:
                jobs.update(claims.refuse, claim, str(error))
            except ClaimLost:
                return Reconciled("active", f"{error}; the job started nevertheless", claim.run_id)
            self._tell(jobs, claim, "launching", str(error))
            return Reconciled("refused", str(error), claim.run_id)
        logs = self._launcher.logs(job)
        jobs.update(claims.record_job, claim, job, logs=logs)
        status: Status = "launched" if claim.attempt == 1 else "relaunched"
        self._metrics.launches.labels(status).inc()
        logger.info("a training job was launched", extra={"event": "run_launched", "job": job, "logs": logs, **named})
        return Reconciled(status, reason, claim.run_id)

    def _withdraw(self, jobs: Jobs, claim: Claim, error: str) -> Reconciled:
        """End a job that never began. Its attempt is launched again, as after a refusal."""
        self._stop(jobs, claim)
        jobs.update(claims.withdraw, claim, error)
        self._tell(jobs, claim, "launching", error)
        self._metrics.launches.labels("refused").inc()
        named = {"project": jobs.uid, "run": claim.run_id, "job": claim.job}
        logger.error(error, extra={"event": "launch_withdrawn", **named})
        return Reconciled("refused", error, claim.run_id)

    def _stop(self, jobs: Jobs, claim: Claim) -> None:
        if claim.job is not None:
            try:
                self._launcher.stop(claim.job)
            except LaunchError as refusal:
                logger.warning(str(refusal), extra={"event": "stop_refused", "project": jobs.uid, "job": claim.job})

    def _give_up(self, jobs: Jobs, claim: Claim, error: str) -> Reconciled:
        """End the run as failed: what it was started for is due again, after a pause that grows."""
        self._stop(jobs, claim)
        jobs.update(claims.release, claim, outcome="failed", message=error)
        self._tell(jobs, claim, "failed", error)
        self._metrics.runs_failed.inc()
        logger.error(error, extra={"event": "run_given_up", "project": jobs.uid, "run": claim.run_id})
        return Reconciled("given_up", error)

    def _project_state(self, uid: str) -> ProjectState:
        """What Label Studio says of exactly this project. Raises ProjectGone."""
        state = self._label_studio.project(project_id(uid))
        if state.counters.uid != uid:
            raise ProjectGone(
                f"project {project_id(uid)} of this Label Studio is {state.counters.uid}, not {uid}: "
                "the store holds projects of another installation, or LABEL_STUDIO_URL names another one"
            )
        return state

    def _reopen(self, jobs: Jobs) -> JobsRecord:
        """Something asks for a closed project: it may be back, or LABEL_STUDIO_URL named another Label Studio."""
        try:
            self._project_state(jobs.uid)
        except ProjectGone:
            return jobs.read()
        return jobs.update(claims.reopen)

    def _close(self, jobs: Jobs, error: ProjectGone) -> Reconciled:
        if read_project(self._store, jobs.uid) or jobs.read().fence:  # else an event made it up: nothing to close
            jobs.update(claims.close)
        logger.warning(str(error), extra={"event": "project_closed", "project": jobs.uid})
        return Reconciled("closed", str(error))

    def _job_status(self, job: str) -> JobStatus:
        try:
            return self._launcher.status(job)
        except LaunchError as error:
            logger.warning(str(error), extra={"event": "job_state_unknown", "job": job})
            return JobStatus("unknown")

    def _tell(self, jobs: Jobs, claim: Claim, phase: RunPhase, error: str) -> None:
        """Show an error in progress.json; what an attempt wrote for its successor stays."""
        now = self._store.now()
        before = jobs.runs.progress(claim.run_id) or Progress(phase=phase, attempt=claim.attempt, updated_at=now)
        news = evolve(before, phase=phase, attempt=claim.attempt, updated_at=now, error=error)
        jobs.runs.write_progress(claim.run_id, news)

    def _check_store(self) -> None:
        """Before this process's first claim: a store that ignores conditions must not be used. Raises UnsafeStore."""
        if not self._checked:
            with self._checking:
                ensure_checked(self._store)
                self._checked = True


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


def _policy(settings: Settings) -> Policy:
    return Policy(
        min_annotations=settings.min_annotations,
        min_changes=settings.min_changes,
        cool_down=timedelta(seconds=settings.cool_down),
        longest_run=timedelta(seconds=settings.longest_run),
        attempts=settings.attempts,
        running_lifetime=timedelta(seconds=settings.claim_lifetime),
        launching_lifetime=timedelta(seconds=min(settings.claim_lifetime, LAUNCHING_LIFETIME)),
    )
