"""The HTTP handlers of train_trigger: events, the Start Training button, states of jobs, sweeps."""

import logging
import re
import threading
from concurrent.futures import TimeoutError as StillRunning
from typing import Any, Literal

from flask import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from functions.train_trigger.debounce import Debounce
from functions.train_trigger.metrics import Metrics
from functions.train_trigger.notices.sender import Sender
from functions.train_trigger.reconciled import Reconciled
from functions.train_trigger.sweep import sweep
from functions.train_trigger.threads import Threads
from functions.train_trigger.trigger import Trigger
from functions.train_trigger.warm_up import WarmUp
from shared import tracing
from shared.errors import BadRequest, LabelloopError
from shared.labelstudio.requests import (
    Event,
    JobStatusRequest,
    PrelabelCall,
    ProjectCounters,
    StopCall,
    TrainCall,
    project_id,
)
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.projects import projects_of
from shared.state.runs import ENDED
from shared.web.answers import answer

logger = logging.getLogger(__name__)

EVERY_PROJECT = "*"
_PATIENCE = 0.7  # seconds that the answer to an event may wait; Label Studio gives up after one
_WAITING = 2  # answers to events that may wait at once; all others are given without waiting
_THREADS = 8  # projects that are reconciled at once after events
_SWEEP_SECONDS = 45.0  # after which a sweep begins no project
_MAX_TRACES = 1000  # of events that were not looked at yet
_RUN_ID = re.compile("[a-z0-9-]{1,50}")

JobStatusWord = Literal["queued", "started", "finished", "failed"]


class Routes:
    """The handlers. Their threads start with the first event."""

    def __init__(
        self,
        store: ObjectStore,
        trigger: Trigger,
        warm_up: WarmUp,
        metrics: Metrics,
        threads: Threads,
        *,
        debounce: float,
        patience: float = _PATIENCE,
        notices: Sender | None = None,
    ) -> None:
        """`debounce`: seconds between two looks at a project. `patience`: seconds that an event's answer may wait."""
        self._store = store
        self._trigger = trigger
        self._warm_up = warm_up
        self._metrics = metrics
        self._threads = threads
        self._notices = notices or Sender(store, Settings(), metrics, threads, None)
        self._patience = patience
        self._traces: dict[str, str] = {}  # uid → traceparent of its newest event, until that is looked at
        self._debounce = Debounce(
            self._look_at, threads, interval=debounce, at_once=_THREADS, on_full=self._left_to_the_sweep
        )
        self._waiting = threading.BoundedSemaphore(_WAITING)

    def webhook(self, request: Request) -> Response:
        """`POST /webhook`: an event is a hint to reconcile its project; START_TRAINING is a person's order."""
        event = Event.parse(request.get_data())
        self._metrics.event(event.action)
        with tracing.span("webhook", action=event.action):
            return self._noted(event)

    def _noted(self, event: Event) -> Response:
        if event.action == "START_TRAINING":
            return self._train(event.project)
        if event.project is None:
            return self._announced([EVERY_PROJECT])
        if event.project.uid is not None and event.action.startswith("ANNOTATION"):
            self._warm_up.ask(event.project.uid)
        return self._announced(self._uids(event.project))

    def train(self, request: Request) -> Response:
        """`POST /train`, as older versions of Label Studio ask."""
        return self._start(_checked(TrainCall.parse(request.get_data()).project))

    def prelabel(self, request: Request) -> Response:
        """`POST /prelabel` of `labelloop prelabel`: write predictions now, also of tasks that were looked at before.

        Answers as `train` does.
        """
        uid = _checked(PrelabelCall.parse(request.get_data()).project)
        return _started(uid, self._trigger.write_ahead(uid))

    def stop(self, request: Request) -> Response:
        """`POST /stop` of `labelloop stop`: end what is active, or of it only `training` or `predictions`.

        Answers each run that was stopped with a sentence; 404 if none was active.
        """
        call = StopCall.parse(request.get_data())
        uid = _checked(call.project)
        kinds = {"training": False, "predictions": True}
        ended = [
            self._trigger.stop(uid, "by somebody, with `labelloop stop`", prelabelling=prelabelling)
            for kind, prelabelling in kinds.items()
            if call.only in (None, kind)
        ]
        if failed := [outcome for outcome in ended if outcome.status == "failed"]:
            return answer({"error": failed[0].reason}, 503)
        stopped = [{"run_id": outcome.run_id, "reason": outcome.reason} for outcome in ended if outcome.run_id]
        return answer({"stopped": stopped}) if stopped else answer({"error": "no run is active"}, 404)

    def job_status(self, request: Request) -> Response:
        """`POST /job_status`: 410 for a job that is not known (any more)."""
        job = JobStatusRequest.parse(request.get_data()).job
        uid, _, run_id = job.partition("/")
        status = self._status_of(uid, run_id) if _RUN_ID.fullmatch(run_id) and project_id(uid) else None
        if status is None:
            return answer({"error": "no such job"}, 410)
        return answer({"job_status": status})

    def sweep(self, request: Request) -> Response:  # noqa: ARG002
        """`POST /sweep`: reconcile every known project."""
        return answer(self._sweep())

    def metrics(self, request: Request) -> Response:  # noqa: ARG002
        """`GET /metrics` in Prometheus' format."""
        return Response(self._metrics.text(), 200, content_type=CONTENT_TYPE_LATEST)

    def look_soon(self, uid: str) -> None:
        """Reconcile a project on another thread, as after an event."""
        self._debounce.ask(uid)

    def _announced(self, keys: list[str]) -> Response:
        """Reconcile projects now, or at the end of their interval; the answer has the outcome if it comes in time."""
        if (trace := tracing.current()) and len(self._traces) < _MAX_TRACES:
            self._traces |= dict.fromkeys(keys, trace)
        started = [future for key in keys if (future := self._debounce.ask(key)) is not None]
        if len(started) != 1 or not self._waiting.acquire(blocking=False):
            return answer({"status": "noted"}, 202)
        try:
            outcome = started[0].result(timeout=self._patience)
        except StillRunning:
            return answer({"status": "under way"}, 202)
        finally:
            self._waiting.release()
        return answer(_body(outcome), 202 if outcome.status == "failed" else 200)

    def _look_at(self, key: str) -> Reconciled:
        """Reconcile one project, or sweep. Never raises: at the end of an interval nobody waits for the outcome."""
        if key != EVERY_PROJECT:
            with tracing.span("reconcile", self._traces.pop(key, ""), project=key):
                return self._trigger.reconcile(key)
        try:
            summary = self._sweep()
        except LabelloopError as error:
            logger.error(str(error), extra={"event": "sweep_failed", "error": type(error).__name__})
            return Reconciled("failed", str(error))
        return Reconciled("nothing", f"looked at {summary['projects']} projects: {summary['outcomes']}")

    def _sweep(self) -> dict[str, Any]:
        self._trigger.tidy()
        failing: list[str] = []

        def note(uid: str, record: JobsRecord) -> None:
            self._notices.note(uid, record)
            if not record.closed and any(
                last is not None and last.failures for last in (record.last_run, record.last_prelabel)
            ):
                failing.append(uid)

        summary = sweep(self._store, self._trigger.reconcile, self._threads, seconds=_SWEEP_SECONDS, on_read=note)
        self._metrics.failing.set(len(failing))
        self._notices.send()  # last: nothing that was due waits for a receiver
        return summary

    def _left_to_the_sweep(self, uid: str) -> None:
        self._metrics.events_left_to_sweep.inc()
        logger.warning(
            "events of too many projects are waiting: this one is left to the sweep",
            extra={"event": "event_left_to_sweep", "project": uid},
        )

    def _train(self, project: ProjectCounters | None) -> Response:
        if project is None or project.uid is None:
            raise BadRequest("START_TRAINING does not say for which project: id and created_at are needed")
        return self._start(project.uid)

    def _start(self, uid: str) -> Response:
        return _started(uid, self._trigger.train(uid))

    def _uids(self, project: ProjectCounters) -> list[str]:
        """The project's uid. An event of a deleted project has the id only: then the uids with that id in the store."""
        if project.uid is not None:
            return [project.uid]
        return projects_of(self._store, project.id)

    def _status_of(self, uid: str, run_id: str) -> JobStatusWord | None:
        jobs = Jobs(self._store, uid)
        record = jobs.read()
        if record.next_run == run_id:
            return "queued"
        if record.training is not None and record.training.run_id == run_id:
            return "started" if record.training.state == "running" else "queued"
        if record.last_run is not None and record.last_run.run_id == run_id:
            return "failed" if record.last_run.outcome == "failed" else "finished"
        progress = jobs.runs.progress(run_id)
        if progress is None:
            return None
        return "finished" if progress.phase in ENDED and progress.phase != "failed" else "failed"


def _checked(uid: str) -> str:
    """The uid, which no id of Label Studio is. Raises BadRequest."""
    if project_id(uid) and "." not in uid:
        raise BadRequest(f"project {uid} is an id; the uid <id>.<created_at timestamp> is needed")
    return uid


def _started(uid: str, outcome: Reconciled) -> Response:
    """The run that is active now, or why there is none."""
    if outcome.run_id is not None and outcome.status != "refused":
        return answer({"job": f"{uid}/{outcome.run_id}", **_body(outcome)})
    code = 503 if outcome.status in ("failed", "refused") else 409
    return answer({"error": outcome.reason, "status": outcome.status}, code)


def _body(outcome: Reconciled) -> dict[str, Any]:
    return {"status": outcome.status, "reason": outcome.reason}
