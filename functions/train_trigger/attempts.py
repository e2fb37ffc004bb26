"""The attempts of runs: launches one, withdraws one that never began, and gives a run up."""

import logging
from datetime import datetime

from functions.train_trigger.launchers import JobStatus, Launcher
from functions.train_trigger.metrics import Metrics
from functions.train_trigger.reconciled import Reconciled, Status
from shared import tracing
from shared.errors import ClaimLost, LaunchError
from shared.evolve import evolve
from shared.labelstudio.requests import project_id
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import claims, launches
from shared.state.budget import Budget
from shared.state.jobs import Jobs
from shared.state.jobs_record import PRELABEL, Claim
from shared.state.runs import Progress, RunPhase, RunRequest, Totals, TrainRequest

logger = logging.getLogger(__name__)

TRAINING_SETTINGS = (
    "epochs", "image_size", "batch", "freeze", "patience", "val_fraction", "seed", "base_weights", "longest_run",
    "iou", "max_objects", "fliplr", "flipud", "tiles",
)  # fmt: skip
"""Fields of Settings that a run's request holds, with the project's overrides applied."""


class Attempts:
    """Asks the launcher, and notes what it answers in the claim, in progress.json, in the log and in counters.

    Thread-safe. Methods raise StoreError, unless they say otherwise.
    """

    def __init__(self, store: ObjectStore, launcher: Launcher, metrics: Metrics) -> None:
        self._store = store
        self._launcher = launcher
        self._metrics = metrics

    def launch(self, jobs: Jobs, claim: Claim, settings: Settings, reason: str) -> Reconciled:
        """Launch the job of a claim whose state is launching; a refusal is noted in the claim, and no error."""
        named = {"project": jobs.uid, "run": claim.run_id, "attempt": claim.attempt, "reason": reason}
        if claim.kind != PRELABEL:
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
        request = TrainRequest(
            store=settings.store,
            project_uid=jobs.uid,
            run_id=claim.run_id,
            kind=claim.kind,
            base_weights=settings.base_weights if claim.kind == PRELABEL else "",
            workers=claim.workers,
            budget=Budget.of(settings),
        )
        try:
            with tracing.span("launch", claim.trace, project=jobs.uid, run=claim.run_id, attempt=claim.attempt):
                job = self._launcher.launch(request, attempt=claim.attempt)
        except LaunchError as error:
            self._metrics.launches.labels("refused").inc()
            logger.error(str(error), extra={"event": "launch_refused", **named})
            try:
                jobs.update(launches.refuse, claim, str(error))
            except ClaimLost:
                return Reconciled("active", f"{error}; the job started nevertheless", claim.run_id)
            self._show(jobs, claim, "launching", str(error))
            return Reconciled("refused", str(error), claim.run_id)
        logs = self._launcher.logs(job)
        jobs.update(launches.record_job, claim, job, logs=logs)
        status: Status = "launched" if claim.attempt == 1 else "relaunched"
        self._metrics.launches.labels(status).inc()
        told = "a job that writes predictions ahead" if claim.kind == PRELABEL else "a training job"
        logger.info(f"{told} was launched", extra={"event": "run_launched", "job": job, "logs": logs, **named})
        return Reconciled(status, reason, claim.run_id)

    def withdraw(self, jobs: Jobs, claim: Claim, error: str) -> Reconciled:
        """Stop a job that never began; its attempt is launched again later, as after a refusal. Raises ClaimLost."""
        self._stop(jobs, claim)
        jobs.update(launches.withdraw, claim, error)
        self._show(jobs, claim, "launching", error)
        self._metrics.launches.labels("refused").inc()
        named = {"project": jobs.uid, "run": claim.run_id, "job": claim.job}
        logger.error(error, extra={"event": "launch_withdrawn", **named})
        return Reconciled("refused", error, claim.run_id)

    def give_up(self, jobs: Jobs, claim: Claim, error: str) -> Reconciled:
        """End the run as failed: its changes are due again, after a pause that grows. Raises ClaimLost."""
        self._stop(jobs, claim)
        jobs.update(claims.release, claim, outcome="failed", message=error, silent=True)
        self._show(jobs, claim, "failed", error)
        self._metrics.runs_failed.inc()
        logger.error(error, extra={"event": "run_given_up", "project": jobs.uid, "run": claim.run_id})
        return Reconciled("given_up", error)

    def stop(self, jobs: Jobs, claim: Claim, message: str, held: tuple[Totals, datetime] | None = None) -> Reconciled:
        """End a run because somebody wants it to end. `held`: as for `claims.stop`. Raises ClaimLost.

        The claim ends first: else the next sweep might launch the next attempt of a job that has just been ended.
        """
        jobs.update(claims.stop, claim.run_id, message, held=held)
        refusal = self._stop(jobs, claim)
        self._show(jobs, claim, "stopped", f"stopped {message}")
        named = {"project": jobs.uid, "run": claim.run_id, "job": claim.job}
        logger.info(f"a run was stopped {message}", extra={"event": "run_stopped", **named})
        rest = f"; its job could not be stopped ({refusal}) and ends when it next renews its claim" if refusal else ""
        return Reconciled("stopped", f"stopped {message}{rest}", claim.run_id)

    def status(self, job: str) -> JobStatus:
        """The state of a job; `unknown` if the launcher cannot tell. Never raises StoreError."""
        try:
            return self._launcher.status(job)
        except LaunchError as error:
            logger.warning(str(error), extra={"event": "job_state_unknown", "job": job})
            return JobStatus("unknown")

    def tidy(self) -> None:
        """Let the launcher remove what ended jobs left; what it cannot do is logged and left to the next sweep."""
        try:
            self._launcher.tidy()
        except LaunchError as error:
            logger.warning(str(error), extra={"event": "tidy_refused"})

    def _stop(self, jobs: Jobs, claim: Claim) -> str:
        """Ask the launcher to end the job; answers why it cannot, or ""."""
        if claim.job is not None:
            try:
                self._launcher.stop(claim.job)
            except LaunchError as refusal:
                logger.warning(str(refusal), extra={"event": "stop_refused", "project": jobs.uid, "job": claim.job})
                return str(refusal)
        return ""

    def _show(self, jobs: Jobs, claim: Claim, phase: RunPhase, error: str) -> None:
        """Write an error into progress.json; what an attempt wrote there for the next one stays.

        A prelabelling has no files: runs that are kept are trainings.
        """
        if claim.kind == PRELABEL:
            return
        now = self._store.now()
        before = jobs.runs.progress(claim.run_id) or Progress(phase=phase, attempt=claim.attempt, updated_at=now)
        progress = evolve(before, phase=phase, attempt=claim.attempt, updated_at=now, error=error)
        jobs.runs.write_progress(claim.run_id, progress)
