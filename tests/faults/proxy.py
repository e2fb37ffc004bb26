"""What stands between a program and a server: passes everything on until it is told to misbehave.

It listens on the loopback address and reaches nothing else.
"""

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from infra.local.processes import LOOPBACK

_TIMEOUT = 120.0  # seconds for an answer of the real server
_CONNECTION = ("connection", "keep-alive", "transfer-encoding")  # headers of one connection, not of the message
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole."""

    method: str
    path: str  # with query
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whole."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    def without(self, *names: str) -> Headers:
        """The headers but those of these names."""
        return tuple((name, value) for name, value in self.headers if name.lower() not in names)


Source = Callable[[Request], Answer]
"""Where good answers come from. Raises OSError or HTTPException where none comes."""


def forward(url: str) -> Source:
    """Answers of the real server at `url`. Raises ValueError for an address that is not of this machine."""
    parts = urlsplit(url)
    if parts.hostname != LOOPBACK or parts.port is None:
        raise ValueError(f"the proxies reach {LOOPBACK} alone, not {url}")
    port = parts.port

    def ask(request: Request) -> Answer:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT)
        try:
            connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                if name.lower() not in (*_CONNECTION, "expect"):
                    connection.putheader(name, value)
            with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has read all
                connection.endheaders(request.body or None)
            answer = connection.getresponse()
            return Answer(answer.status, tuple(answer.getheaders()), answer.read())
        finally:
            connection.close()

    return ask


class Exchange:
    """One request and what can be done about it."""

    def __init__(self, request: Request, source: Source, handler: "_Handler") -> None:
        self.request = request
        self._source = source
        self._handler = handler

    def pass_on(self) -> Answer:
        """Ask the real server; 502 if it does not answer, as proxies do."""
        try:
            return self._source(self.request)
        except (OSError, http.client.HTTPException) as error:
            return Answer(502, (), f"{type(error).__name__}: {error}".encode())

    def reply(self, answer: Answer, *, cut_after: int | None = None) -> None:
        """Send it; with `cut_after` so many bytes of the body, then the connection breaks."""
        self.begin(answer, len(answer.body))
        body = b"" if self.request.method == "HEAD" else answer.body
        self.send(body[:cut_after])
        if cut_after is not None:
            self.hang_up()

    def begin(self, answer: Answer, length: int | None) -> None:
        """Status and headers, with the length of a body that `send` will send; None: it does not say."""
        head = self.request.method == "HEAD" or answer.status in (204, 304)
        self._handler.send_response_only(answer.status)
        for name, value in answer.headers if head else answer.without("content-length"):
            if name.lower() not in _CONNECTION:
                self._handler.send_header(name, value)
        if not head and length is not None:
            self._handler.send_header("Content-Length", str(length))
        self._handler.end_headers()

    def send(self, data: bytes) -> None:
        """A part of the body."""
        self._handler.wfile.write(data)

    def hang_up(self) -> None:
        """Break the connection off."""
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._handler.close_connection = True

    def wait(self, seconds: float | None = None) -> bool:
        """Let so much time pass, or all until the proxy is healed; whether it was healed."""
        return self._handler.server.proxy.healed.wait(seconds)


Behaviour = Callable[[Exchange], None]
"""Deals with one exchange. Called on many threads at once."""


def well_behaved(exchange: Exchange) -> None:
    """As if there were no proxy."""
    exchange.reply(exchange.pass_on())


class Proxy:
    """Listens for as long as the `with` block lasts, or refuses while it is `gone`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.behaviour: Behaviour = well_behaved
        self.healed = threading.Event()
        self.healed.set()
        self._port = 0
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._open()

    @property
    def url(self) -> str:
        """The same as long as it lives."""
        return f"http://{LOOPBACK}:{self._port}"

    def misbehave(self, behaviour: Behaviour) -> None:
        """Every request from now on."""
        self.behaviour = behaviour
        self.healed.clear()

    def vanish(self) -> None:
        """Break all connections off, and refuse new ones."""
        self._close()

    def heal(self) -> None:
        """All is well again."""
        self.behaviour = well_behaved
        self.healed.set()
        if self._server is None:
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.healed.set()
        self._close()

    def _open(self) -> None:
        self._server = _Server((LOOPBACK, self._port), _Handler)
        self._server.proxy = self
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def _close(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.break_off()
            self._thread.join()
            self._server = self._thread = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: Proxy

    def __init__(self, address: tuple[str, int], handler: "type[_Handler]") -> None:
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, handler)

    @contextmanager
    def open_connection(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)

    def break_off(self) -> None:
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed break connections off."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 300.0
    server: _Server

    def handle(self) -> None:
        with self.server.open_connection(self.connection), suppress(ConnectionError, TimeoutError):
            super().handle()

    def _exchange(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, tuple(self.headers.items()), body)
        proxy = self.server.proxy
        proxy.behaviour(Exchange(request, proxy.source, self))

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _exchange  # noqa: N815  # names of http.server

    def log_message(self, *_: object) -> None:
        """Quiet."""
