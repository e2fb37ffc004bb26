"""A proxy before a real HTTP server that loses answers or refuses in its place, as a network and a busy store do."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

LOSE_ANSWER = 0
"""Instead of a status: hand the request on, then hang up without an answer."""


@dataclass
class FaultyProxy:
    """`faults` holds ("PUT" or "POST uploadId=", status or LOSE_ANSWER): method, part of the path.

    Each is used up by the first request that fits.
    """

    url: str
    faults: list[tuple[str, int]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # "PUT 200", "PUT lost", in the order of the answers


@contextmanager
def faulty_proxy(target: str) -> Iterator[FaultyProxy]:
    """Serve on a free loopback port; `target` is the address of the real server."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                fault = next((fault for fault in proxy.faults if self._fits(fault[0])), None)
                if fault:
                    proxy.faults.remove(fault)
            if fault and fault[1] != LOSE_ANSWER:
                return self._answer(fault[1], [], b"")
            connection = http.client.HTTPConnection(urlsplit(target).netloc, timeout=30)
            try:
                headers = {name: value for name, value in self.headers.items() if name != "Expect"}
                connection.request(self.command, self.path, body, headers)
                reply = connection.getresponse()
                data = reply.read()
            finally:
                connection.close()
            if fault:
                proxy.seen.append(f"{self.command} lost")
                self.close_connection = True
                return None
            kept = [(name, value) for name, value in reply.getheaders() if name.lower() not in ("date", "server")]
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
