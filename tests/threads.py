"""Threads whose clock is the test's."""

import heapq
import itertools
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor


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
