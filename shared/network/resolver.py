"""Name resolution with a deadline. The system's resolver cannot be interrupted, so it runs on threads of its own."""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

Place = tuple[int, tuple[Any, ...]]
"""(address family, socket address)."""
Resolve = Callable[[str, int], Iterable[Place]]
"""(host, port) → all addresses. Raises OSError, or UnicodeError for a name that IDNA cannot encode."""

_AT_ONCE = 64
"""Names resolved at a time: a name without an answer keeps its thread until the resolver gives up."""


def resolve(host: str, port: int) -> list[Place]:
    """All addresses of a host, by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, place) for family, _, _, _, place in found]


class Resolver:
    """Resolves names on threads. Thread-safe."""

    def __init__(self, resolve: Resolve = resolve, *, at_once: int = _AT_ONCE) -> None:
        self._resolve = resolve
        self._threads = threading.BoundedSemaphore(at_once)

    def places(self, host: str, port: int, until: float) -> list[Place]:
        """All addresses of a host. `until`: deadline as time.monotonic().

        Raises OSError (TimeoutError at the deadline) and UnicodeError.
        """
        if not self._threads.acquire(timeout=max(until - time.monotonic(), 0.0)):
            raise TimeoutError(f"no address of {host} in time: too many other names are being resolved")
        found: Future[list[Place]] = Future()
        try:
            threading.Thread(target=self._look_up, args=(host, port, found), name="resolver", daemon=True).start()
        except RuntimeError as error:  # the machine has no free thread
            self._threads.release()
            raise OSError(f"{host} cannot be resolved: {error}") from error
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
