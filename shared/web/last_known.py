"""Cache of values from the store, or from Label Studio; answers the last known value while that is slow or down."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from shared.errors import StoreError

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

_MAX_KEYS = 10_000
"""Limit of cached values: there may be very many projects, and keys come from callers."""
_PATIENCE = 1.0
"""Seconds to wait for a read if an older value is known: Label Studio waits 3 s for a setup."""
_FIRST_PATIENCE = 2.0
"""Seconds to wait for the first read of a value. A read that takes longer serves the next request."""
_MIN_PATIENCE = 0.25
"""Seconds to wait for a first read while other reads hang: a setup may need many values."""


class _Reading(NamedTuple):
    value: object
    at: float  # time.monotonic() when the read began


@dataclass(eq=False, slots=True)
class _Read:
    """A running read, on a thread of its own: a store that hangs blocks only that thread."""

    started: float = field(default_factory=time.monotonic)
    done: "Future[None]" = field(default_factory=Future)
    late: bool = False  # logged as slow already


class LastKnown(Generic[Value]):
    """Cache of values from the store, which are read again if older than `max_age` seconds. Thread-safe.

    If the store fails, or takes longer than `patience` seconds, `get` returns the last known value. Without one it
    waits `first_patience` seconds, and raises the read's error or a StoreError. Beyond `max_keys` values, those that
    were read longest ago are forgotten.
    """

    def __init__(
        self,
        max_age: float,
        *,
        patience: float = _PATIENCE,
        first_patience: float = _FIRST_PATIENCE,
        max_keys: int = _MAX_KEYS,
        source: str = "the store",
    ) -> None:
        """`source`: what the values are read from, for messages."""
        self._source = source
        self._max_age = max_age
        self._patience = patience
        self._first_patience = first_patience
        self._max_keys = max_keys
        self._readings: dict[object, _Reading] = {}
        self._reads: dict[object, _Read] = {}
        self._looked: dict[object, _Reading] = {}  # after which reading it was looked ahead
        self._lock = threading.Lock()

    def get(self, key: object, read: Callable[[], Value]) -> Value:
        """The value of `key`, from the cache or by `read`. Concurrent calls for a key share one read.

        Raises StoreError if there is no value to return, and what else `read` raises.
        """
        asked = time.monotonic()
        while True:
            with self._lock:
                known = self._readings.get(key)
                if known is not None and known.at >= asked - self._max_age:
                    return known.value  # type: ignore[return-value]
                under_way = self._reads.get(key) or self._start(key, read)
                patience = self._left_for(under_way, first=known is None)
            wait([under_way.done], timeout=patience)
            if not under_way.done.done():
                if known is None:
                    raise StoreError(f"{key}: {self._source} takes too long; try again, its answer will be cached")
                self._log_late(key, under_way)
                return known.value  # type: ignore[return-value]
            try:
                under_way.done.result()
            except StoreError:
                if known is None:
                    raise
                return known.value  # type: ignore[return-value]

    def look_ahead(self, key: object, read: Callable[[], Value], came: Callable[[Value], None]) -> None:
        """Read a value on another thread once half of its age is over. Returns at once.

        The same value is young again, and no `get` has to wait for it. Any other is only told to `came`: `get` finds it
        when the age is over. A read that fails changes nothing.
        """
        with self._lock:
            known = self._readings.get(key)
            if known is None or key in self._reads or self._looked.get(key) is known:
                return
            if not self._max_age / 2 <= time.monotonic() - known.at < self._max_age:
                return
            self._looked[key] = known
        with suppress(RuntimeError):  # no free thread: `get` reads it
            threading.Thread(target=self._look, args=(key, known, read, came), name="look", daemon=True).start()

    def _look(self, key: object, known: _Reading, read: Callable[[], Value], came: Callable[[Value], None]) -> None:
        began = time.monotonic()
        try:
            value = read()
        except Exception:  # noqa: BLE001 - the next `get` meets it too, and says so
            return
        if value != known.value:
            came(value)
            return
        with self._lock:
            if self._readings.get(key) is known:
                self._keep(key, _Reading(value, began))

    def last(self, key: object) -> Value | None:
        """The last known value, however old; None without one."""
        known = self._readings.get(key)
        return known.value if known else None  # type: ignore[return-value]

    def put(self, key: object, value: Value) -> None:
        """Cache a value that was just written to the store."""
        with self._lock:
            self._reads.pop(key, None)  # a running read may return an older value
            self._keep(key, _Reading(value, time.monotonic()))

    def expire(self, key: object) -> None:
        """Read the value again at the next `get`; it stays the last known one until that succeeds."""
        with self._lock:
            self._reads.pop(key, None)
            known = self._readings.get(key)
            if known is not None:
                self._readings[key] = known._replace(at=float("-inf"))

    def _start(self, key: object, read: Callable[[], Value]) -> _Read:
        under_way = _Read()
        try:
            threading.Thread(target=self._run, args=(key, read, under_way), name="store", daemon=True).start()
        except RuntimeError as error:  # the machine has no free thread: the next call tries again
            logger.error(
                "the store cannot be read now",
                extra={"event": "store_unreachable", "key": str(key), "error": str(error)},
            )
            under_way.done.set_exception(StoreError(f"{key}: {error}"))
        else:
            self._reads[key] = under_way
        return under_way

    def _left_for(self, under_way: _Read, *, first: bool) -> float:
        """Seconds to wait for a read, measured from the oldest running one: if that hangs, the store does."""
        oldest = min(one.started for one in (*self._reads.values(), under_way))
        patience, min_patience = (self._first_patience, _MIN_PATIENCE) if first else (self._patience, 0.0)
        return max(oldest + patience - time.monotonic(), min_patience)

    def _run(self, key: object, read: Callable[[], Value], under_way: _Read) -> None:
        try:
            value: object = read()
        except StoreError as error:
            known = self._readings.get(key)
            if known is None:
                self._finish(key, under_way, None, StoreError(f"{key}: {error}"))
                return
            logger.error(
                "the store failed: going on with the last known value",
                extra={"event": "store_unreachable", "key": str(key), "error": str(error)},
            )
            value = known.value
        except Exception as error:  # noqa: BLE001 - raised where `get` was called
            self._finish(key, under_way, None, error)
            return
        self._finish(key, under_way, _Reading(value, under_way.started), None)

    def _finish(self, key: object, under_way: _Read, reading: _Reading | None, error: Exception | None) -> None:
        with self._lock:
            if self._reads.get(key) is under_way:
                del self._reads[key]
                if reading is not None:
                    self._keep(key, reading)
        if error is not None:
            under_way.done.set_exception(error)
        else:
            under_way.done.set_result(None)

    def _keep(self, key: object, reading: _Reading) -> None:
        self._readings.pop(key, None)  # the newest is last
        self._readings[key] = reading
        if len(self._readings) > self._max_keys:
            oldest = next(iter(self._readings))
            del self._readings[oldest]
            self._looked.pop(oldest, None)

    def _log_late(self, key: object, under_way: _Read) -> None:
        if not under_way.late:
            under_way.late = True
            logger.warning(
                f"{self._source} is slow: going on with the last known value",
                extra={"event": "store_slow", "key": str(key)},
            )
