"""Ends an attempt in which too many images cannot be fetched: an outage must not change the dataset."""

import threading
from collections import Counter

from jobs.train.data.split import Split
from shared.errors import ImageError, LabelloopError

TRANSIENT = frozenset({"timeout", "unreachable", "unauthorized", "no_memory"})
"""Reasons of an ImageError that may be temporary."""
_GONE = frozenset({"not_found", "forbidden", "refused"})
"""Reasons that stay until a person acts: a bucket was moved, an address expired, a host is not allowed."""
_SMALL = 0.02
"""Part of the train tasks that may be missing. One task always may: a host that is gone for good must not stop a small
project."""
_IN_A_ROW = 32
"""Failed images in a row after which no more are requested."""
_IN_VAIN = 3600.0
"""Seconds of all threads spent on failed images after which no more are requested: two minutes of 32 threads."""


class ImagesOutage(LabelloopError):
    """Too many images cannot be fetched for reasons that may be temporary: the next attempt may get them."""


class ImagesMissing(LabelloopError):
    """Most images are gone until a person acts; another attempt would find the same."""


class Breaker:
    """Circuit breaker of one attempt, for all its controls: once open, no image is requested any more. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._seconds = 0.0
        self._why: str | None = None

    def check(self) -> None:
        """Raise ImagesOutage if the breaker is open."""
        if self._why is not None:
            raise ImagesOutage(self._why)

    def answered(self) -> None:
        """An image was fetched, or its server said that it is not there."""
        with self._lock:
            self._in_a_row = 0

    def failed(self, error: ImageError, seconds: float) -> None:
        """An image could not be fetched within `seconds`, for a reason of TRANSIENT."""
        with self._lock:
            self._in_a_row += 1
            self._seconds += seconds
            if self._in_a_row >= _IN_A_ROW:
                self._why = f"{self._in_a_row} images in a row could not be fetched; the last: {error}"
            elif self._seconds >= _IN_VAIN:
                self._why = f"{self._seconds:.0f} s were spent on images that could not be fetched; the last: {error}"


class Missing:
    """Counts the images of one dataset that could not be fetched."""

    def __init__(self) -> None:
        self._tasks: Counter[Split] = Counter()
        self._transient: Counter[Split] = Counter()
        self._gone = 0
        self._first: dict[str, str] = {}  # kind → the first failure

    def add(self, task_id: int, split: Split, error: ImageError | None) -> None:
        """Count the next task; `error`: why its image could not be fetched, None if it was."""
        self._tasks[split] += 1
        if error is None:
            return
        if error.reason in TRANSIENT:
            self._transient[split] += 1
            self._first.setdefault("transient", f"task {task_id}: {error}")
        elif error.reason in _GONE:
            self._gone += 1
            self._first.setdefault("gone", f"task {task_id}: {error}")

    def check(self, *, last: bool) -> None:
        """Raise ImagesOutage or ImagesMissing if too many images are missing.

        No val image may be missing for a temporary reason, because all versions must be measured on the same images.
        `last`: no attempt follows, so a small part of all tasks may be missing, instead of the run failing.
        """
        tasks, transient = self._tasks.total(), self._transient.total()
        small = max(_SMALL * (tasks if last else self._tasks["train"]), 1)
        mostly_missing = (transient + self._gone) * 2 > tasks
        if transient and (mostly_missing or transient > small or (self._transient["val"] and not last)):
            raise ImagesOutage(
                f"{transient} of {tasks} images could not be fetched ({self._transient['val']} of {self._tasks['val']} "
                f"to validate on) for reasons that may be temporary; {self._first['transient']}"
            )
        if mostly_missing:
            raise ImagesMissing(
                f"{self._gone} of {tasks} images are gone, so what is left is not this project's data; "
                f"{self._first['gone']}. Bring them back, or delete their tasks"
            )
