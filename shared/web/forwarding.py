"""Forwards requests to the other function, and returns its responses."""

import logging
import math
import socket
from functools import cache
from urllib.parse import quote, unquote, urlencode

import urllib3
from flask import Request, Response
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from shared.network.connections import MakeSocket, connect_to, pool
from shared.network.resolver import Resolver
from shared.web.access import SECRET_HEADER
from shared.web.answers import answer

logger = logging.getLogger(__name__)

HELD_HEADER = "X-Labelloop-Held"
"""Header of predict's responses: the versions that it serves instead of those that the pointers name."""
EMPTY_HEADER = "X-Labelloop-Empty"
"""Header of predict's responses: why its first task without a prediction has none (`empty_header`)."""
_LONGEST_REASON = 500  # characters
_FORWARDED_HEADER = "X-Labelloop-Forwarded"
_SECONDS_HEADER = "X-Labelloop-Seconds"


def forward(request: Request, url: str | None, variable: str, timeout: float) -> Response:
    """The other function's response to the same request (body, query, credentials).

    `timeout` is in seconds. 503, with a sentence that names `variable`, if `url` is not set or not reachable.
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
    """The response to a request that cannot be forwarded: 503 without a `url`, 508 if it was forwarded already."""
    if url is None:
        problem = f"this function does not serve {request.path}; set {variable} to the address of the one that does"
        return answer({"error": problem}, 503)
    if _FORWARDED_HEADER in request.headers:
        return answer({"error": f"{variable} names the function that forwards to it"}, 508)
    return None


def pass_on(
    request: Request, url: str, timeout: float, *, seconds: float | None = None, body: bytes | None = None
) -> Response:
    """The other function's response to one try. Raises urllib3's HTTPError.

    `timeout`: seconds from name resolution to the last byte. `seconds`: how long the other function may take, which is
    sent to it in a header (see `seconds_left`). `body`: sent instead of the request's own.
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
        headers=headers | {"Connection": "close"},
        timeout=Timeout(connect=min(timeout, 5.0), total=timeout),
        redirect=False,
        retries=False,
    )
    response = Response(
        reply.data, reply.status, mimetype=reply.headers.get("Content-Type", "application/json").split(";")[0]
    )
    for name in (HELD_HEADER, EMPTY_HEADER):
        if name in reply.headers:
            response.headers[name] = reply.headers[name]
    return response


def empty_header(reason: str, message: str) -> str:
    """The value of EMPTY_HEADER: a word and a sentence, which may hold any characters."""
    return quote(f"{reason}: {message}"[:_LONGEST_REASON])


def read_empty_header(value: str) -> tuple[str, str]:
    """The word and the sentence of `empty_header`."""
    reason, _, message = unquote(value).partition(": ")
    return reason, message


@cache
def _peers() -> urllib3.PoolManager:
    resolver = Resolver()

    def connect(host: str, port: int, until: float, make_socket: MakeSocket) -> socket.socket:
        return connect_to(host, resolver.places(host, port, until), until, make_socket)

    return pool(connect, kept=1, idle=0)  # an idle connection would break when the function scales to zero


def seconds_left(request: Request, limit: float) -> float:
    """Seconds that the response may take: as the forwarding function allows in its header, at most `limit`."""
    try:
        said = float(request.headers.get(_SECONDS_HEADER, "inf"))
    except ValueError:
        return limit
    return limit if math.isnan(said) else min(max(said, 0.0), limit)
