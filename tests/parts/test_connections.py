"""Outgoing connections: which are used again."""

import math
import threading
import time

import pytest
import urllib3

from shared.network.connections import connect_to, pool
from shared.network.resolver import Resolver
from tests.servers.web_server import Handler, WebServer, web_server


def connections(idle: float) -> urllib3.PoolManager:
    resolver = Resolver()
    return pool(
        lambda host, port, until, make: connect_to(host, resolver.places(host, port, until), until, make),
        kept=1,
        idle=idle,
    )


def ask_twice(server: WebServer, idle: float, between: float = 0.0) -> list[int]:
    """Both answers' status."""
    http, found = connections(idle), list[int]()
    for pause in (between, 0.0):
        found.append(http.request("POST", server.url, body=b"{}", retries=False).status)
        time.sleep(pause)
    return found


@pytest.mark.parametrize(("idle", "between", "made"), [(0, 0, 2), (0.05, 0.1, 2), (60, 0, 1), (math.inf, 0, 1)])
def test_a_connection_is_used_again_for_so_long(idle: float, between: float, made: int) -> None:
    with web_server(lambda handler: handler.reply(200, b"{}")) as server:
        assert ask_twice(server, idle, between) == [200, 200]
        assert server.connections == made


def test_none_is_used_again_that_the_server_is_about_to_close() -> None:
    """Seen: a server that was told `Connection: close` need not say so too, and closes when it comes to it."""
    over = threading.Event()

    def answer_and_close(handler: Handler) -> None:
        handler.reply(200, b"{}")
        handler.close_connection = True
        over.wait(0.2)

    with web_server(answer_and_close) as server:
        assert ask_twice(server, 0) == [200, 200]
        over.set()
