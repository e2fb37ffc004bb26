"""What train_trigger does beside answering: on which threads, and when; it alone asks for the process's clock."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Protocol


class Threads(Protocol):
    """Pools of threads, calls that are due later, and the clock of both."""

    def monotonic(self) -> float:
        """Seconds."""

    def pool(self, count: int, name: str) -> Executor:
        """At most `count` calls at once; its threads start when they are needed."""

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once after that time. `call` must be short and must not raise: one thread makes all of these calls.

        Raises RuntimeError if there is no thread to give; then `call` is never called.
        """


class ProcessThreads:
    """Those of this process. None starts before the first call: a server may fork after the wiring."""

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
                self._thread = thread  # only now: if this machine has no thread to give, the next call tries again
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
