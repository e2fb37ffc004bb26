"""Images of tasks: fetched and decoded, a bounded number at a time, measured."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from functions.predict.metrics import Metrics
from functions.predict.ports import DeadlineExceeded, Image, Images
from shared.errors import ImageError
from shared.labelstudio.requests import Task


class Pictures:
    """Thread-safe."""

    def __init__(
        self,
        images: Images,
        decode: Callable[[bytes], Image],
        metrics: Metrics,
        *,
        fetch_concurrency: int,
        decode_concurrency: int,
    ) -> None:
        """The two limits hold for the process.

        Decoding takes cores from a model that runs on the processor: few at a time disturb it least.
        """
        self._images = images
        self._decode = decode
        self._metrics = metrics
        self._fetching = threading.BoundedSemaphore(fetch_concurrency)
        self._decoding = threading.BoundedSemaphore(decode_concurrency)

    def fetch(self, task: Task, key: str, deadline: float) -> bytes:
        """The bytes of the image that the task's data names under `key`. Raises ImageError, DeadlineExceeded."""
        if key not in task.data:
            raise ImageError("no_data", f"the data of task {task.id} has no {key!r}")
        with _turn(self._fetching, deadline), self._metrics.phase("fetch"):
            return self._images.fetch(task.data[key], task_id=task.id, deadline=deadline)

    def decode(self, data: bytes, deadline: float) -> Image:
        """Raises ImageError, DeadlineExceeded."""
        with _turn(self._decoding, deadline), self._metrics.phase("decode"):
            return self._decode(data)


@contextmanager
def _turn(semaphore: threading.Semaphore, deadline: float) -> Iterator[None]:
    left = deadline - time.monotonic()
    if left <= 0 or not semaphore.acquire(timeout=left):
        raise DeadlineExceeded("there was no time for the image")
    try:
        yield
    finally:
        semaphore.release()
