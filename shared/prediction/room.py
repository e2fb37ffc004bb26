"""How much of large pictures a process holds at a time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared.prediction.ports import DeadlineExceeded


class Room:
    """Limits how many pixels of large pictures a process holds at a time. Thread-safe."""

    def __init__(self, pixels: int) -> None:
        """`pixels`: the limit. A picture of more pixels is held alone."""
        self._pixels = pixels
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int, deadline: float) -> Iterator[None]:
        """Wait until `pixels` are free, and hold them. `deadline`: time.monotonic(); raises DeadlineExceeded."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._fits(pixels), max(deadline - time.monotonic(), 0.0)):
                raise DeadlineExceeded(
                    "the deadline came while other large pictures were decoded or seen (LABELLOOP_PREDICT_DEADLINE)"
                )
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()

    def _fits(self, pixels: int) -> bool:
        return self._taken == 0 or self._taken + pixels <= self._pixels
