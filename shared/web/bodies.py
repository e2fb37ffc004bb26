"""Reads the bodies of requests, with size limits and uniform errors.

functions-framework has no limit, and its servers raise different errors for a body that breaks off.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Request
from werkzeug.exceptions import BadRequest as HTTPBadRequest
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from shared.errors import BodyTooLarge, LabelloopError

MAX_BODY = 100_000_000
"""Limit in bytes of a body that is kept in memory: tasks may hold whole images."""
MAX_STRANGERS_BODY = 4_000
"""Limit in bytes of what is read of a body without valid credentials, also in case of errors."""
_CHUNK = 1 << 20  # bytes


def read_body(request: Request) -> None:
    """Read the whole body into the request. Raises BodyTooLarge, and HTTPException if it breaks off."""
    with _body_errors(request):
        size = len(request.get_data())
    _check_size(request, size)


def chunks_of(request: Request) -> Iterator[bytes]:
    """The body in pieces, for a route that streams. Raises BodyTooLarge, and HTTPException if it breaks off."""
    size = 0
    with _body_errors(request):
        while chunk := request.stream.read(_CHUNK):
            size += len(chunk)
            yield chunk
    _check_size(request, size)


@contextmanager
def _body_errors(request: Request) -> Iterator[None]:
    try:
        yield
    except RequestEntityTooLarge as error:
        raise _too_large(request) from error
    except (HTTPException, LabelloopError, MemoryError):
        raise
    except Exception as error:  # each server raises its own errors for malformed chunks
        raise HTTPBadRequest(f"the body cannot be read ({type(error).__name__})") from error


def _check_size(request: Request, size: int) -> None:
    announced, limit = request.content_length, request.max_content_length
    if announced is None and limit is not None and size >= limit:  # werkzeug truncates a chunked body at the limit
        raise _too_large(request)
    if announced is not None and size < announced:
        raise HTTPBadRequest(f"the body ends after {size} of {announced} bytes")


def _too_large(request: Request) -> BodyTooLarge:
    limit = (request.max_content_length or 0) / 1e6
    return BodyTooLarge(
        f"a body of more than {limit:.0f} MB is not read: select fewer tasks at a time. Label Studio sends annotations "
        "and old predictions along: remove those that nobody needs"
    )
