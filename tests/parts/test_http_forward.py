"""A request handed on to the other function."""

import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from shared.web.forwarding import forward
from tests.servers.web_server import Handler, web_server

RIGHT = {"Authorization": "Basic bGFiZWxsb29wOnBhc3Mgd29yZA=="}


def hand_over(url: str | None, headers: Mapping[str, str] | None = None, *, timeout: float = 5.0) -> tuple[int, bytes]:
    asked: dict[str, Any] = {"method": "POST", "data": b'{"action": "X"}', "headers": headers}
    with Flask("test").test_request_context("/webhook?a=1&a=2", **asked) as context:
        response = forward(context.request, url, "TRAIN_TRIGGER_URL", timeout)
    return response.status_code, response.get_data()


def test_forward_hands_over_body_query_and_credentials_and_answers_what_is_answered() -> None:
    with web_server(lambda handler: handler.reply(202, b'{"job": "j"}', Content_Type="application/json")) as other:
        assert hand_over(other.url, RIGHT) == (202, b'{"job": "j"}')
    (seen,) = other.seen
    assert (seen.method, seen.path, seen.body) == ("POST", "/webhook?a=1&a=2", b'{"action": "X"}')
    assert seen.authorization == RIGHT["Authorization"]


def test_forward_sends_what_came_whatever_the_environment_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login other password wrong\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for proxy, host in (("", "127.0.0.2"), ("http://127.0.0.1:9", "127.0.0.1")):
        monkeypatch.setenv("http_proxy", proxy)
        with web_server(lambda handler: handler.reply(200, b"{}"), host=host) as other:
            assert hand_over(other.url, RIGHT)[0] == 200
        assert [seen.authorization for seen in other.seen] == [RIGHT["Authorization"]]


def test_forward_does_not_count_on_a_connection_that_the_other_function_is_about_to_close() -> None:
    """Seen: 503 for an event, and Label Studio sends none again."""
    over = threading.Event()

    def answer_and_close(handler: Handler) -> None:
        handler.reply(201, b"{}")
        over.wait(0.2)  # then it closes the connection, as it was asked to

    with web_server(answer_and_close) as other:
        assert [hand_over(other.url)[0] for _ in range(3)] == [201] * 3
        over.set()


def test_forward_follows_no_redirect() -> None:
    with web_server(lambda handler: handler.reply(302, Location="http://evil.example/")) as other:
        assert hand_over(other.url, RIGHT)[0] == 302


def test_forward_without_an_address_or_to_nobody_names_the_setting() -> None:
    for url in (None, "http://127.0.0.1:9"):
        status, body = hand_over(url)
        assert status == 503
        assert b"TRAIN_TRIGGER_URL" in body


def test_forward_ends_in_time_whatever_the_other_one_sends() -> None:
    """Seen with one byte at a time: a time-out that starts anew with each held a thread for as long as they came."""
    over = threading.Event()

    def drip(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        while not over.wait(0.02):
            handler.wfile.write(b" ")

    with web_server(drip) as other, ThreadPoolExecutor(1) as asker:
        asked = asker.submit(hand_over, other.url, timeout=0.3)
        try:
            status, body = asked.result(10)
        finally:
            over.set()
    assert status == 503
    assert b"TRAIN_TRIGGER_URL is not reachable" in body


def test_forward_does_not_wait_for_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hang(*_: object, **__: object) -> None:
        over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with ThreadPoolExecutor(1) as asker:
        asked = asker.submit(hand_over, "http://predict.example", timeout=0.3)
        try:
            status, body = asked.result(10)
        finally:
            over.set()
    assert status == 503
    assert b"TRAIN_TRIGGER_URL is not reachable" in body


def test_two_functions_that_name_each_other_do_not_pass_a_request_for_ever() -> None:
    def back(handler: Handler) -> None:
        headers = {name: value for name, value in handler.headers.items() if name.startswith("X-")}
        status, body = hand_over("http://127.0.0.1:9", headers)
        handler.reply(status, body)

    with web_server(back) as other:
        assert hand_over(other.url)[0] == 508
