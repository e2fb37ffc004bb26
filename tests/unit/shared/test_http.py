"""Routes and access rules."""

import base64
import io
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import functions_framework
import pytest
from flask import Flask, Request, Response
from prometheus_client import CollectorRegistry

from shared.errors import BadRequest, BodyTooLarge, LabelConfigError, SettingsError, StoreError
from shared.settings import Settings
from shared.web.access import SECRET_HEADER, Access
from shared.web.answers import answer
from shared.web.bodies import chunks_of
from shared.web.http import Function, Route
from shared.web.server import set_up_server

OUTSIDE = {"HOST": "0.0.0.0", "LABELLOOP_BASIC_AUTH_PASSWORD": "pass word", "LABELLOOP_WEBHOOK_SECRET": "secret"}
LOOPBACK = {"HOST": "127.0.0.1"}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


RIGHT = basic("labelloop", "pass word")


def ask(
    environ: dict[str, str],
    access: Access = "basic",
    *,
    path: str = "/x",
    method: str = "GET",
    raises: Exception | None = None,
    headers: dict[str, str] | None = None,
    connection: object = None,
) -> tuple[int, dict[str, Any], list[tuple[str, int]]]:
    registry = CollectorRegistry()

    def handler(_: Request) -> object:
        if raises is not None:
            raise raises
        return answer({"ok": True})

    function = Function(
        [Route("GET", "/x", access, handler)],  # type: ignore[arg-type]
        Settings.from_environ(environ),
        registry=registry,
    )
    environ_overrides = {"gunicorn.socket": connection} if connection else {}
    with Flask("test").test_request_context(
        path, method=method, headers=headers, environ_overrides=environ_overrides
    ) as context:
        response = function(context.request)
    counted = [
        (sample.labels["route"], int(sample.labels["status"]))
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "labelloop_http_requests_total" and sample.value == 1
    ]
    return response.status_code, response.get_json(), counted


@pytest.mark.parametrize(
    ("access", "headers", "status"),
    [
        ("open", {}, 200),
        ("basic", RIGHT, 200),
        ("basic", {}, 401),
        ("basic", basic("labelloop", "wrong"), 401),
        ("basic", basic("other", "pass word"), 401),
        ("basic", basic("labelloop", ""), 401),
        ("basic", {"Authorization": "Basic nonsense"}, 401),
        ("basic", {"Authorization": "Basic \xff"}, 401),
        ("basic", {"Authorization": "Basic"}, 401),
        ("basic", {"Authorization": "basic  " + RIGHT["Authorization"].removeprefix("Basic ")}, 200),
        ("basic", {"Authorization": "Digest a*=utf-8''%ff, b*=none''%00, c"}, 401),
        ("basic", {"Authorization": "\xff" * 8000}, 401),
        ("basic", {"Authorization": "Bearer pass word"}, 401),
        ("basic", {SECRET_HEADER: "secret"}, 401),
        ("basic or secret", {SECRET_HEADER: "secret"}, 200),
        ("basic or secret", RIGHT, 200),
        ("basic or secret", {SECRET_HEADER: "Secret"}, 401),
        ("basic or secret", {SECRET_HEADER: "sécret"}, 401),
        ("basic or secret", {}, 401),
    ],
)
def test_access_from_outside(access: Access, headers: dict[str, str], status: int) -> None:
    found = ask(OUTSIDE, access, headers=headers)
    assert (found[0], found[2]) == (status, [("/x", status)])


@pytest.mark.parametrize(
    ("environ", "headers", "status"),
    [
        pytest.param(LOOPBACK, {}, 200, id="loopback needs no credentials"),
        pytest.param(OUTSIDE | LOOPBACK, {}, 401, id="but keeps to them where there are some"),
        pytest.param({"HOST": "0.0.0.0"}, {}, 401, id="no credentials outside: closed, whatever main checks"),
        pytest.param({"HOST": "0.0.0.0"}, basic("labelloop", ""), 401, id="an empty password opens nothing"),
        pytest.param(OUTSIDE | {"LABELLOOP_AUTH": "off"}, {}, 200, id="switched off by name"),
        pytest.param(LOOPBACK | {"LABELLOOP_WEBHOOK_SECRET": "s"}, {}, 401, id="only a secret: basic stays closed"),
    ],
)
def test_access_by_settings(environ: dict[str, str], headers: dict[str, str], status: int) -> None:
    assert ask(environ, headers=headers)[0] == status


@dataclass
class Connection:
    """The part of a server's socket that is used."""

    address: str
    family: int = socket.AF_INET

    def getsockname(self) -> tuple[str, int]:
        return self.address, 8080


@pytest.mark.parametrize(
    ("connection", "status"),
    [
        (Connection("127.0.0.1"), 200),
        (Connection("::1", socket.AF_INET6), 200),
        (Connection("192.0.2.7"), 401),
        (Connection("fe80::1%eth0", socket.AF_INET6), 401),
    ],
    ids=lambda value: getattr(value, "address", str(value)),
)
def test_without_credentials_a_connection_must_end_at_loopback_whatever_host_says(
    connection: Connection, status: int
) -> None:
    assert ask(LOOPBACK, connection=connection)[0] == status
    assert ask(LOOPBACK, "open", connection=connection)[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:9090"}, 200),
        ({"Host": "127.0.0.1:9090"}, 200),
        ({"Host": "127.8.8.8"}, 200),
        ({"Host": "[::1]:9090"}, 200),
        ({"Host": "evil.example:9090"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "192.0.2.7:9090"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "\xff[:"}, 403),
        ({"Host": "127.0.0.1:9090", "Origin": "http://127.0.0.1:9090"}, 200),
        ({"Host": "127.0.0.1:9090", "Origin": "http://127.0.0.1:8080"}, 403),
        ({"Host": "127.0.0.1:9090", "Origin": "https://evil.example"}, 403),
        ({"Host": "127.0.0.1:9090", "Origin": "null"}, 403),
        ({"Host": "127.0.0.1:9090", "Origin": "http://[\xff"}, 403),
    ],
    ids=str,
)
def test_without_credentials_no_page_of_another_site_is_answered(headers: dict[str, str], status: int) -> None:
    for method in ("GET", "POST"):
        found = ask(LOOPBACK, headers=headers, method=method)
        assert found[0] == (405 if (method, status) == ("POST", 200) else status)
        assert ("LABELLOOP_BASIC_AUTH_PASSWORD" in str(found[1])) == (status == 403)
    assert ask(LOOPBACK, "open", headers=headers)[0] == 200  # health
    assert ask(OUTSIDE, headers=headers | RIGHT)[0] == 200  # where there are credentials, they decide


def test_refusals_say_how_to_ask_and_nothing_of_the_password() -> None:
    status, body, _ = ask(OUTSIDE, headers=basic("labelloop", "wrong"))
    assert (status, "pass word" in json.dumps(body)) == (401, False)


@pytest.mark.parametrize(
    ("method", "path", "status", "route"),
    [
        ("GET", "/x/", 200, "/x"),
        ("POST", "/x", 405, "/x"),
        ("GET", "/y", 404, "other"),
        ("GET", "/" + "y" * 1000, 404, "other"),
    ],
)
def test_routes(method: str, path: str, status: int, route: str) -> None:
    found = ask(LOOPBACK, method=method, path=path)
    assert (found[0], found[2]) == (status, [(route, status)])


def test_unknown_routes_are_not_told_to_strangers() -> None:
    assert ask(OUTSIDE, "open", path="/y")[0] == 401


@pytest.mark.parametrize(
    ("raises", "status"),
    [(BadRequest("x"), 400), (LabelConfigError("x"), 400), (StoreError("x"), 503), (RuntimeError("x"), 500)],
)
def test_errors_become_json(raises: Exception, status: int) -> None:
    code, body, observed = ask(LOOPBACK, raises=raises)
    assert (code, observed) == (status, [("/x", status)])
    assert ("x" in body["error"].split()) == (status != 500)  # what nobody foresaw may hold anything


@pytest.mark.parametrize("raises", [MemoryError(), RuntimeError("can't start new thread")], ids=str)
def test_a_request_for_which_memory_is_short_is_one_for_later(
    raises: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    code, body, _ = ask(LOOPBACK, raises=raises)
    assert (code, body["error"].endswith("try again")) == (503, True)
    assert [record.event for record in caplog.records] == ["out_of_memory"]  # type: ignore[attr-defined]


class Unread(io.BytesIO):
    """A body that must not be read."""

    def read(self, size: int | None = -1) -> bytes:
        raise AssertionError("the body is read")

    readinto = read  # type: ignore[assignment]


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


class Waiting:
    """A function of some threads with one route that waits until `release` is set."""

    def __init__(self, threads: int) -> None:
        self.entered, self.release = threading.Semaphore(0), threading.Event()
        routes = [
            Route("POST", "/wait", "basic", self._wait, waits=True),
            Route("POST", "/fail", "basic", self._fail, waits=True),
            Route("GET", "/health", "open", lambda _: answer({"status": "UP"})),
        ]
        self._function = Function(routes, Settings.from_environ(OUTSIDE), threads=threads)

    def ask(self, path: str, body: io.BytesIO | None = None) -> int:
        method, environ = ("GET", {}) if path == "/health" else ("POST", {})
        if body is not None:
            environ = {"wsgi.input": body, "CONTENT_LENGTH": "5"}
        with Flask("test").test_request_context(path, method=method, headers=RIGHT, environ_overrides=environ) as made:
            return self._function(made.request).status_code

    def _wait(self, _: Request) -> Response:
        self.entered.release()
        assert self.release.wait(60)
        return answer({})

    def _fail(self, _: Request) -> Response:
        raise RuntimeError


def test_what_waits_gets_half_of_the_threads_and_health_the_others() -> None:
    function = Waiting(threads=4)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(function.ask, "/wait") for _ in range(2)]
        for _ in waiting:
            assert function.entered.acquire(timeout=60)
        assert function.ask("/wait", Unread()) == 503  # unread: a body that never ends would hold a thread, too
        assert function.ask("/fail") == 503
        assert function.ask("/health") == 200
        function.release.set()
        assert [one.result() for one in waiting] == [200, 200]
    assert [function.ask("/fail") for _ in range(3)] == [500] * 3  # whatever happens, places are given back
    assert [function.ask("/wait") for _ in range(3)] == [200] * 3


def test_the_number_of_threads_is_a_number() -> None:
    environ: dict[str, str] = {}
    assert (set_up_server(environ), environ) == (64, {"THREADS": "64"})  # functions-framework reads it afterwards
    assert set_up_server({"THREADS": "8"}) == 8
    for given in ("many", "0", "-1", "1.5", "", "9" * 5000):
        with pytest.raises(SettingsError, match="THREADS"):
            set_up_server({"THREADS": given})
