"""At most one call for a key in an interval: the first at once, those that come meanwhile as one at its end."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")
_KEPT_KEYS = 1000


@dataclass(slots=True)
class _Key:
    """What happens with one key."""

    next_at: float = 0.0  # time.monotonic()
    running: bool = False
    due: bool = False  # asked for meanwhile: call again at `next_at`


class Debounce(Generic[T]):
    """Threads start with the first call, not with the object: a server may fork in between."""

    def __init__(self, call: Callable[[str], T], *, interval: float, threads: int) -> None:
        """`interval` in seconds. `call(key)` runs on one of `threads` threads, never twice at once for a key."""
        self._call = call
        self._interval = interval
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="debounce")
        self._lock = threading.Lock()
        self._keys: dict[str, _Key] = {}

    def ask(self, key: str) -> Future[T] | None:
        """The call that starts now; None if the key's interval has not ended: then it is called when it does."""
        now = time.monotonic()
        with self._lock:
            self._forget(now)
            state = self._keys.setdefault(key, _Key())
            if state.running or state.due or now < state.next_at:
                if not (state.running or state.due):
                    self._later(key, state.next_at - now)
                state.due = True
                return None
            self._begin(state, now)
        return self._pool.submit(self._run, key)

    def _begin(self, state: _Key, now: float) -> None:
        state.running, state.due, state.next_at = True, False, now + self._interval

    def _run(self, key: str) -> T:
        try:
            return self._call(key)
        finally:
            with self._lock:
                state = self._keys[key]
                state.running = False
                if state.due:
                    self._later(key, max(0.0, state.next_at - time.monotonic()))

    def _later(self, key: str, seconds: float) -> None:
        timer = threading.Timer(seconds, self._again, args=(key,))
        timer.daemon = True
        timer.start()

    def _again(self, key: str) -> None:
        with self._lock:
            self._begin(self._keys[key], time.monotonic())
        try:
            self._pool.submit(self._run, key)
        except RuntimeError:
            logger.info("the process ends; the sweep will do it", extra={"event": "debounce_dropped", "key": key})

    def _forget(self, now: float) -> None:
        if len(self._keys) > _KEPT_KEYS:
            for key in [key for key, it in self._keys.items() if not (it.running or it.due) and it.next_at <= now]:
                del self._keys[key]
