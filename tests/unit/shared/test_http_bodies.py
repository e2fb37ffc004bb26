"""Bodies of requests: when they are read, how much of them, and answers that stream."""

import io
import socket

import functions_framework
import pytest
from flask import Flask, Request, Response

from shared.errors import BadRequest, BodyTooLarge, StoreError
from shared.settings import Settings
from shared.web.access import SECRET_HEADER
from shared.web.answers import answer
from shared.web.bodies import chunks_of
from shared.web.http import Function, Route
from tests.fakes.http_requests import LOOPBACK, OUTSIDE, RIGHT, Unread


class Endless(io.BytesIO):
    """A body of NUL bytes."""

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        return len(buffer)


class Broken(Unread):
    """A body that the server cannot parse."""

    def read(self, size: int | None = -1) -> bytes:
        raise LookupError("a chunk that is none")

    readinto = read


def send(
    body: io.BytesIO,
    length: int | None,
    *,
    method: str = "POST",
    path: str = "/x",
    headers: dict[str, str] = RIGHT,
    raises: Exception | None = None,
) -> int:
    """The status, after functions-framework has read the rest of the body, as it does after every response."""

    def handler(request: Request) -> Response:
        size = len(request.get_data())
        if raises is not None:
            raise raises
        return answer({"bytes": size})

    def count(request: Request) -> Response:
        return answer({"bytes": sum(map(len, chunks_of(request)))})

    function = Function(
        [
            Route("POST", "/x", "basic", handler),
            Route("GET", "/x", "open", lambda _: answer({"status": "UP"})),
            Route("POST", "/streams", "basic", lambda _: Response(iter(["a", "b"]), mimetype="text/plain")),
            Route("POST", "/large", "basic", count, streams=10),
        ],
        Settings.from_environ(OUTSIDE),
    )
    environ = {"wsgi.input": body, "wsgi.input_terminated": True}
    environ |= {"HTTP_TRANSFER_ENCODING": "chunked"} if length is None else {"CONTENT_LENGTH": str(length)}
    with Flask("test").test_request_context(path, method=method, headers=headers, environ_overrides=environ) as context:
        response = functions_framework.read_request(function(context.request))
    assert response.content_length in (None, len(response.get_data()))
    return int(response.status_code)


@pytest.mark.parametrize("length", [5, 4000, 10**12, None])
@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Basic \xff"}, {"Authorization": "Digest \xff"}, {SECRET_HEADER: "\xff"}]
)
def test_no_body_is_read_without_credentials(headers: dict[str, str], length: int | None) -> None:
    assert send(Unread(), length, headers=headers) == 401
    assert send(Unread(), length, headers=headers, path="/nothing") == 401
    assert send(Unread(), length, headers=headers, method="GET") == 200


@pytest.mark.parametrize("length", [5, 10**12, None])
def test_no_body_is_read_that_nobody_needs(length: int | None) -> None:
    assert send(Unread(), length, method="PUT") == 405
    assert send(Unread(), length, path="/nothing") == 404


def test_whatever_fails_before_credentials_are_checked_leaves_little_to_read() -> None:
    function = Function([], Settings.from_environ(LOOPBACK))
    closed = socket.socket()
    closed.close()
    environ = {"gunicorn.socket": closed, "wsgi.input": Unread(), "CONTENT_LENGTH": "5"}
    with Flask("test").test_request_context("/x", environ_overrides=environ) as context:
        response = functions_framework.read_request(function(context.request))
        assert context.request.max_content_length == 4000
    assert response.status_code == 500


def test_too_large_cut_off_and_broken_bodies_are_refused() -> None:
    assert send(io.BytesIO(b"12345"), 5) == 200
    assert send(io.BytesIO(b"12345"), None) == 200
    assert send(Unread(), 10**12) == 413
    assert send(Endless(), None) == 413
    assert send(io.BytesIO(b"12345"), 6) == 400
    assert send(Broken(), None) == 400


def test_a_route_that_streams_reads_by_itself_up_to_its_own_limit(caplog: pytest.LogCaptureFixture) -> None:
    assert send(io.BytesIO(b"123456789"), 9, path="/large") == 200
    assert send(io.BytesIO(b"123456789"), None, path="/large") == 200
    assert caplog.records == []
    assert send(Unread(), 11, path="/large") == 413
    assert send(Endless(), None, path="/large") == 413
    assert [(record.event, "select fewer tasks at a time" in record.message) for record in caplog.records] == [  # type: ignore[attr-defined]
        ("body_too_large", True)
    ] * 2
    assert send(io.BytesIO(b"12345"), 6, path="/large") == 400
    assert send(Broken(), None, path="/large") == 400


@pytest.mark.parametrize(
    ("raises", "status"),
    [(BadRequest("x"), 400), (BodyTooLarge("x"), 413), (StoreError("x"), 503), (RuntimeError("x"), 500)],
)
def test_every_refusal_streams(raises: Exception, status: int) -> None:
    assert send(io.BytesIO(b"12345"), 5, raises=raises) == status


def test_an_answer_that_streams_goes_on_to_stream() -> None:
    assert send(io.BytesIO(b"12345"), 5, path="/streams") == 200
