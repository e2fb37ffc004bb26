"""`POST /predict` of train_trigger: hands the request to predict, and waits while predict wakes.

Label Studio waits 100 s for predictions, but silently goes on without them after an error. So a request that predict
does not answer is tried again until the deadline; after it every task is answered empty, and Label Studio asks again.
An annotator's smart tool does not wait for a predict that sleeps: a click gets no shape then.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from flask import Request, Response
from requests import RequestException
from tenacity import Retrying, retry_if_exception_type, stop_before_delay, wait_random_exponential
from urllib3.exceptions import HTTPError

from functions.train_trigger.metrics import Metrics
from shared.errors import BadRequest
from shared.labelstudio.predict_body import PredictBody
from shared.labelstudio.requests import INTERACTIVE_SECONDS, PredictRequest
from shared.settings import Settings
from shared.web.answers import answer
from shared.web.bodies import chunks_of
from shared.web.forwarding import EMPTY_HEADER, HELD_HEADER, empty_header, pass_on, refuse_forwarding
from shared.web.peer import ASLEEP, call
from shared.web.served_versions import ServedVersions

logger = logging.getLogger(__name__)

_ANSWER_MARGIN = (
    3.0  # seconds after the deadline in which predict's answer may still arrive: it keeps the deadline, too
)
_CLICK_MARGIN = 1.0  # the same for a smart tool
_AWAKE_SECONDS = 30.0
"""Who has answered counts as awake for so long. Else a smart tool first asks for /health, which answers at once."""
_HEALTH_SECONDS = 1.0
_LONGEST_PAUSE = 2.0  # seconds between two tries: a predict that has woken waits so long for its first request, at most
_PASSED_ON = (*range(100, 429), *range(430, 500), HTTPStatus.LOOP_DETECTED)
"""Statuses about the request or the settings: trying again would not help, so they are answered as they are."""


class _Asleep(Exception):
    """predict did not answer one try."""


class PredictProxy:
    """Thread-safe. Holds at most `max_bytes` of the bodies of requests that wait; how many may is their route's.

    `served` learns from each answer which versions predict serves instead of those that the pointers name: what
    `/setup` says here is what predict stamps, or Label Studio would store one more copy of each prediction.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        served: ServedVersions,
        *,
        max_bytes: int = 300_000_000,
        health_seconds: float = _HEALTH_SECONDS,
        wake: Callable[[str], None] = lambda _uid: None,
    ) -> None:
        """`health_seconds`: to wait for predict's /health, since its platform may hold requests while it wakes.

        `wake`: begins to wake it, for a project, and returns at once.
        """
        self._settings = settings
        self._metrics = metrics
        self._served = served
        self._health_seconds = health_seconds
        self._wake = wake
        self._awake_until = 0.0  # time.monotonic()
        self._lock = threading.Lock()
        self._bytes, self._max_bytes = 0, max_bytes

    def predict(self, request: Request) -> Response:
        """predict's answer; if there is none by the deadline, `{"results": [[], …]}` with one `[]` a task."""
        refusal = refuse_forwarding(request, self._settings.predict_url, "PREDICT_URL")
        if refusal is not None:
            return refusal
        received = PredictBody(chunks_of(request))
        tasks, body, click = len(received), received.whole(), _clicked_in(received)
        del received
        size = len(body)
        with self._lock:
            fits = self._bytes + size <= self._max_bytes
            self._bytes += size if fits else 0
        if not fits:
            return self._empty(tasks, "busy", "requests that wait for predict hold as much memory as they may")
        try:
            with self._metrics.waiting.track_inprogress():
                if click is not None:
                    return self._draw(request, body, tasks, click)
                return self._wait(request, body, tasks)
        finally:
            with self._lock:
                self._bytes -= size

    def _wait(self, request: Request, body: bytes, tasks: int) -> Response:
        patience = self._settings.predict_deadline
        deadline = time.monotonic() + patience
        tries = Retrying(
            retry=retry_if_exception_type(_Asleep),
            wait=wait_random_exponential(multiplier=0.2, max=_LONGEST_PAUSE),
            stop=stop_before_delay(patience),
            reraise=True,
        )
        try:
            return self._checked(tries(self._ask, request, body, deadline, _ANSWER_MARGIN), tasks)
        except _Asleep as error:
            return self._empty(tasks, "asleep", f"predict did not answer by the deadline: {error}")

    def _draw(self, request: Request, body: bytes, tasks: int, uid: str) -> Response:
        """For a smart tool: ask once, and only if predict is awake."""
        deadline = time.monotonic() + min(INTERACTIVE_SECONDS, self._settings.predict_deadline)
        try:
            self._require_awake()
            return self._checked(self._ask(request, body, deadline, _CLICK_MARGIN), tasks)
        except _Asleep as error:
            self._wake(uid)
            return self._empty(tasks, "asleep", f"predict sleeps, and a smart tool does not wait for it: {error}")

    def _require_awake(self) -> None:
        """Raises _Asleep."""
        if time.monotonic() < self._awake_until:
            return
        url = f"{self._settings.predict_url}/health"
        try:
            reply = call("GET", url, self._settings, "none", timeout=self._health_seconds, straight=True)
        except RequestException as error:
            raise _Asleep(type(error).__name__) from error
        if reply.status_code in ASLEEP:
            raise _Asleep(f"status {reply.status_code}")

    def _checked(self, response: Response, tasks: int) -> Response:
        if response.status_code in _PASSED_ON:
            return response
        return self._empty(tasks, "broken", f"predict answered {response.status_code}; its log says why")

    def _ask(self, request: Request, body: bytes, deadline: float, margin: float) -> Response:
        """Ask predict once. Raises _Asleep."""
        left = max(deadline - time.monotonic(), 0.0)
        assert self._settings.predict_url is not None
        try:
            response = pass_on(request, self._settings.predict_url, left + margin, seconds=left, body=body)
        except HTTPError as error:
            raise _Asleep(type(error).__name__) from error
        if response.status_code in ASLEEP:
            raise _Asleep(f"status {response.status_code}")
        self._awake_until = time.monotonic() + _AWAKE_SECONDS
        if told := response.headers.pop(HELD_HEADER, None):
            self._served.apply_held_header(told)
        return response

    def _empty(self, tasks: int, reason: str, message: str) -> Response:
        self._metrics.failures.labels(reason).inc(tasks)
        logger.warning(message, extra={"event": "predict_answered_empty", "reason": reason, "tasks": tasks})
        response = answer({"results": [[]] * tasks})
        response.headers[EMPTY_HEADER] = empty_header(reason, message)
        return response


def _clicked_in(received: PredictBody) -> str | None:
    """The uid of the project in which an annotator's smart tool asks; None if none does."""
    with suppress(BadRequest):  # predict answers it
        call = PredictRequest.parse(received.rest)
        return call.project if call.interactive else None
    return None
