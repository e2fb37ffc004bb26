"""A real HTTP server in a thread, for tests: it answers what a function says, and keeps what arrived."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = Callable[["Handler"], object]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str  # with query
    authorization: str | None
    body: bytes


@dataclass(slots=True)
class WebServer:
    """Where it listens and what it saw."""

    host: str
    port: int
    scheme: str = "http"
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """By address."""
        return self.named(self.host)

    def named(self, name: str) -> str:
        """By a name that a test's resolver knows."""
        return f"{self.scheme}://{name}:{self.port}"

    @property
    def tokens(self) -> list[str | None]:
        """The Authorization header of each request."""
        return [seen.authorization for seen in self.seen]


LABEL_STUDIO_404 = json.dumps(
    {
        "id": "0d4b1d0e-8a6f-4c3a-9c55-6f0f6f3a7f65",
        "status_code": 404,
        "version": "1.23.2",
        "detail": "No Project matches the given query.",
        "exc_info": None,
    }
).encode()
"""As a real one answers for a project that it does not have."""


class Handler(BaseHTTPRequestHandler):
    """What an answer gets: the request, and ways to reply."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: each answer would take 40 ms
    web: WebServer
    respond: Callable[[], object]  # an `Answer`, bound

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer; `Content_Type="…"` becomes Content-Type."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def setup(self) -> None:
        """Count connections."""
        super().setup()
        self.web.connections += 1

    def do_GET(self) -> None:
        """Every method: keep the request, then answer."""
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.web.seen.append(Seen(self.command, self.path, self.headers.get("Authorization"), self.body))
        try:
            self.respond()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients of these tests break connections off on purpose."""


@contextmanager
def web_server(
    answer: Answer, *, host: str = "127.0.0.1", port: int = 0, certificate: tuple[Path, Path] | None = None
) -> Iterator[WebServer]:
    """Listen on a free port until the end of the block. `certificate`: files of certificate and key, for https."""
    server = _Server((host, port), type("Answering", (Handler,), {"respond": answer}))
    web = WebServer(host, server.server_address[1], "https" if certificate else "http")
    server.RequestHandlerClass.web = web  # type: ignore[attr-defined]
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
