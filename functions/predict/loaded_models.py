"""The models in memory. A model is loaded once for all threads; a failed load is retried after a growing pause."""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from shared.errors import LabelloopError
from shared.prediction.metrics import Metrics
from shared.prediction.ports import DeadlineExceeded, Model, NotMadeYet, NotNow

logger = logging.getLogger(__name__)

Build = Callable[[], Model]

_FIRST_PAUSE = 10.0
"""Seconds between a failed load and the first retry; the pause doubles with each further failure …"""
_MAX_PAUSE = 300.0
"""… up to this: free memory, or room on a disk, is noticed within minutes."""
_LOOK_AGAIN = 3.0
"""Seconds between two looks for base weights that are not made yet: that is one small request to the store."""


@dataclass(eq=False, slots=True)
class _Load:
    """One try to load a model."""

    failures: int  # failed tries in a row before this one
    started: float = field(default_factory=time.monotonic)
    done: threading.Event = field(default_factory=threading.Event)
    model: Model | None = None
    error: LabelloopError | None = None
    retry_at: float = math.inf  # seconds of LoadedModels' clock, once it failed


class LoadedModels:
    """Cache of loaded models by key, least recently used out first. Thread-safe."""

    def __init__(self, keep: int, metrics: Metrics, clock: Callable[[], float]) -> None:
        """`keep`: models that stay. `clock`: seconds, for the pauses between retries."""
        self._keep = keep
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._loads: OrderedDict[Hashable, _Load] = OrderedDict()  # the most recently used is last

    def get(self, key: Hashable, build: Build, deadline: float, *, patience: float | None = None) -> Model:
        """The model of a key, made by `build` on a thread of its own. `deadline` is a time.monotonic() value.

        `patience`: for callers that have another model: after so many seconds of its first load, and at once during a
        retry, NotNow is raised. Raises DeadlineExceeded, and the LabelloopError that `build` raised; NotNow for any
        other error of `build`.
        """
        with self._lock:
            load = self._loads.get(key)
            if load is None or (load.error is not None and self._clock() >= load.retry_at):
                load = self._loads[key] = self._start(build, load.failures + 1 if load else 0)
            self._loads.move_to_end(key)
            self._forget_some()
        until = deadline
        if patience is not None:
            until = min(deadline, load.started + (0.0 if load.failures else patience))
        if not load.done.wait(max(until - time.monotonic(), 0.0)):
            if patience is not None:
                raise NotNow("the version is not loaded yet")
            raise DeadlineExceeded("the model was not loaded in time")
        if load.error is not None:
            raise load.error.with_traceback(None)  # a shared error: its traceback would grow with each raise
        assert load.model is not None
        return load.model

    def begin(self, key: Hashable, build: Build) -> None:
        """Begin to load a model that will be asked for soon, if one more may stay. Returns at once."""
        with self._lock:
            if key not in self._loads and len(self._loads) < self._keep:
                self._loads[key] = self._start(build, 0)

    def forget(self, key: Hashable) -> None:
        """Drop a model that was loaded. Requests hold their own references."""
        with self._lock:
            load = self._loads.get(key)
            if load is not None and load.model is not None:
                del self._loads[key]

    def _start(self, build: Build, failures: int) -> _Load:
        load = _Load(failures)
        try:
            threading.Thread(target=self._run, args=(load, build), name="load", daemon=True).start()
        except RuntimeError as error:
            self._end(load, NotNow(f"the model could not be loaded: {error}"))
        return load

    def _run(self, load: _Load, build: Build) -> None:
        try:
            load.model = build()
        except LabelloopError as error:
            self._end(load, error)
        except Exception as error:
            logger.exception("a model could not be loaded", extra={"event": "load_crashed"})
            self._end(load, NotNow(f"the model could not be loaded: {type(error).__name__}"))
        else:
            load.done.set()

    def _end(self, load: _Load, error: LabelloopError) -> None:
        if isinstance(error, NotMadeYet):
            load.retry_at, load.failures = self._clock() + _LOOK_AGAIN, -1  # once they are there, the first try
        else:
            self._metrics.load_failed()
            load.retry_at = self._clock() + min(_FIRST_PAUSE * 2.0**load.failures, _MAX_PAUSE)
        load.error = error.with_traceback(None)  # its frames would keep what was loaded in memory
        load.done.set()

    def _forget_some(self) -> None:
        """Drop models beyond `keep`. Requests hold their own references; loads that run or failed do not count."""
        loaded = [key for key, load in self._loads.items() if load.model is not None]
        for key in loaded[: -self._keep]:
            del self._loads[key]
