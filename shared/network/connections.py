"""Outgoing HTTP connections that one deadline bounds, from the name's address to the last byte.

A plain socket time-out starts anew with every byte, so a server that sends one byte a second holds a reader for days.
These sockets know the moment at which everything ends.
"""

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
"""Address family → a socket of it. Raises OSError for a family that this machine does not have."""
Connect = Callable[[str, int, float, MakeSocket], socket.socket]
"""Host, port, time.monotonic() value → a connected TCP socket. Raises OSError, UnicodeError, and what it likes to."""

_MIN_CONNECT = 0.5  # seconds that each of several addresses gets at least


class _Ends:
    """What both kinds of socket have: a moment after which reading raises TimeoutError."""

    deadline = float("inf")  # of time.monotonic()

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this answer is over")
        return min(left, 3600.0)


class _PlainSocket(_Ends, socket.socket):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self._left())
        return super().recv_into(*args, **kwargs)


class _TlsSocket(_Ends, ssl.SSLSocket):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self._left())
        return super().recv_into(*args, **kwargs)


def connect_to(host: str, places: Sequence[Place], until: float, make_socket: MakeSocket) -> socket.socket:
    """A connected TCP socket to the first place that can be reached. Raises OSError: why the last one cannot.

    `until`, a time.monotonic() value, bounds all attempts together.
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


def pool(connect_: Connect, maxsize: int) -> urllib3.PoolManager:
    """Connections made by `connect_`, at most `maxsize` kept for each host. No proxies, nothing from the environment.

    A request's `Timeout(total=…)` bounds it from connecting to the last byte of the body.
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
        if isinstance(connection.sock, _Ends) and isinstance(connection.timeout, (int, float)):
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

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    context = ssl.create_default_context()
    context.sslsocket_class = _TlsSocket
    manager = urllib3.PoolManager(maxsize=maxsize, ssl_context=context)
    manager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
    return manager
