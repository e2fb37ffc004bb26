"""HTTP connections for untrusted addresses: checked before they connect, and bounded by one deadline to the last byte.

A plain socket time-out starts anew with every byte, so a server that sends one byte a second holds a reader for days.
These sockets know the moment at which everything ends.
"""

import socket
import ssl
import time
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.response import HTTPResponse

from shared.images.addresses import AddressRules


class _Ends:
    """What both kinds of socket have: a moment after which reading raises TimeoutError."""

    deadline = float("inf")  # of time.monotonic()

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this image is over")
        return min(left, 3600.0)


class _PlainSocket(_Ends, socket.socket):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self._left())
        return super().recv_into(*args, **kwargs)


class _TlsSocket(_Ends, ssl.SSLSocket):
    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self._left())
        return super().recv_into(*args, **kwargs)


def pool(rules: AddressRules, maxsize: int) -> urllib3.PoolManager:
    """Connections that obey `rules`, at most `maxsize` kept for each host. No proxies, nothing from the environment.

    A request's `Timeout(total=…)` bounds it from connecting to the last byte of the body.
    """

    def connect(connection: HTTPConnection) -> socket.socket:
        timeout = connection.timeout
        seconds = timeout if isinstance(timeout, (int, float)) else 60.0
        try:
            return rules.connect(
                connection._dns_host, connection.port, seconds, lambda family: _PlainSocket(family, socket.SOCK_STREAM)
            )
        except socket.gaierror as error:
            raise NameResolutionError(connection.host, connection, error) from error
        except UnicodeError as error:  # a name that IDNA cannot encode
            raise NewConnectionError(connection, "not a host name") from error
        except TimeoutError as error:
            raise ConnectTimeoutError(connection, "no connection in time") from error
        except OSError as error:
            raise NewConnectionError(connection, str(error)) from error

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
