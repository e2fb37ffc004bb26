"""Incoming HTTP of the functions: routes, access rules, JSON answers, and the hand-over to the other function."""

import base64
import hmac
import ipaddress
import json
import logging
import math
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from urllib.parse import urlencode

import urllib3
from flask import Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout
from werkzeug.exceptions import BadRequest as HTTPBadRequest
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from shared.errors import BadRequest, BodyTooLarge, LabelConfigError, LabelloopError
from shared.network.connections import MakeSocket, connect_to, pool
from shared.network.resolver import Resolver
from shared.settings import Settings, is_address
from shared.web.server import THREADS

logger = logging.getLogger(__name__)

SECRET_HEADER = "X-Labelloop-Secret"  # noqa: S105
LOCAL = ("127.0.0.1", "localhost", "::1")
"""Hosts of which a proxy of the environment knows nothing, and must not see the credentials."""
ASLEEP = (429, 502, 503, 504)
"""What the front of a function that scales to zero answers while no instance is there to answer."""
_PORT = re.compile(r":[0-9]*$")
_FORWARDED_HEADER = "X-Labelloop-Forwarded"
HELD_HEADER = "X-Labelloop-Held"
"""Of predict's answer: versions that it serves instead of those that the pointers name."""
_SECONDS_HEADER = "X-Labelloop-Seconds"
_LARGEST_BODY = 100_000_000
"""Bytes of one request: tasks may hold whole images. functions-framework knows no limit."""
_CHUNK = 1 << 20  # bytes
_NO_THREAD = "can't start new thread"  # a RuntimeError of Python's: no memory for another one's stack
_STRANGERS_BODY = 4_000
"""Bytes that whoever has not shown credentials can make anybody read, whatever goes wrong."""
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0)  # seconds
Access = Literal["open", "basic", "basic or secret"]
Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """What answers one method and path, and who may ask."""

    method: Literal["GET", "POST"]
    path: str
    access: Access
    handler: Handler
    streams: int | None = None  # bytes of the largest body that the handler reads by itself, by `chunks_of`
    waits: bool = False  # for others (images, a model, another function): all of these share half of the threads


class Function:
    """The WSGI-facing half of a function: finds the route, checks access, turns errors into JSON answers."""

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
        request.max_content_length = _STRANGERS_BODY  # before anything can fail
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
        except HTTPException as error:  # of the body, while it is read: the client is gone
            return answer({"error": error.description}, error.code or 400)
        except (BadRequest, LabelConfigError) as error:
            return answer({"error": str(error)}, 400)
        except LabelloopError as error:
            logger.error(str(error), extra={"event": "request_failed", "path": path, "error": type(error).__name__})
            return answer({"error": str(error)}, 503)
        except Exception as error:
            if isinstance(error, MemoryError) or str(error) == _NO_THREAD:
                logger.exception("memory is short", extra={"event": "out_of_memory", "path": path})
                return answer({"error": "this function has not enough memory for the request now: ask again"}, 503)
            logger.exception("unexpected error in a request", extra={"event": "request_crashed", "path": path})
            return answer({"error": "internal error; the log names it"}, 500)

    def _routed(self, request: Request, path: str) -> Response:
        route = self._routes.get((request.method, path))
        refusal = self._refusal(request, route.access if route else "basic")
        if refusal is not None:
            return refusal
        if route is None:
            known = path in self._paths
            problem = f"no route {request.method} {path}"[:200]
            return answer({"error": problem}, 405 if known else 404)
        if not route.waits:
            return _handle(route, request)
        if not self._waiting.acquire(blocking=False):
            logger.warning("half of the threads wait already", extra={"event": "request_busy", "path": path})
            problem = "as many requests as may wait do already: more instances, or a larger THREADS, would take more"
            return answer({"error": problem}, 503, {"Retry-After": "1"})
        try:
            return _handle(route, request)
        finally:
            self._waiting.release()

    def _refusal(self, request: Request, access: Access) -> Response | None:
        settings = self._settings
        if access == "open" or settings.auth == "off":
            return None
        secrets = (settings.basic_auth_password, settings.webhook_secret)
        if secrets == (None, None) and settings.loopback and _came_by_loopback(request):
            return _refuse_other_sites(request)
        if self._has_credentials(request, access):
            return None
        challenge = {"WWW-Authenticate": 'Basic realm="labelloop"'}
        return answer({"error": "credentials are missing or wrong"}, 401, challenge)

    def _has_credentials(self, request: Request, access: Access) -> bool:
        settings = self._settings
        password, secret = settings.basic_auth_password, settings.webhook_secret
        if password is not None:
            pair = f"{settings.basic_auth_user}:{password.get_secret_value()}"
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            # Compared as it is written: what a stranger sends is not decoded.
            same = _same(given.strip(), base64.b64encode(pair.encode()).decode())
            if same and scheme.lower() == "basic":
                return True
        return (
            access == "basic or secret"
            and secret is not None
            and _same(request.headers.get(SECRET_HEADER, ""), secret.get_secret_value())
        )


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(json.dumps(body), status, headers, mimetype="application/json")


def chunks_of(request: Request) -> Iterator[bytes]:
    """The body as it comes, for a route that streams. Raises BodyTooLarge, and HTTPException if it cannot be read."""
    size = 0
    with _body_errors(request):
        while chunk := request.stream.read(_CHUNK):
            size += len(chunk)
            yield chunk
    _check_size(request, size)


def _handle(route: Route, request: Request) -> Response:
    if route.method == "POST":
        request.max_content_length = route.streams or _LARGEST_BODY
        if route.streams is None:
            _read(request)
    return route.handler(request)


def _read(request: Request) -> None:
    """Keep the body for whoever asks for it. Raises BodyTooLarge, and HTTPException if it cannot be read."""
    with _body_errors(request):
        size = len(request.get_data())
    _check_size(request, size)


@contextmanager
def _body_errors(request: Request) -> Iterator[None]:
    try:
        yield
    except RequestEntityTooLarge as error:
        raise _too_large(request) from error
    except (HTTPException, LabelloopError, MemoryError):
        raise
    except Exception as error:  # each server has its own, of chunks that are none
        raise HTTPBadRequest(f"the body cannot be read ({type(error).__name__})") from error


def _check_size(request: Request, size: int) -> None:
    announced, most = request.content_length, request.max_content_length
    if announced is None and most is not None and size >= most:  # werkzeug cuts off what comes in chunks
        raise _too_large(request)
    if announced is not None and size < announced:
        raise HTTPBadRequest(f"the body ends after {size} of {announced} bytes")


def _too_large(request: Request) -> BodyTooLarge:
    most = (request.max_content_length or 0) / 1e6
    return BodyTooLarge(
        f"a body of more than {most:.0f} MB is not read: select fewer tasks at a time. Label Studio sends annotations "
        "and old predictions along: remove those that nobody needs"
    )


def _streamed(response: Response) -> Response:
    """Before any other answer functions-framework reads what is left of the body into memory."""
    if not response.is_streamed:
        data = response.get_data()
        response.response = iter([data])
        response.content_length = len(data)
    return response


def forward(request: Request, url: str | None, variable: str, timeout: float) -> Response:
    """Hand a request to the other function as it came (body, query, credentials) and answer what it answers.

    `timeout` in seconds. Not set or not reachable: 503 with a sentence that names `variable`.
    """
    refusal = refuse_forwarding(request, url, variable)
    if refusal is not None:
        return refusal
    assert url is not None
    try:
        return pass_on(request, url, timeout)
    except HTTPError as error:
        logger.error(
            "the other function is not reachable",
            extra={"event": "forward_failed", "path": request.path, "error": type(error).__name__},
        )
        return answer({"error": f"{variable} is not reachable ({type(error).__name__})"}, 503)


def refuse_forwarding(request: Request, url: str | None, variable: str) -> Response | None:
    """The answer to a request that cannot be handed on: 503 without an address, 508 if it was handed on already."""
    if url is None:
        problem = f"this function does not serve {request.path}; set {variable} to the address of the one that does"
        return answer({"error": problem}, 503)
    if _FORWARDED_HEADER in request.headers:
        return answer({"error": f"{variable} names the function that forwards to it"}, 508)
    return None


def pass_on(
    request: Request, url: str, timeout: float, *, seconds: float | None = None, body: bytes | None = None
) -> Response:
    """What the other function answers to this request, once asked. Raises urllib3's HTTPError.

    `timeout` in seconds, from the look-up of its name to the last byte; `seconds` tells the other function how many it
    has (see `seconds_left`); `body` in place of the request's.
    """
    target = url + request.path + (f"?{urlencode(list(request.args.items(multi=True)))}" if request.args else "")
    kept = ("Authorization", "Content-Type", SECRET_HEADER)
    headers = {name: request.headers[name] for name in kept if name in request.headers} | {_FORWARDED_HEADER: "1"}
    if seconds is not None:
        headers[_SECONDS_HEADER] = f"{seconds:.3f}"
    reply = _peers().request(
        request.method,
        target,
        body=request.get_data() if body is None else body,
        headers=headers | {"Connection": "close"},  # one that is kept would break off when the other one goes to sleep
        timeout=Timeout(connect=min(timeout, 5.0), total=timeout),
        redirect=False,
        retries=False,
    )
    response = Response(
        reply.data, reply.status, mimetype=reply.headers.get("Content-Type", "application/json").split(";")[0]
    )
    if HELD_HEADER in reply.headers:
        response.headers[HELD_HEADER] = reply.headers[HELD_HEADER]
    return response


@cache
def _peers() -> urllib3.PoolManager:
    resolver = Resolver()

    def connect(host: str, port: int, until: float, make_socket: MakeSocket) -> socket.socket:
        return connect_to(host, resolver.places(host, port, until), until, make_socket)

    return pool(connect, maxsize=1)


def seconds_left(request: Request, limit: float) -> float:
    """How long an answer may take: what the function that handed the request on says is left, never over `limit`."""
    try:
        said = float(request.headers.get(_SECONDS_HEADER, "inf"))
    except ValueError:
        return limit
    return limit if math.isnan(said) else min(max(said, 0.0), limit)


def _came_by_loopback(request: Request) -> bool:
    """Whether the connection ends at a loopback address: HOST may say so and `--host` another thing.

    A server that does not show its socket is believed.
    """
    connection = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    return ipaddress.ip_address(connection.getsockname()[0].partition("%")[0]).is_loopback


def _refuse_other_sites(request: Request) -> Response | None:
    """A browser on this machine sends what any page tells it to, also to a name that its site lets mean 127.0.0.1."""
    host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
    name = _PORT.sub("", host).strip("[]").lower()
    if name == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback):
        if origin in (None, f"http://{host}", f"https://{host}"):
            return None
        said = f"Origin: {origin}"
    else:
        said = f"Host: {host}"
    problem = f"{said[:100]} is another site, and without credentials this machine alone is answered: "
    return answer({"error": problem + "set LABELLOOP_BASIC_AUTH_PASSWORD and LABELLOOP_WEBHOOK_SECRET"}, 403)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="backslashreplace"), expected.encode())
