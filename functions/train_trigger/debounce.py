"""At most one call for a key in an interval: the first at once, those that come meanwhile as one at its end."""

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
"""Keys that are called, or whose interval has not ended. 2.5 KB each; more keys than projects are somebody's attack."""


@dataclass(slots=True)
class _Key:
    """What happens with one key. It is forgotten once its call and its interval have ended and nobody asked again."""

    unfinished: int  # of the two: the call, the interval
    due: bool = False  # asked for meanwhile: call again when both have ended


class Debounce(Generic[T]):
    """Threads start with the first call, not with the object: a server may fork in between."""

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

        Beyond `max_keys` a new key is not called: `on_full(key)` is told.
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
        """How many keys are called now, or were within the interval."""
        return len(self._keys)

    def ask(self, key: str) -> Future[T] | None:
        """The call that starts now; None if it comes later: at the end of the key's interval, or never (`on_full`)."""
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
                del self._keys[key]  # its interval would never end, and every later event would wait for that
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
                "the process ends, or has no thread to give; the sweep will do it",
                extra={"event": "debounce_dropped", "key": key},
            )
