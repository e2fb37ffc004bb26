"""The models in memory: each is loaded once for all who ask, and again after growing pauses where that failed."""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from functions.predict.metrics import Metrics
from functions.predict.ports import DeadlineExceeded, Model, NotNow
from shared.errors import LabelloopError

logger = logging.getLogger(__name__)

Build = Callable[[], Model]

_FIRST_PAUSE = 10.0
"""Seconds for which a failure is answered again without another try; twice as long after each further one …"""
_LONGEST_PAUSE = 300.0
"""… but not longer: memory that is there again, or a disk with room, is found within minutes."""


@dataclass(eq=False, slots=True)
class _Load:
    """One try to load a model."""

    failures: int  # tries in a row that failed before this one
    started: float = field(default_factory=time.monotonic)
    done: threading.Event = field(default_factory=threading.Event)
    model: Model | None = None
    error: LabelloopError | None = None
    again_at: float = math.inf  # on the clock of the pauses, once it failed


class LoadedModels:
    """Thread-safe."""

    def __init__(self, keep: int, metrics: Metrics, clock: Callable[[], float]) -> None:
        """`keep` models stay, the least recently used leave; `clock` in seconds."""
        self._keep = keep
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._loads: OrderedDict[Hashable, _Load] = OrderedDict()  # what was asked for last stands last

    def get(self, key: Hashable, build: Build, deadline: float, *, patience: float | None = None) -> Model:
        """The model of a key, which `build` makes. `deadline` is a time.monotonic() value.

        `patience`: seconds that its first load may take; after them, and while it is tried again, NotNow is raised
        instead of waiting: for those who have another model. Raises DeadlineExceeded, and what `build` raises, with
        NotNow for what it raises unforeseen.
        """
        with self._lock:
            load = self._loads.get(key)
            if load is None or (load.error is not None and self._clock() >= load.again_at):
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
            raise load.error.with_traceback(None)  # or it would grow with each time that it is raised
        assert load.model is not None
        return load.model

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
        self._metrics.load_failed()
        load.again_at = self._clock() + min(_FIRST_PAUSE * 2.0**load.failures, _LONGEST_PAUSE)
        load.error = error.with_traceback(None)  # its frames hold what was loaded
        load.done.set()

    def _forget_some(self) -> None:
        """Requests under way keep their own reference. What is being loaded, or failed, takes no memory."""
        loaded = [key for key, load in self._loads.items() if load.model is not None]
        for key in loaded[: -self._keep]:
            del self._loads[key]
