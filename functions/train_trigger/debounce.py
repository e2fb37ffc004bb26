"""Debounces calls: a key is called at once, then at the end of an interval if it was asked for again meanwhile."""

import functools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from functions.train_trigger.threads import Threads

logger = logging.getLogger(__name__)

T = TypeVar("T")
MAX_KEYS = 50_000
"""Keys that may be known at once: called now, or within their interval. 2.5 KB each; only an attack has so many."""


@dataclass(slots=True)
class _Key:
    """The state of a key, kept until its call and its interval have both ended and nobody has asked again."""

    unfinished: int  # 2: call and interval, 1: one of them
    due: bool = False  # asked for again: call once more when both have ended


class Debounce(Generic[T]):
    """Thread-safe. Its threads start with the first call, not with the object: a server may fork in between."""

    def __init__(
        self,
        call: Callable[[str], T],
        threads: Threads,
        *,
        interval: float,
        at_once: int,
        on_full: Callable[[str], None],
        max_keys: int = MAX_KEYS,
    ) -> None:
        """`interval` in seconds. `call(key)` runs on one of `at_once` threads, never twice at once for a key.

        While `max_keys` are known, a new key is not called; `on_full(key)` is called instead.
        """
        self._call = call
        self._threads = threads
        self._pool = threads.pool(at_once, "debounce")
        self._interval = interval
        self._on_full = on_full
        self._max_keys = max_keys
        self._lock = threading.Lock()
        self._keys: dict[str, _Key] = {}

    def __len__(self) -> int:
        """Number of keys that are called now or are within their interval."""
        return len(self._keys)

    def ask(self, key: str) -> Future[T] | None:
        """The call of the key if it starts now; None if it comes at the end of the interval, or never (`on_full`)."""
        with self._lock:
            state = self._keys.get(key)
            full = state is None and len(self._keys) >= self._max_keys
            if state is not None:
                state.due = True
            elif not full:
                self._keys[key] = _Key(unfinished=2)
        if full:
            self._on_full(key)
        return self._begin(key) if state is None and not full else None

    def _begin(self, key: str) -> Future[T]:
        try:
            self._threads.later(self._interval, functools.partial(self._finished, key))
        except RuntimeError:
            with self._lock:
                del self._keys[key]  # else its interval never ends, and every later event waits for that
            raise
        return self._pool.submit(self._run, key)

    def _run(self, key: str) -> T:
        try:
            return self._call(key)
        except Exception:
            logger.exception(
                "unexpected error in a delayed call", extra={"event": "debounced_call_crashed", "key": key}
            )
            raise
        finally:
            self._finished(key)

    def _finished(self, key: str) -> None:
        """The call or the interval of a key ended."""
        with self._lock:
            state = self._keys[key]
            state.unfinished -= 1
            if state.unfinished:
                return
            if not state.due:
                del self._keys[key]
                return
            state.unfinished, state.due = 2, False
        try:
            self._begin(key)
        except RuntimeError:
            logger.info(
                "the process ends, or no thread can be started: the call is left to the sweep",
                extra={"event": "debounce_dropped", "key": key},
            )
