"""Results that take long to make, kept for the next question: bounded in number and bytes, least recently used out."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from shared.prediction.ports import NotNow

Made = TypeVar("Made")


class Kept(Generic[Made]):
    """Makes each result once, on a thread of its own: who does not wait for it finds it at the next call. Thread-safe.

    What failed is not kept.
    """

    def __init__(
        self, size: Callable[[Made], int], *, entries: int, max_bytes: int, threads: int = 2, waiting: int = 16
    ) -> None:
        """`size`: bytes of a result. `threads`: results that are made at once. `waiting`: most of those begun."""
        self._size = size
        self._entries, self._max_bytes, self._waiting = entries, max_bytes, waiting
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="kept")
        self._lock = threading.Lock()
        self._making: dict[Hashable, Future[Made]] = {}
        self._kept: OrderedDict[Hashable, tuple[Future[Made], int]] = OrderedDict()  # the most recently used is last
        self._bytes = 0

    def get(self, key: Hashable, make: Callable[[], Made]) -> "Future[Made]":
        """The result of a key, made by `make` if it is neither kept nor being made. Raises NotNow."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            if key in self._making:
                return self._making[key]
            if len(self._making) >= self._waiting:
                raise NotNow(f"{self._waiting} pictures are waiting already")
            try:
                made = self._making[key] = self._threads.submit(make)
            except RuntimeError as error:
                raise NotNow(f"the machine has no free thread: {error}") from error
        made.add_done_callback(lambda made: self._keep(key, made))  # outside of the lock: it may be called at once
        return made

    def _keep(self, key: Hashable, made: "Future[Made]") -> None:
        size = None if made.exception() else self._size(made.result())
        with self._lock:
            del self._making[key]
            if size is None:
                return
            self._kept[key] = made, size
            self._bytes += size
            while len(self._kept) > self._entries or self._bytes > self._max_bytes:
                _, (_, gone) = self._kept.popitem(last=False)
                self._bytes -= gone
