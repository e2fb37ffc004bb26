"""Names to addresses in bounded time. Nothing interrupts the system's resolver, so it works on threads of its own."""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

Place = tuple[int, tuple[Any, ...]]
"""Address family and socket address."""
Resolve = Callable[[str, int], Iterable[Place]]
"""Host and port → each address. Raises OSError, or UnicodeError for a name that IDNA cannot encode."""

_AT_ONCE = 64
"""Names looked up at once: a name that nobody answers for keeps its thread until the resolver gives up."""


def resolve(host: str, port: int) -> list[Place]:
    """What the system's resolver says."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, place) for family, _, _, _, place in found]


class Resolver:
    """Thread-safe."""

    def __init__(self, resolve: Resolve = resolve, *, at_once: int = _AT_ONCE) -> None:
        self._resolve = resolve
        self._threads = threading.BoundedSemaphore(at_once)

    def places(self, host: str, port: int, until: float) -> list[Place]:
        """Every address of a host. `until` is a time.monotonic() value.

        Raises OSError (TimeoutError if there is no answer by then) and UnicodeError.
        """
        if not self._threads.acquire(timeout=max(until - time.monotonic(), 0.0)):
            raise TimeoutError(f"no address of {host} in time: other names are not answered either")
        found: Future[list[Place]] = Future()
        try:
            threading.Thread(target=self._look_up, args=(host, port, found), name="resolver", daemon=True).start()
        except RuntimeError as error:  # this machine has no thread to give
            self._threads.release()
            raise OSError(f"{host} cannot be looked up: {error}") from error
        try:
            return found.result(timeout=max(until - time.monotonic(), 0.0))
        except TimeoutError as error:
            raise TimeoutError(f"no address of {host} in time") from error

    def _look_up(self, host: str, port: int, found: "Future[list[Place]]") -> None:
        try:
            places = list(self._resolve(host, port))
        except Exception as error:  # noqa: BLE001 - raised where `places` was called
            found.set_exception(error)
        else:
            found.set_result(places)
        finally:
            self._threads.release()
