"""A proxy before a real HTTP server that loses, damages or refuses in its place, as a network and a busy store do."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

LOSE_ANSWER = 0
"""Instead of a status: hand the request on, then hang up without an answer."""

DAMAGE = -1
"""Instead of a status: change the last byte of the body, the request's if it has one, else the answer's."""

_OWN = ("date", "server", "transfer-encoding")  # headers that the proxy sets as its own answer needs them


@dataclass
class FaultyProxy:
    """`faults` holds ("PUT" or "POST uploadId=", status or LOSE_ANSWER): method, part of the path.

    Each is used up by the first request that fits. `write_interval`: 429 to every POST that comes sooner, in seconds,
    after one that succeeded.
    """

    url: str
    faults: list[tuple[str, int]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # "PUT 200", "PUT lost", in the order of the answers
    write_interval: float = 0.0


@contextmanager
def faulty_proxy(target: str) -> Iterator[FaultyProxy]:
    """Serve on a free loopback port; `target` is the address of the real server."""
    lock = threading.Lock()
    written = float("-inf")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            nonlocal written
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                fault = next((fault for fault in proxy.faults if self._fits(fault[0])), None)
                if fault:
                    proxy.faults.remove(fault)
            if fault and fault[1] not in (LOSE_ANSWER, DAMAGE):
                return self._answer(fault[1], [], b"")
            if fault and fault[1] == DAMAGE:
                body = _damaged(body)
            if self.command == "POST" and time.monotonic() < written + proxy.write_interval:
                return self._answer(429, [], b"")
            connection = http.client.HTTPConnection(urlsplit(target).netloc, timeout=30)
            try:
                headers = {name: value for name, value in self.headers.items() if name != "Expect"}
                with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it read all
                    connection.request(self.command, self.path, body, headers)
                reply = connection.getresponse()
                data = reply.read()
            finally:
                connection.close()
            if self.command == "POST" and reply.status == 200:
                written = time.monotonic()
            if fault and fault[1] == DAMAGE and not body:
                data = _damaged(data)
            if fault and fault[1] == LOSE_ANSWER:
                proxy.seen.append(f"{self.command} lost")
                self.close_connection = True
                return None
            kept = [(name, value) for name, value in reply.getheaders() if name.lower() not in _OWN]
            return self._answer(reply.status, kept, data)

        def _fits(self, request: str) -> bool:
            method, _, part = request.partition(" ")
            return method == self.command and part in self.path

        def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            proxy.seen.append(f"{self.command} {status}")
            self.send_response(status)
            names = {name.lower() for name, _ in headers}
            for name, value in headers:
                self.send_header(name, value)
            if "content-length" not in names and status not in (204, 304):
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815  # names of http.server

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy = FaultyProxy(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


def _damaged(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1]) if body else body
