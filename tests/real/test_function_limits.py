"""What strangers and slow peers can do to a function as it really runs, under functions-framework and gunicorn."""

import contextlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.fakes.predict_parts import UID, label_config, predict_function
from tests.servers.trigger_process import eventually
from tests.servers.web_server import Handler, WebServer, web_server

PASSWORD = "password"
_BLOCK = bytes(1 << 16)
_BODY = 50_000_000
_MAX_MEMORY = 10_000  # kB that all these requests together may add


@pytest.fixture(scope="module")
def other() -> Iterator[WebServer]:
    """What the function hands events to: it never answers."""

    def hang(handler: Handler) -> None:
        handler.web.closing.wait(60)
        handler.close_connection = True

    with web_server(hang) as server:
        yield server


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory, other: WebServer) -> Iterator[str]:
    variables = {
        "LABELLOOP_DUMMY": "true",
        "LABELLOOP_BASIC_AUTH_PASSWORD": PASSWORD,
        "LABELLOOP_WEBHOOK_SECRET": "secret",
        "TRAIN_TRIGGER_URL": other.url,
        "THREADS": "4",
    }
    with predict_function(tmp_path_factory.mktemp("predict"), **variables) as url:
        yield url


def ask(url: str, head: bytes, body: int) -> bytes:
    """The first line of the answer to a request with this head and a body of `body` bytes, as far as it is taken."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head)
            for _ in range(0, body, len(_BLOCK)):
                connection.sendall(_BLOCK)
        return connection.makefile("rb").readline()


def peak_memory(url: str) -> int:
    """kB, of the function's process that needed most."""
    port = str(urlsplit(url).port).encode()
    peaks = [0]
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_bytes().split(b"\0")[-2:] == [port, b""]:
                peaks.append(int((folder / "status").read_text().split("VmHWM:")[1].split()[0]))
    return max(peaks)


def test_no_stranger_makes_the_function_keep_a_body(function: str) -> None:
    before = peak_memory(function)
    odd = [b"Authorization: Basic \xff", b"Authorization: Digest \xff", b"X-Labelloop-Secret: \xff", b"Accept: */*"]
    for given in odd:
        for length, start in ((b"Content-Length: %d" % _BODY, b""), (b"Transfer-Encoding: chunked", b"%x\r\n" % _BODY)):
            head = b"POST /webhook HTTP/1.1\r\nHost: x\r\n%s\r\n%s\r\n\r\n%s" % (length, given, start)
            assert ask(function, head, _BODY).split()[1] == b"401"
    assert before > 0
    assert peak_memory(function) < before + _MAX_MEMORY


def test_no_stranger_makes_the_function_keep_a_line_without_end(function: str) -> None:
    before = peak_memory(function)
    assert ask(function, b"GET /", _BODY).split()[1] == b"414"
    assert ask(function, b"GET / HTTP/1.1\r\nA: ", _BODY).split()[1] == b"431"
    assert peak_memory(function) < before + _MAX_MEMORY


def test_a_hundred_tasks_with_old_masks_are_answered_in_little_memory(function: str) -> None:
    """What "Retrieve predictions" sends where tasks have brush masks of two versions: more than 100 MB."""
    masks = json.dumps([{"result": [{"value": {"rle": [200] * 270_000}}]}]).encode()
    task = b'{"id":1,"data":{"image":"a"},"predictions":%s}' % masks
    config = json.dumps({"project": "1.1", "label_config": label_config()}).encode()[1:]

    def body() -> Iterator[bytes]:
        yield b'{"tasks":['
        for number in range(100):
            yield (b"," if number else b"") + task
        yield b"]," + config

    before = peak_memory(function)
    response = requests.post(f"{function}/predict", data=body(), auth=("labelloop", "password"), timeout=300)
    assert (response.status_code, len(response.json()["results"])) == (200, 100)
    assert 100 * len(task) > 130_000_000
    assert peak_memory(function) < before + 30_000


def test_health_and_setups_are_answered_while_as_many_requests_wait_as_may(function: str, other: WebServer) -> None:
    def post(path: str, body: object) -> int:
        return requests.post(function + path, json=body, auth=("labelloop", PASSWORD), timeout=60).status_code

    setup = {"project": UID, "schema": label_config()}
    predict = {"project": UID, "label_config": label_config(), "tasks": [{"id": 1, "data": {"image": "x"}}]}
    assert post("/predict", predict) == 200
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(post, "/webhook", {"action": "X"}) for _ in range(2)]
        eventually(lambda: len(other.seen) == 2, "both are handed over")
        assert post("/predict", predict) == post("/webhook", {"action": "X"}) == 503
        assert requests.get(f"{function}/health", timeout=60).status_code == post("/setup", setup) == 200
        other.closing.set()
        assert [one.result() for one in waiting] == [503, 503]  # the other one hangs up
    assert post("/predict", predict) == 200
