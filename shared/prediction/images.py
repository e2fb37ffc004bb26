"""Fetches and decodes the images of tasks, a limited number at a time, and measures both."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Self

from shared.cores import usable_cores
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.requests import Task
from shared.labelstudio.task_values import file_of
from shared.media.fetch import Fetcher, ImageFetcher
from shared.media.fit import Side, Sized
from shared.prediction.metrics import Metrics
from shared.prediction.ports import DeadlineExceeded
from shared.prediction.room import Room
from shared.settings import Settings

_LARGEST_AT_ONCE = 2
"""Pictures of as many pixels as may be that are decoded at a time: each takes up to 12 bytes a pixel, however small its
file is. Were it one, it would wait for a moment in which no other picture is decoded."""


class TaskImages:
    """Fetches and decodes the images of tasks. Thread-safe."""

    def __init__(
        self,
        fetcher: Fetcher,
        decode: Callable[[bytes, Side], Sized],
        metrics: Metrics,
        *,
        fetch_concurrency: int,
        decode_concurrency: int,
        pixels: int,
    ) -> None:
        """`decode(file, side)`: decodes a file to at least `side` pixels of its longer side.

        `fetch_concurrency`, `decode_concurrency`: how many images the process fetches and decodes at a time. Few should
        be decoded, as this takes CPU cores from a model that runs on the CPU. `pixels`: of the largest image, and how
        many of large images are held at a time while a model looks at them in tiles.
        """
        self._fetcher = fetcher
        self._decode = decode
        self._metrics = metrics
        self._fetching = threading.BoundedSemaphore(fetch_concurrency)
        self._decoding = threading.BoundedSemaphore(decode_concurrency)
        self._most = pixels
        self._decoded = Room(_LARGEST_AT_ONCE * pixels)
        self._room = Room(pixels)

    @classmethod
    def of(
        cls,
        settings: Settings,
        label_studio: LabelStudio | None,
        decode: Callable[[bytes, int, Side], Sized],
        metrics: Metrics,
    ) -> Self:
        """With the limits of the settings. `decode` as `shared.media.decode.decode_for`."""
        most, reduced = settings.image_max_pixels, settings.reduced_decoding
        return cls(
            ImageFetcher(settings, label_studio),
            lambda data, side: decode(data, most, side if reduced else None),
            metrics,
            fetch_concurrency=settings.fetch_concurrency,
            decode_concurrency=max(usable_cores() // 2, 1),
            pixels=most,
        )

    def fetch(self, task: Task, value: str, deadline: float) -> bytes:
        """The bytes of the image that a tag shows for a task. `value`: the tag's attribute, `"$image"`.

        Raises ImageError, DeadlineExceeded.
        """
        address = file_of(value, task.data, task.id)
        with _turn(self._fetching, deadline), self._metrics.phase("fetch"):
            return self._fetcher.fetch(address, task_id=task.id, deadline=deadline)

    def room(self, files: Sequence[bytes], deadline: float) -> AbstractContextManager[None]:
        """Room for large pictures, all those of a task together. Waits until there is; raises DeadlineExceeded."""
        if not files:
            return nullcontext()
        return self._room.taken(sum(map(_pixels_of, files)), deadline)

    def decode(self, data: bytes, side: Side, deadline: float) -> Sized:
        """Decode an image. `side`: pixels of the longer side that are needed.

        Raises ImageError, DeadlineExceeded.
        """
        with (
            self._decoded.taken(min(_pixels_of(data), self._most), deadline),  # of more, it is refused at once
            _turn(self._decoding, deadline),
            self._metrics.phase("decode"),
        ):
            return self._decode(data, side)


def _pixels_of(data: bytes) -> int:
    from shared.media.header import size_of  # and Pillow with it: not before the first picture

    width, height = size_of(data)
    return width * height


@contextmanager
def _turn(semaphore: threading.Semaphore, deadline: float) -> Iterator[None]:
    left = deadline - time.monotonic()
    if left <= 0 or not semaphore.acquire(timeout=left):
        raise DeadlineExceeded("the deadline came before the image was loaded (LABELLOOP_PREDICT_DEADLINE)")
    try:
        yield
    finally:
        semaphore.release()
