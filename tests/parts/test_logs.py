"""Log lines: one line each, and nothing of what libraries would tell."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import urllib3

from shared.logs import configure_logs
from tests.servers.web_server import web_server


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is written at the lowest level; the loggers are as before afterwards."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    stream = io.StringIO()
    configure_logs("DEBUG", stream)
    yield stream
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def test_a_message_of_several_lines_is_one_line(lines: io.StringIO) -> None:
    logging.getLogger("labelloop").debug("one\ntwo", extra={"event": "forged\n{}"})
    (line,) = lines.getvalue().splitlines()
    assert (json.loads(line)["message"], json.loads(line)["event"]) == ("one\ntwo", "forged\n{}")


def test_signed_addresses_are_not_logged_at_any_level(lines: io.StringIO) -> None:
    with web_server(lambda handler: handler.reply(200, b"")) as web, urllib3.PoolManager() as http:
        http.request("GET", f"{web.url}/image.jpg?X-Amz-Signature=secret")
    assert "secret" not in lines.getvalue()
