"""Images of a dataset on disk: complete, upright, in a format that ultralytics reads; each fetched once a run."""

import contextlib
import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import ExifTags, Image, UnidentifiedImageError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from shared.errors import ImageError

_KEPT_AS_THEY_ARE = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp"}
_MODES = {"RGB", "L", "RGBA", "P", "1", "LA"}
_LEAST_SIDE = 10  # pixels; ultralytics leaves smaller images out without a word
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
    """Suffix, bytes, width and height of an image that is complete, not turned by EXIF, and of a common format.

    Bytes that are fine already stay as they are; others are decoded and written as JPEG.
    Raises ImageError.
    """
    with _refused(), Image.open(io.BytesIO(data)) as image:
        width, height, kind = image.width, image.height, str(image.format)
        if width * height > max_pixels:
            raise ImageError("too_large", f"{width}×{height} pixels are over LABELLOOP_IMAGE_MAX_PIXELS ({max_pixels})")
        if min(width, height) < _LEAST_SIDE:
            raise ImageError(
                "unsupported", f"{width}×{height} pixels: less than {_LEAST_SIDE} on a side cannot be trained on"
            )
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
        if kind in _KEPT_AS_THEY_ARE and image.mode in _MODES and not turned:
            if kind == "JPEG":
                image.draft("RGB", (width // 8, height // 8))  # reads every byte, but decodes an eighth of the size
            image.load()  # a file that was cut off raises here
            return _KEPT_AS_THEY_ARE[kind], data, width, height
    return _rewritten(data, max_pixels)


def _rewritten(data: bytes, max_pixels: int) -> tuple[str, bytes, int, int]:
    from shared.images.decode import decode  # OpenCV: only for images that need it

    pixels = decode(data, max_pixels)
    height, width = pixels.shape[:2]
    image = Image.fromarray(pixels[:, :, ::-1].copy())
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95, subsampling=0)
    return ".jpg", out.getvalue(), width, height


@contextlib.contextmanager
def _refused():  # type: ignore[no-untyped-def]
    try:
        yield
    except UnidentifiedImageError as error:
        raise ImageError("broken", "the file is not an image of a known format") from error
    except Image.DecompressionBombError as error:
        raise ImageError("too_large", "the image has more pixels than can be decoded safely") from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's decoders raise all three
        raise ImageError("broken", f"the image cannot be decoded: {error}") from error
