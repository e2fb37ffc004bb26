"""Routes and access rules."""

import io
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from flask import Flask, Request, Response

from shared.errors import BadRequest, LabelConfigError, SettingsError, StoreError
from shared.settings import Settings
from shared.web.access import SECRET_HEADER, Access
from shared.web.answers import answer
from shared.web.http import Function, Route
from shared.web.server import set_up_server
from tests.fakes.http_requests import LOOPBACK, OUTSIDE, RIGHT, Unread, ask, basic


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


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 405),  # no browser
        ({"Origin": "http://labelloop.example:9091"}, 405),
        ({"Origin": "https://proxy.example", "X-Forwarded-Host": "proxy.example"}, 405),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, 405),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://labelloop.example:8080"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[\xff"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
    ids=str,
)
def test_a_page_of_another_site_posts_nothing_with_the_password_that_a_browser_knows(
    headers: dict[str, str], status: int
) -> None:
    asked, off = headers | {"Host": "labelloop.example:9091"}, {"LABELLOOP_AUTH": "off"}
    assert ask(OUTSIDE, headers=asked | RIGHT, method="POST")[0] == status
    assert ask(OUTSIDE | off, headers=asked, method="POST")[0] == status, "nor where a proxy asks for it"
    assert ask(OUTSIDE, headers=asked | RIGHT)[0] == 200, "a link from elsewhere shows a page"
    assert ask(OUTSIDE, headers=asked, method="POST")[0] == 401


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
