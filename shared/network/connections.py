"""Outgoing HTTP connections with one deadline for everything, from name resolution to the last byte.

A plain socket timeout starts again with every byte, so a server that sends one byte a second could keep a reader for
days. These sockets have a deadline instead.
"""

import math
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.response import HTTPResponse

from shared.network.resolver import Place

MakeSocket = Callable[[int], socket.socket]
"""Address family → new socket. Raises OSError for a family that this machine does not have."""
Connect = Callable[[str, int, float, MakeSocket], socket.socket]
"""(host, port, deadline as time.monotonic(), make_socket) → connected TCP socket.

Raises OSError, UnicodeError, or errors of its own, which the pool does not translate.
"""

_MIN_CONNECT = 0.5  # seconds for each of several addresses


class _Deadline:
    """Part of both kinds of socket: a time after which reading raises TimeoutError."""

    deadline = float("inf")  # time.monotonic()

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline of this request has passed")
        return min(left, 3600.0)


class _PlainSocket(_Deadline, socket.socket):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self._left())
        return super().recv_into(*args, **kwargs)


class _TlsSocket(_Deadline, ssl.SSLSocket):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self._left())
        return super().recv_into(*args, **kwargs)


def connect_to(host: str, places: Sequence[Place], until: float, make_socket: MakeSocket) -> socket.socket:
    """A TCP socket, connected to the first address that can be reached. Raises the OSError of the last one.

    `until` (time.monotonic()) is the deadline of all attempts together.
    """
    failed = OSError(f"{host} has no address")
    for number, (family, place) in enumerate(places):
        left = max(until - time.monotonic(), 0.001)
        try:
            sock = make_socket(family)
        except OSError as error:
            failed = error
            continue
        try:
            sock.settimeout(min(left, max(left / (len(places) - number), _MIN_CONNECT)))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(place)
        except OSError as error:
            sock.close()
            failed = error
        else:
            return sock
    raise failed


class _NotIdle(HTTPConnectionPool):
    """Part of both kinds of pool: connections that have been idle for long are made anew."""

    idle = math.inf  # seconds

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.idle_since = time.monotonic()
            if not self.idle:
                conn.close()
        super()._put_conn(conn)

    def _get_conn(self, timeout: float | None = None) -> Any:
        conn: Any = super()._get_conn(timeout)
        if time.monotonic() - getattr(conn, "idle_since", math.inf) >= self.idle:
            conn.close()  # using it connects it again
        return conn


def pool(connect_: Connect, *, kept: int, idle: float) -> urllib3.PoolManager:
    """A pool of connections made by `connect_`. It ignores proxies of the environment.

    The `Timeout(total=…)` of a request is its limit from connecting to the last byte of the body.

    `kept`: connections to each host that stay open for further requests. `idle`: seconds after which one that was not
    used is not used again. The server may close it in the moment in which the next request is sent, which fails then,
    and may have been done or not: so requests that may not be sent twice need a short time, or 0.
    """

    def connect(connection: HTTPConnection) -> socket.socket:
        timeout = connection.timeout
        until = time.monotonic() + (timeout if isinstance(timeout, (int, float)) else 60.0)
        try:
            return connect_(
                connection._dns_host, connection.port, until, lambda family: _PlainSocket(family, socket.SOCK_STREAM)
            )
        except socket.gaierror as error:
            raise NameResolutionError(connection.host, connection, error) from error
        except UnicodeError as error:  # a name that IDNA cannot encode
            raise NewConnectionError(connection, "not a host name") from error
        except TimeoutError as error:
            raise ConnectTimeoutError(connection, "no connection in time") from error
        except OSError as error:
            raise NewConnectionError(connection, error.strerror or str(error)) from error

    def start_clock(connection: HTTPConnection) -> None:
        if isinstance(connection.sock, _Deadline) and isinstance(connection.timeout, (int, float)):
            connection.sock.deadline = time.monotonic() + connection.timeout

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

        def getresponse(self) -> HTTPResponse:  # type: ignore[override]
            start_clock(self)
            return super().getresponse()

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

        def getresponse(self) -> HTTPResponse:  # type: ignore[override]
            start_clock(self)
            return super().getresponse()

    class PlainPool(_NotIdle):
        ConnectionCls = Plain

    class TlsPool(_NotIdle, HTTPSConnectionPool):
        ConnectionCls = Tls

    PlainPool.idle = TlsPool.idle = idle

    context = ssl.create_default_context()
    context.sslsocket_class = _TlsSocket
    manager = urllib3.PoolManager(maxsize=kept, ssl_context=context)
    manager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
    return manager
