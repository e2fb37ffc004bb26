"""Incoming HTTP of the functions: routes, access rules, JSON answers, and the hand-over to the other function."""

import hmac
import ipaddress
import json
import logging
import math
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import requests
from flask import Request, Response
from werkzeug.exceptions import HTTPException

from shared.errors import BadRequest, LabelConfigError, LabelloopError
from shared.settings import Settings

logger = logging.getLogger(__name__)

SECRET_HEADER = "X-Labelloop-Secret"  # noqa: S105
LOCAL = ("127.0.0.1", "localhost", "::1")
"""Hosts of which a proxy of the environment knows nothing, and must not see the credentials."""
ASLEEP = (429, 502, 503, 504)
"""What the front of a function that scales to zero answers while no instance is there to answer."""
_FORWARDED_HEADER = "X-Labelloop-Forwarded"
_SECONDS_HEADER = "X-Labelloop-Seconds"
_LARGEST_BODY = 100_000_000
"""Bytes of one request: tasks may hold whole images. functions-framework knows no limit."""
_SMALL_BODY = 100_000  # bytes
Access = Literal["open", "basic", "basic or secret"]
Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """What answers one method and path, and who may ask."""

    method: Literal["GET", "POST"]
    path: str
    access: Access
    handler: Handler


class Function:
    """The WSGI-facing half of a function: finds the route, checks access, turns errors into JSON answers."""

    def __init__(self, routes: list[Route], settings: Settings, *, observe: Callable[[str, int, float], None]) -> None:
        """`observe(path, status, seconds)` is told about every answer; `path` is a route's or "other"."""
        self._routes: dict[tuple[str, str], Route] = {(route.method, route.path): route for route in routes}
        self._paths = {route.path for route in routes}
        self._settings = settings
        self._observe = observe

    def __call__(self, request: Request) -> Response:
        """Answer one request. Never raises."""
        started = time.perf_counter()
        path = "/" + request.path.strip("/")
        response = self._answer(request, path)
        self._observe(path if path in self._paths else "other", response.status_code, time.perf_counter() - started)
        return response

    def _answer(self, request: Request, path: str) -> Response:
        route = self._routes.get((request.method, path))
        if not self._allowed(request, route.access if route else "basic"):
            challenge = {"WWW-Authenticate": 'Basic realm="labelloop"'}
            return _without_body(request, answer({"error": "credentials are missing or wrong"}, 401, challenge))
        if route is None:
            known = path in self._paths
            problem = f"no route {request.method} {path}"[:200]
            return _without_body(request, answer({"error": problem}, 405 if known else 404))
        request.max_content_length = _LARGEST_BODY
        try:
            response = route.handler(request)
            return _without_body(request, response) if route.method == "GET" else response
        except HTTPException as error:  # of the body, while it is read: too large, or the client is gone
            return _streamed(answer({"error": error.description}, error.code or 400))
        except (BadRequest, LabelConfigError) as error:
            return answer({"error": str(error)}, 400)
        except LabelloopError as error:
            logger.error(str(error), extra={"event": "request_failed", "path": path, "error": type(error).__name__})
            return answer({"error": str(error)}, 503)
        except Exception:
            logger.exception(
                "a request failed in a way nobody foresaw", extra={"event": "request_crashed", "path": path}
            )
            return answer({"error": "internal error; the log names it"}, 500)

    def _allowed(self, request: Request, access: Access) -> bool:
        settings = self._settings
        if access == "open" or settings.auth == "off":
            return True
        password, secret = settings.basic_auth_password, settings.webhook_secret
        if password is None and secret is None:
            return settings.loopback and _came_by_loopback(request)
        given = request.authorization
        if password is not None and given is not None and given.type == "basic":
            same_user = _same(given.username or "", settings.basic_auth_user)
            if _same(given.password or "", password.get_secret_value()) and same_user:
                return True
        return (
            access == "basic or secret"
            and secret is not None
            and _same(request.headers.get(SECRET_HEADER, ""), secret.get_secret_value())
        )


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(json.dumps(body), status, headers, mimetype="application/json")


def _without_body(request: Request, response: Response) -> Response:
    """An answer to a request whose body nobody needs. A small one is read: who is still sending may miss the answer."""
    length = request.content_length
    return response if length is not None and length <= _SMALL_BODY else _streamed(response)


def _streamed(response: Response) -> Response:
    """Before any other answer functions-framework reads the rest of the body into memory."""
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
    except requests.RequestException as error:
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


def pass_on(request: Request, url: str, timeout: float, *, seconds: float | None = None) -> Response:
    """What the other function answers to this request, once asked. Raises requests.RequestException.

    `timeout` in seconds; `seconds` tells the other function how many it has (see `seconds_left`).
    """
    target = url + request.path + (f"?{urlencode(list(request.args.items(multi=True)))}" if request.args else "")
    kept = ("Authorization", "Content-Type", SECRET_HEADER)
    headers = {name: request.headers[name] for name in kept if name in request.headers} | {_FORWARDED_HEADER: "1"}
    if seconds is not None:
        headers[_SECONDS_HEADER] = f"{seconds:.3f}"
    with requests.Session() as session:
        session.trust_env = urlsplit(url).hostname not in LOCAL
        reply = session.request(
            request.method,
            target,
            data=request.get_data(),
            headers=headers,
            auth=lambda prepared: prepared,  # as they came: not those of ~/.netrc
            timeout=(min(timeout, 5), timeout),
            allow_redirects=False,
        )
    return Response(
        reply.content, reply.status_code, mimetype=reply.headers.get("Content-Type", "application/json").split(";")[0]
    )


def seconds_left(request: Request, at_most: float) -> float:
    """How long an answer may take: what the function that handed the request on says is left, never over `at_most`."""
    try:
        said = float(request.headers.get(_SECONDS_HEADER, "inf"))
    except ValueError:
        return at_most
    return at_most if math.isnan(said) else min(max(said, 0.0), at_most)


def _came_by_loopback(request: Request) -> bool:
    """Whether the connection ends at a loopback address: HOST may say so and `--host` another thing.

    A server that does not show its socket is believed.
    """
    connection = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    return ipaddress.ip_address(connection.getsockname()[0].partition("%")[0]).is_loopback


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
