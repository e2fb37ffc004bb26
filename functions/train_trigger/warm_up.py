"""Wakes a predict that scales to zero, and makes it load a project's models, when somebody begins to annotate."""

import logging
import threading
import time

import requests
from requests import codes

from functions.train_trigger.metrics import Metrics
from shared.errors import LabelloopError
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.projects import read_project
from shared.web.peer import call

logger = logging.getLogger(__name__)


class WarmUp:
    """Warm-ups: one at a time, on a thread of its own, and at most one in LABELLOOP_WARM_UP_INTERVAL."""

    def __init__(self, settings: Settings, store: ObjectStore, metrics: Metrics) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._lock = threading.Lock()
        self._next_at = 0.0  # time.monotonic()
        self._under_way = False

    def ask(self, uid: str) -> None:
        """Start a warm-up for a project, if none was started within the interval. Returns at once, never raises."""
        interval = self._settings.warm_up_interval
        if self._settings.predict_url is None or interval == 0:
            return
        now = time.monotonic()
        with self._lock:
            if self._under_way or now < self._next_at:
                return
            self._under_way, self._next_at = True, now + interval
        try:
            threading.Thread(target=self._run, args=(uid,), name="warm-up", daemon=True).start()
        except RuntimeError as error:  # the process ends, or no thread can be started
            logger.warning(str(error), extra={"event": "warm_up_failed", "project": uid})
            self._ended(uid, "failed")

    def _run(self, uid: str) -> None:
        result = "failed"
        try:
            result = self._wake(uid)
        except (requests.RequestException, LabelloopError) as error:
            logger.info(
                "predict could not be woken; the next event tries again",
                extra={"event": "warm_up_failed", "project": uid, "error": type(error).__name__},
            )
        finally:
            self._ended(uid, result)

    def _wake(self, uid: str) -> str:
        """Wake predict by /health, make it load the models by /setup; answers the result, a word for the counter.

        The front of predict may hold the first request until an instance is there. Raises requests.RequestException,
        LabelloopError.
        """
        url, settings = self._settings.predict_url, self._settings
        if read_project(self._store, uid) is None:
            return "unknown_project"
        reply = call("GET", f"{url}/health", settings, "none", timeout=settings.predict_deadline, straight=True)
        if reply.status_code == codes.ok:
            project = read_project(self._store, uid)  # again: waking takes long, its config may have changed
            if project is None:
                return "unknown_project"
            body = {"project": uid, "schema": project.label_config}
            reply = call(
                "POST", f"{url}/setup", settings, "basic", timeout=settings.predict_deadline, body=body, straight=True
            )
        if reply.status_code == codes.ok:
            return "awake"
        logger.info(
            f"predict answered {reply.status_code} to a warm-up",
            extra={"event": "warm_up_refused", "project": uid, "status": reply.status_code},
        )
        return "refused"

    def _ended(self, uid: str, result: str) -> None:
        with self._lock:
            self._under_way = False
            if result == "unknown_project":  # the next, known project need not wait for the interval
                self._next_at = 0.0
        self._metrics.warm_ups.labels(result).inc()
        logger.debug("a warm-up ended", extra={"event": "warm_up_ended", "project": uid, "result": result})
