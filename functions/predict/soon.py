"""A value that is slow to make: it is made on a background thread, before it is needed."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Soon(Generic[Made]):
    """A value that `make` makes once, on a thread of its own. Thread-safe."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: Future[Made] | None = None

    def begin(self) -> "Future[Made]":
        """Start making the value, unless it is made or being made; again if that failed. Returns at once."""
        with self._lock:
            if self._made is None or (self._made.done() and self._made.exception() is not None):
                self._made = Future()
                try:
                    threading.Thread(target=self._run, args=(self._made,), name="soon", daemon=True).start()
                except RuntimeError as error:  # the machine has no free thread
                    self._made.set_exception(error)
            return self._made

    def _run(self, made: "Future[Made]") -> None:
        try:
            made.set_result(self._make())
        except Exception as error:  # noqa: BLE001 - raised where it is needed
            made.set_exception(error)
