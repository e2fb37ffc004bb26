"""Threads whose clock is the test's, and threads that cannot be had."""

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

_NO_ROOM = 1 << 46  # bytes of a stack


@contextmanager
def no_thread_can_be_started() -> Iterator[None]:
    """The real failure, RuntimeError("can't start new thread"): no machine has memory for such a stack."""
    size = threading.stack_size(_NO_ROOM)
    try:
        yield
    finally:
        threading.stack_size(size)


class ClockedThreads:
    """Real pools; what is due later is called when the test moves the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def pool(self, count: int, name: str) -> Executor:
        return ThreadPoolExecutor(count, thread_name_prefix=name)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._order), call))

    def pass_(self, seconds: float) -> None:
        """Let time pass, and make the calls that are due by then."""
        self.now += seconds
        while self._due and self._due[0][0] <= self.now:
            heapq.heappop(self._due)[2]()
