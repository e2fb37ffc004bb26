"""Images of a dataset on disk: complete, upright, in a format that ultralytics reads; each fetched once a run."""

import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import ExifTags, Image
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from shared.errors import ImageError
from shared.images.decode import decode

_KEPT_AS_THEY_ARE = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp"}
_MODES = {"RGB", "L"}
LEAST_SIDE = 10  # pixels; ultralytics leaves smaller images out without a word
_LONGEST_FETCH = 120.0  # seconds
HEALING = frozenset({"timeout", "unreachable", "unauthorized"})
"""Reasons of an ImageError that may be gone at the next attempt."""


class Fetcher(Protocol):
    """What fetches the image that a task names. Thread-safe."""

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        """Raises ImageError."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image file."""

    path: Path
    width: int  # pixels, upright
    height: int


class Pictures:
    """The folder they are kept in; thread-safe, since each task has a file of its own."""

    def __init__(self, fetcher: Fetcher, folder: Path, *, max_pixels: int) -> None:
        self._fetcher = fetcher
        self._folder = folder
        self._max_pixels = max_pixels
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, task_id: int, key: str, value: object) -> Picture:
        """The image that `value` (of `key` in the task's data) names. Raises ImageError."""
        name = f"{task_id}-{key.encode().hex()}"
        for suffix in _KEPT_AS_THEY_ARE.values():
            if (path := self._folder / f"{name}{suffix}").exists():
                with Image.open(path) as image:
                    return Picture(path, image.width, image.height)
        data = self._fetch(value, task_id)
        suffix, ready, width, height = upright(data, self._max_pixels)
        path = self._folder / f"{name}{suffix}"
        partial = path.with_suffix(".part")
        partial.write_bytes(ready)
        partial.replace(path)
        return Picture(path, width, height)

    @retry(
        retry=retry_if_exception(lambda error: isinstance(error, ImageError) and error.reason in HEALING),
        wait=wait_random_exponential(0.5, max=10),
        stop=stop_after_attempt(3),
        reraise=True,
    )
    def _fetch(self, value: object, task_id: int) -> bytes:
        return self._fetcher.fetch(value, task_id=task_id, deadline=time.monotonic() + _LONGEST_FETCH)


def upright(data: bytes, max_pixels: int) -> tuple[str, bytes, int, int]:
    """Suffix, bytes, width and height of an image that decodes, is not turned by EXIF, and of a common format.

    Bytes that are fine already stay as they are; others are decoded, as for a prediction, and written as JPEG. Raises
    ImageError.
    """
    pixels = decode(data, max_pixels)
    height, width = pixels.shape[:2]
    if min(width, height) < LEAST_SIDE:
        raise ImageError(
            "unsupported", f"{width}×{height} pixels: images need {LEAST_SIDE} on each side to be trained on"
        )
    with Image.open(io.BytesIO(data)) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
        if image.format in _KEPT_AS_THEY_ARE and image.mode in _MODES and not turned:
            return _KEPT_AS_THEY_ARE[image.format], data, width, height
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])).save(out, "JPEG", quality=95, subsampling=0)
    return ".jpg", out.getvalue(), width, height
