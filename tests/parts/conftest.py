"""Servers that tests of one part share."""

from collections.abc import Iterator

import pytest

from tests.servers.photos import serve_photo
from tests.servers.web_server import WebServer, web_server


@pytest.fixture
def photos() -> Iterator[WebServer]:
    with web_server(serve_photo) as server:
        yield server
