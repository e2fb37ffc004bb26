"""Threads and timers for what train_trigger does besides answering; tests and simulations give their own."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Protocol


class Threads(Protocol):
    """Pools of threads, delayed calls, and the clock of both."""

    def monotonic(self) -> float:
        """The clock, in seconds, as time.monotonic()."""

    def pool(self, count: int, name: str) -> Executor:
        """A pool of at most `count` threads, which start when they are needed."""

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call `call` once, after so many seconds. It must be short and not raise: one thread makes all such calls.

        Raises RuntimeError if no thread can be started; then `call` is never called.
        """


class ProcessThreads:
    """Real threads. None starts before it is needed: a server may fork after the wiring."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], None]]] = []  # a heap
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def monotonic(self) -> float:
        """See Threads.monotonic."""
        return time.monotonic()

    def pool(self, count: int, name: str) -> Executor:
        """See Threads.pool."""
        return ThreadPoolExecutor(count, thread_name_prefix=name)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """See Threads.later."""
        with self._news:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="later", daemon=True)
                thread.start()
                self._thread = thread  # only now: if no thread can be started, the next call tries again
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), call))
            self._news.notify()

    def _run(self) -> None:
        while True:
            with self._news:
                while (left := self._seconds_left()) > 0:
                    self._news.wait(min(left, threading.TIMEOUT_MAX))
                _, _, call = heapq.heappop(self._due)
            call()

    def _seconds_left(self) -> float:
        return self._due[0][0] - time.monotonic() if self._due else float("inf")
