"""The proxies of tests/faults: good as long as they are told to be, and then wrong in exactly one way."""

import random
import socket
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest
import urllib3

from tests.faults import behaviours
from tests.faults.proxy import Answer, Proxy, Request, forward
from tests.servers.web_server import Handler, WebServer, web_server


def _answer(handler: Handler) -> None:
    handler.reply(200, b"0123456789", X_Kept="yes")


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server(_answer) as server:
        yield server


@pytest.fixture
def proxy(server: WebServer) -> Iterator[Proxy]:
    with Proxy(forward(server.url)) as proxy:
        yield proxy


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=10) as http:
        yield http


def test_nothing_is_changed_on_the_way(server: WebServer, proxy: Proxy, http: urllib3.PoolManager) -> None:
    answer = http.request("POST", f"{proxy.url}/a?b=c", body=b"x" * 100_000, headers={"Authorization": "Token t"})
    assert (answer.status, answer.data, answer.headers["X-Kept"]) == (200, b"0123456789", "yes")
    (seen,) = server.seen
    assert (seen.method, seen.path, seen.authorization, len(seen.body)) == ("POST", "/a?b=c", "Token t", 100_000)


def test_it_reaches_this_machine_alone() -> None:
    for url in ("http://example.org:80", "http://127.0.0.2:80", "http://localhost:80", "http://127.0.0.1"):
        with pytest.raises(ValueError, match="alone"):
            forward(url)


def test_it_vanishes_with_its_connections_and_comes_back(proxy: Proxy, http: urllib3.PoolManager) -> None:
    url = proxy.url
    assert http.request("GET", url).status == 200
    with socket.create_connection(("127.0.0.1", urllib3.util.parse_url(url).port)) as kept:
        kept.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        while not kept.recv(1000).endswith(b"9"):
            pass
        proxy.vanish()
        assert kept.recv(1) == b""
        with pytest.raises(urllib3.exceptions.HTTPError):
            http.request("GET", url)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", urllib3.util.parse_url(url).port))
    proxy.heal()
    assert proxy.url == url
    assert http.request("GET", url).status == 200


def test_an_answer_is_refused_cut_or_never_comes(server: WebServer, proxy: Proxy, http: urllib3.PoolManager) -> None:
    proxy.misbehave(behaviours.status(503))
    assert http.request("GET", proxy.url).status == 503
    proxy.misbehave(behaviours.hang)
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        http.request("GET", proxy.url, timeout=0.1)
    assert server.seen == []
    proxy.misbehave(behaviours.cut)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        http.request("GET", proxy.url)
    proxy.misbehave(behaviours.slow(0.01))
    assert http.request("GET", proxy.url).data == b"0123456789"
    proxy.heal()
    assert http.request("GET", proxy.url).data == b"0123456789"


def test_a_write_is_done_and_its_answer_lost(server: WebServer, proxy: Proxy, http: urllib3.PoolManager) -> None:
    proxy.misbehave(behaviours.lose_answers(random.Random(0)))
    lost = 0
    for _ in range(10):
        try:
            http.request("POST", proxy.url, body=b"x")
        except urllib3.exceptions.HTTPError:
            lost += 1
        assert http.request("GET", proxy.url).status == 200
    assert 0 < lost < 10
    assert sum(seen.method == "POST" for seen in server.seen) == 10


def test_a_clock_is_wrong_by_an_hour(proxy: Proxy, http: urllib3.PoolManager) -> None:
    before = parsedate_to_datetime(http.request("GET", proxy.url).headers["Date"])
    proxy.misbehave(behaviours.clock(3600))
    after = parsedate_to_datetime(http.request("GET", proxy.url).headers["Date"])
    assert timedelta(minutes=59) < after - before < timedelta(minutes=61)


def test_events_are_lost_doubled_and_late(server: WebServer, proxy: Proxy, http: urllib3.PoolManager) -> None:
    def send(*names: str) -> None:
        for name in names:
            assert http.request("POST", f"{proxy.url}/{name}", body=b"{}").status < 300

    def arrived() -> list[str]:
        paths = [seen.path for seen in server.seen]
        server.seen.clear()
        return paths

    proxy.misbehave(behaviours.lose_events)
    send("a", "b")
    assert arrived() == []
    proxy.misbehave(behaviours.double)
    send("a")
    assert arrived() == ["/a", "/a"]
    late = behaviours.Late(random.Random(1))
    proxy.misbehave(late)
    send("a", "b", "c", "d")
    assert arrived() == []
    late.deliver()
    order = arrived()
    assert sorted(order) == ["/a", "/b", "/c", "/d"] != order


def test_pictures_that_are_none(http: urllib3.PoolManager) -> None:
    with Proxy(behaviours.pictures([b"\xff\xd8first", b"\xff\xd8second"])) as proxy:
        assert http.request("GET", f"{proxy.url}/3.jpg").data == b"\xff\xd8second"
        assert http.request("GET", f"{proxy.url}/etc").status == 404
        proxy.misbehave(behaviours.huge)
        answer = http.request("GET", f"{proxy.url}/0.jpg", preload_content=False)
        assert int(answer.headers["Content-Length"]) > 10**10
        answer.close()
        proxy.misbehave(behaviours.endless)
        answer = http.request("GET", f"{proxy.url}/0.jpg", preload_content=False)
        assert "Content-Length" not in answer.headers
        assert len(answer.read(3 << 20)) == 3 << 20
        answer.close()
        proxy.misbehave(behaviours.broken(random.Random(0)))
        assert http.request("GET", f"{proxy.url}/0.jpg").data not in (b"\xff\xd8first", b"")


def test_a_server_that_is_gone_is_a_bad_gateway() -> None:
    def gone(_: Request) -> Answer:
        raise ConnectionRefusedError("nobody there")

    with Proxy(gone) as proxy, urllib3.PoolManager(retries=False) as http:
        assert http.request("GET", proxy.url).status == 502
