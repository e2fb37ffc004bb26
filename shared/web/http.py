"""A function's HTTP: finds the route of a request, counts and times it, and turns errors into JSON answers."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from flask import Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram
from werkzeug.exceptions import HTTPException

from shared.errors import BadRequest, BodyTooLarge, LabelConfigError, LabelloopError
from shared.settings import Settings
from shared.web.access import Access, refusal
from shared.web.answers import answer
from shared.web.bodies import MAX_BODY, MAX_STRANGERS_BODY, read_body
from shared.web.server import THREADS

logger = logging.getLogger(__name__)

_NO_THREAD = "can't start new thread"  # Python's RuntimeError where there is no memory for a thread's stack
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0)  # seconds
Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """What answers one method and path, and who may ask."""

    method: Literal["GET", "POST"]
    path: str
    access: Access
    handler: Handler
    streams: int | None = None  # the handler reads the body itself, by `chunks_of`: at most so many bytes
    waits: bool = False  # for images, a model or another function: all such requests share half of the threads


class Function:
    """Answers every request of one function: checks access, calls the route's handler, turns errors into JSON."""

    def __init__(
        self,
        routes: list[Route],
        settings: Settings,
        *,
        registry: CollectorRegistry | None = None,
        threads: int = THREADS,
    ) -> None:
        """`registry`: where answers are counted, by route (or "other") and status; None: in one of its own.

        `threads`: requests that the server answers at once (see shared.web.server).
        """
        registry = registry or CollectorRegistry()
        self._routes: dict[tuple[str, str], Route] = {(route.method, route.path): route for route in routes}
        self._paths = {route.path for route in routes}
        self._settings = settings
        self._requests = Counter(
            "labelloop_http_requests", "Answers, by route and status.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "labelloop_http_request_seconds", "Time to an answer.", ["route"], buckets=_BUCKETS, registry=registry
        )
        self._waiting = threading.BoundedSemaphore(max(threads // 2, 1))

    def __call__(self, request: Request) -> Response:
        """Answer one request. Never raises."""
        started = time.perf_counter()
        request.max_content_length = MAX_STRANGERS_BODY  # before anything can fail
        path = "/" + request.path.strip("/")
        response = _streamed(self._answer(request, path))
        route = path if path in self._paths else "other"
        self._requests.labels(route, str(response.status_code)).inc()
        self._seconds.labels(route).observe(time.perf_counter() - started)
        return response

    def _answer(self, request: Request, path: str) -> Response:
        try:
            return self._routed(request, path)
        except BodyTooLarge as error:
            logger.warning(str(error), extra={"event": "body_too_large", "path": path, "bytes": request.content_length})
            return answer({"error": str(error)}, 413)
        except HTTPException as error:  # while the body was read: the client is gone
            return answer({"error": error.description}, error.code or 400)
        except (BadRequest, LabelConfigError) as error:
            return answer({"error": str(error)}, 400)
        except LabelloopError as error:
            logger.error(str(error), extra={"event": "request_failed", "path": path, "error": type(error).__name__})
            return answer({"error": str(error)}, 503)
        except Exception as error:
            if isinstance(error, MemoryError) or str(error) == _NO_THREAD:
                logger.exception("memory is short", extra={"event": "out_of_memory", "path": path})
                return answer({"error": "not enough memory for this request now: try again"}, 503)
            logger.exception("unexpected error in a request", extra={"event": "request_crashed", "path": path})
            return answer({"error": "internal error; the log names it"}, 500)

    def _routed(self, request: Request, path: str) -> Response:
        route = self._routes.get((request.method, path))
        refused = refusal(request, route.access if route else "basic", self._settings)
        if refused is not None:
            return refused
        if route is None:
            known = path in self._paths
            problem = f"no route {request.method} {path}"[:200]
            return answer({"error": problem}, 405 if known else 404)
        if not route.waits:
            return _handle(route, request)
        if not self._waiting.acquire(blocking=False):
            logger.warning("too many requests are waiting already", extra={"event": "request_busy", "path": path})
            problem = "too many requests are waiting already: run more instances, or raise THREADS"
            return answer({"error": problem}, 503, {"Retry-After": "1"})
        try:
            return _handle(route, request)
        finally:
            self._waiting.release()


def _handle(route: Route, request: Request) -> Response:
    if route.method == "POST":
        request.max_content_length = route.streams or MAX_BODY
        if route.streams is None:
            read_body(request)
    return route.handler(request)


def _streamed(response: Response) -> Response:
    """The response as a stream: of others, functions-framework first reads the request's whole body into memory."""
    if not response.is_streamed:
        data = response.get_data()
        response.response = iter([data])
        response.content_length = len(data)
    return response
