"""Values that are read again and again from a store that may be slow or gone: the last known ones do meanwhile."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from shared.errors import StoreError

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

_MAX_KEYS = 10_000
"""Values kept: a process meets more projects than it has memory for, and keys that somebody made up."""
_PATIENCE = 1.0
"""Seconds to wait for a read where an older value is known: Label Studio waits 3 s for a setup."""
_FIRST_PATIENCE = 2.0
"""Seconds to wait for the first read of a value. What it finds later is known to the next who asks."""
_MIN_PATIENCE = 0.25
"""Seconds for a first read while others hang: a setup may ask for many values."""


class _Reading(NamedTuple):
    value: object
    at: float  # seconds, monotonic; the read began then


@dataclass(eq=False, slots=True)
class _Read:
    """A read under way, on a thread of its own: a store that hangs holds that thread alone."""

    started: float = field(default_factory=time.monotonic)
    done: "Future[None]" = field(default_factory=Future)
    late: bool = False  # somebody went on without it


class LastKnown(Generic[Value]):
    """Values from the store, read again once they are older than `max_age` seconds. Thread-safe.

    While the store fails, or takes longer than `patience` seconds, the last known value is answered; without one, the
    read is waited for `first_patience` seconds, and its StoreError, or one of its own, raised. Beyond `max_keys` those
    that were read longest ago are forgotten.
    """

    def __init__(
        self,
        max_age: float,
        *,
        patience: float = _PATIENCE,
        first_patience: float = _FIRST_PATIENCE,
        max_keys: int = _MAX_KEYS,
    ) -> None:
        self._max_age = max_age
        self._patience = patience
        self._first_patience = first_patience
        self._max_keys = max_keys
        self._readings: dict[object, _Reading] = {}
        self._reads: dict[object, _Read] = {}
        self._lock = threading.Lock()

    def get(self, key: object, read: Callable[[], Value]) -> Value:
        """The value of `key`. It is read once at a time; whoever wants the same key waits for that read."""
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
                    raise StoreError(f"{key}: the store takes too long; what it answers is known to the next who asks")
                self._log_late(key, under_way)
                return known.value  # type: ignore[return-value]
            try:
                under_way.done.result()
            except StoreError:
                if known is None:
                    raise
                return known.value  # type: ignore[return-value]

    def last(self, key: object) -> Value | None:
        """What was read last, however old; None if nothing was."""
        known = self._readings.get(key)
        return known.value if known else None  # type: ignore[return-value]

    def put(self, key: object, value: Value) -> None:
        """Answer this value until it is too old."""
        with self._lock:
            self._reads.pop(key, None)  # what is being read is older
            self._keep(key, _Reading(value, time.monotonic()))

    def expire(self, key: object) -> None:
        """Read again at the next `get`; until that succeeds the value stays the last known one."""
        with self._lock:
            self._reads.pop(key, None)
            known = self._readings.get(key)
            if known is not None:
                self._readings[key] = known._replace(at=float("-inf"))

    def _start(self, key: object, read: Callable[[], Value]) -> _Read:
        under_way = _Read()
        try:
            threading.Thread(target=self._run, args=(key, read, under_way), name="store", daemon=True).start()
        except RuntimeError as error:  # this machine has no thread to give: the next question tries again
            logger.error(
                "nothing can be read from the store now",
                extra={"event": "store_unreachable", "key": str(key), "error": str(error)},
            )
            under_way.done.set_exception(StoreError(f"{key}: {error}"))
        else:
            self._reads[key] = under_way
        return under_way

    def _left_for(self, under_way: _Read, *, first: bool) -> float:
        """Seconds to wait for a read. While another one hangs, (almost) nobody waits: it is the same store."""
        oldest = min(one.started for one in (*self._reads.values(), under_way))
        patience, least = (self._first_patience, _MIN_PATIENCE) if first else (self._patience, 0.0)
        return max(oldest + patience - time.monotonic(), least)

    def _run(self, key: object, read: Callable[[], Value], under_way: _Read) -> None:
        try:
            value: object = read()
        except StoreError as error:
            known = self._readings.get(key)
            if known is None:
                self._finish(key, under_way, None, StoreError(f"{key}: {error}"))
                return
            logger.error(
                "the store failed: going on with what was read last",
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
        self._readings.pop(key, None)  # the newest stands last
        self._readings[key] = reading
        if len(self._readings) > self._max_keys:
            del self._readings[next(iter(self._readings))]

    def _log_late(self, key: object, under_way: _Read) -> None:
        if not under_way.late:
            under_way.late = True
            logger.warning(
                "the store takes long: going on with what was read last",
                extra={"event": "store_slow", "key": str(key)},
            )
