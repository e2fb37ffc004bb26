"""When images that are not to be had are an outage and no data: the attempt ends, and does not ask on for hours."""

import threading
from collections import Counter

from jobs.train.data.split import Split
from shared.errors import ImageError, LabelloopError

HEALING = frozenset({"timeout", "unreachable", "unauthorized", "no_memory"})
"""Reasons of an ImageError that may be gone at the next attempt."""
_GONE = frozenset({"not_found", "forbidden", "refused"})
"""Reasons that an attempt cannot heal, but whoever moved a bucket, let an address expire or forbade a host can."""
_SMALL = 0.02
"""The part of the train tasks without which a model is the same. One task is always allowed: a host that is gone for
ever must not stop a small project."""
_IN_A_ROW = 32
"""Images one after the other: where so many are not to be had, the next one is not either."""
_IN_VAIN = 3600.0
"""Seconds of all threads together, spent on images that did not come: two minutes by the clock for 32 threads."""


class ImagesOutage(LabelloopError):
    """Images are not to be had for reasons that may heal: the attempt ends, the next one asks again."""


class ImagesMissing(LabelloopError):
    """Most images are gone for other reasons than their own: no attempt heals that, and it is no dataset."""


class Breaker:
    """Thread-safe; of one attempt, for all its controls: once open, no image is asked for any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._seconds = 0.0
        self._why: str | None = None

    def check(self) -> None:
        """Before asking. Raises ImagesOutage."""
        if self._why is not None:
            raise ImagesOutage(self._why)

    def answered(self) -> None:
        """An image came, or is surely not there."""
        with self._lock:
            self._in_a_row = 0

    def failed(self, error: ImageError, seconds: float) -> None:
        """An image did not come, after `seconds`, for a reason that may heal."""
        with self._lock:
            self._in_a_row += 1
            self._seconds += seconds
            if self._in_a_row >= _IN_A_ROW:
                self._why = f"{self._in_a_row} images in a row were not to be had, the last one since {error}"
            elif self._seconds >= _IN_VAIN:
                self._why = f"{self._seconds:.0f} s were spent on images that did not come, the last one since {error}"


class Missing:
    """What of one dataset could not be had, counted."""

    def __init__(self) -> None:
        self._tasks: Counter[Split] = Counter()
        self._may_heal: Counter[Split] = Counter()
        self._gone = 0
        self._first: dict[str, str] = {}  # of each kind, what happened

    def add(self, task_id: int, split: Split, error: ImageError | None) -> None:
        """The next task, and what was wrong with it."""
        self._tasks[split] += 1
        if error is None:
            return
        if error.reason in HEALING:
            self._may_heal[split] += 1
            self._first.setdefault("may heal", f"task {task_id}: {error}")
        elif error.reason in _GONE:
            self._gone += 1
            self._first.setdefault("gone", f"task {task_id}: {error}")

    def check(self, *, last: bool) -> None:
        """Whether what is left is the project's data. Raises ImagesOutage, ImagesMissing.

        Of val tasks none may be missing, or two versions are measured on different images for no reason of theirs.
        `last`: no attempt follows, so of all tasks a small part may be missing, rather than that the run fails.
        """
        tasks, may_heal = self._tasks.total(), self._may_heal.total()
        small = max(_SMALL * (tasks if last else self._tasks["train"]), 1)
        most = (may_heal + self._gone) * 2 > tasks
        if may_heal and (most or may_heal > small or (self._may_heal["val"] and not last)):
            raise ImagesOutage(
                f"{may_heal} of {tasks} images were not to be had ({self._may_heal['val']} of {self._tasks['val']} to "
                f"validate on) for reasons that may heal; {self._first['may heal']}"
            )
        if most:
            raise ImagesMissing(
                f"{self._gone} of {tasks} images are gone, so what is left is not this project's data; "
                f"{self._first['gone']}. Bring them back, or delete their tasks"
            )
