"""Images and videos of a dataset on disk: upright, in formats that ultralytics reads, not much larger than needed."""

import hashlib
import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from jobs.train.data.outage import TRANSIENT, Breaker
from shared.errors import ImageError
from shared.media.decode import BROKEN, decode, decode_for, is_plain, only_picture
from shared.media.fetch import Fetcher
from shared.media.fit import MIN_SIDE, kept_size, shrunk, squared

_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp"}
_SMALL = "-small.jpg"  # ending of shrunk images, whose JPEG comment is the original size
_DIGEST = ".sha256"  # ending of files that hold the digest of what was fetched, before it was shrunk or turned
_ORIENTATION = ExifTags.Base.Orientation
_LONGEST_FETCH = 120.0  # seconds for one try
_LONGEST_VIDEO_FETCH = 900.0
_DECODED_AT_ONCE = 4  # decoding an image of 108 million pixels takes 1 GB of memory


@dataclass(frozen=True, slots=True)
class Picture:
    """One image file."""

    path: Path  # may have fewer pixels than the original
    width: int  # pixels of the original, upright
    height: int


@dataclass(frozen=True, slots=True)
class Opened:
    """One image in memory."""

    pixels: NDArray[np.uint8]  # (H, W, 3) BGR, upright
    kept: Callable[[bool], Picture]  # whether with all pixels → its file, as `ImageFiles.get` answers it


class ImageFiles:
    """A folder of images and videos. Thread-safe if each task is asked for by one thread at a time."""

    def __init__(
        self,
        fetcher: Fetcher,
        folder: Path,
        *,
        max_pixels: int,
        image_size: int = 640,
        reduced_decoding: bool = True,
        videos: Fetcher | None = None,
    ) -> None:
        """`max_pixels` of an image; `image_size`: pixels of the longer side that models see.

        `reduced_decoding`: whether predict decodes much larger JPEG files at a reduced scale, so classifiers learn it.
        `videos` fetches videos, which have other limits; None: `fetcher` does.
        """
        self._fetcher = fetcher
        self._videos = videos or fetcher
        self._folder = folder
        self.max_pixels = max_pixels
        self.image_size = image_size
        self.reduced_decoding = reduced_decoding
        self._breaker = Breaker()
        self._decoding = threading.BoundedSemaphore(_DECODED_AT_ONCE)
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, task_id: int, key: str, value: object, *, whole: bool = False) -> Picture:
        """The image at the address `value`, fetched if it is not in the folder yet. Raises ImageError, ImagesOutage.

        `key` distinguishes the images of a task; `whole`: do not shrink it.
        """
        name = _name(task_id, key)
        if kept := self._kept(name, whole=whole):
            return kept
        data = self._bytes(task_id, name, value)
        with self._decoding:
            file = upright(data, self.max_pixels, None if whole else self.image_size)
        return self._keep(name, file)

    @contextmanager
    def opened(self, task_id: int, key: str, value: object) -> Iterator[Opened]:
        """The image, decoded once; few are in memory at a time. See also `get`."""
        name = _name(task_id, key)
        data = self._bytes(task_id, name, value)

        def kept(whole: bool) -> Picture:
            size = None if whole else self.image_size
            return self._kept(name, whole=whole) or self._keep(name, file_of(data, pixels, size))

        with self._decoding:
            pixels = decoded(data, self.max_pixels)
            yield Opened(pixels, kept)

    def _kept(self, name: str, *, whole: bool) -> Picture | None:
        """A file that is there already and will do."""
        small = self._folder / f"{name}{_SMALL}"
        if not whole and small.exists():
            with Image.open(small) as image:
                width, height = map(int, image.info["comment"].split(b"x"))
            return Picture(small, width, height)
        kept = self._whole(name)
        if kept and (whole or kept_size(kept.width, kept.height, self.image_size) == (kept.width, kept.height)):
            return kept
        return None

    def _keep(self, name: str, file: "ImageFile") -> Picture:
        path = self._write(f"{name}{_SMALL if file.smaller else file.suffix}", file.data)
        return Picture(path, file.width, file.height)

    def _bytes(self, task_id: int, name: str, value: object) -> bytes:
        """Of the image, with all its pixels."""
        kept = self._whole(name)
        return kept.path.read_bytes() if kept else self._fetched(self._fetcher, value, task_id, name, _LONGEST_FETCH)

    def _whole(self, name: str) -> Picture | None:
        """The file with all pixels, if another control or an earlier attempt wrote it."""
        for suffix in dict.fromkeys(_SUFFIXES.values()):
            if (path := self._folder / f"{name}{suffix}").exists():
                with Image.open(path) as image:
                    return Picture(path, image.width, image.height)
        return None

    def file(self, task_id: int, key: str, value: object) -> Path:
        """The video at the address `value`, as it was fetched. Raises ImageError, ImagesOutage."""
        path = self._folder / f"{_name(task_id, key)}.video"
        if path.exists():
            return path
        return self._write(path.name, self._fetched(self._videos, value, task_id, path.stem, _LONGEST_VIDEO_FETCH))

    def digest(self, task_id: int, key: str) -> str:
        """SHA-256 of the bytes that were fetched for an image or video of the folder; empty if that is not known."""
        path = self._folder / f"{_name(task_id, key)}{_DIGEST}"
        return path.read_text() if path.exists() else ""

    def _fetched(self, fetcher: Fetcher, value: object, task_id: int, name: str, seconds: float) -> bytes:
        begin = time.monotonic()
        try:
            data = self._fetch(fetcher, value, task_id, seconds)
        except ImageError as error:
            if error.reason in TRANSIENT:
                self._breaker.failed(error, time.monotonic() - begin)
            else:
                self._breaker.answered()
            raise
        self._breaker.answered()
        self._write(f"{name}{_DIGEST}", hashlib.sha256(data).hexdigest().encode())
        return data

    @retry(
        retry=retry_if_exception(lambda error: isinstance(error, ImageError) and error.reason in TRANSIENT),
        wait=wait_random_exponential(0.5, max=10),
        stop=stop_after_attempt(3),
        reraise=True,
    )
    def _fetch(self, fetcher: Fetcher, value: object, task_id: int, seconds: float) -> bytes:
        self._breaker.check()
        return fetcher.fetch(value, task_id=task_id, deadline=time.monotonic() + seconds)

    def _write(self, name: str, data: bytes) -> Path:
        path = self._folder / name
        partial = path.with_suffix(".part")
        partial.write_bytes(data)
        return partial.replace(path)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file for ultralytics."""

    suffix: str
    data: bytes
    width: int  # pixels of the original, upright
    height: int
    smaller: bool = False  # whether the file has fewer pixels


def upright(data: bytes, max_pixels: int, image_size: int | None = None) -> ImageFile:
    """Turn a fetched image into a file in which ultralytics reads the same pixels as predict. Raises ImageError.

    - Much larger than `image_size` (pixels of the longer side; None: no limit): shrunk once, instead of in every epoch,
    to
      a JPEG file whose comment is the original size.
    - Read alike by ultralytics: the bytes stay, without data after the image's end, for which ultralytics would write
    the
      JPEG file anew.
    - Else: the decoded pixels, as JPEG if the image was JPEG, else as PNG.
    """
    return file_of(data, decoded(data, max_pixels), image_size)


def decoded(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """As `decode`; also raises ImageError for an image that is too small to be learnt from."""
    pixels = decode(data, max_pixels)
    height, width = pixels.shape[:2]
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            "unsupported", f"{width}×{height} pixels: images need {MIN_SIDE} on each side to be trained on"
        )
    return pixels


def file_of(data: bytes, pixels: NDArray[np.uint8], image_size: int | None = None) -> ImageFile:
    """See `upright`. `pixels`: of the image, decoded."""
    height, width = pixels.shape[:2]
    if image_size and (kept := shrunk(pixels, image_size)) is not pixels:
        comment = f"{width}x{height}".encode()
        return ImageFile(".jpg", _encoded(kept, "JPEG", comment=comment), width, height, smaller=True)
    alone = only_picture(data)
    kind, same = _kind(alone)
    if same:
        return ImageFile(_SUFFIXES[kind], alone, width, height)
    format_ = "JPEG" if kind in ("JPEG", "MPO") else "PNG"
    return ImageFile(_SUFFIXES[format_], _encoded(pixels, format_), width, height)


def write_part(pixels: NDArray[np.uint8], path: Path, image_size: int) -> None:
    """Write a part of an image as JPEG, shrunk where it is much larger than `image_size`. Raises OSError."""
    path.write_bytes(_encoded(shrunk(pixels, image_size), "JPEG"))


def write_square(image: Path, square: Path, size: int, *, reduced: bool) -> None:
    """Write `image`, a file of ImageFiles, as the PNG square of `size` pixels that classifiers see. Raises OSError.

    `reduced`: decoded as predict decodes a picture that is asked about as a whole.
    """
    try:
        pixels, whole = decode_for(image.read_bytes(), sys.maxsize, size if reduced else None)
    except ImageError as error:
        raise OSError(f"{image} cannot be read again: {error}") from error
    written = cv2.imencode(".png", squared(pixels, size, whole), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    square.write_bytes(written[1].tobytes())


def _encoded(pixels: NDArray[np.uint8], format_: str, **more: Any) -> bytes:
    options = {"quality": 95, "subsampling": 0} if format_ == "JPEG" else {"compress_level": 1}
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])).save(out, format_, **options, **more)
    return out.getvalue()


def _kind(data: bytes) -> tuple[str, bool]:
    """(format, whether ultralytics, which reads with OpenCV, decodes the same pixels as predict)."""
    with Image.open(io.BytesIO(data)) as image:
        kind = image.format or ""
        if kind not in _SUFFIXES or not is_plain(data, image):
            return kind, False
        try:
            # OpenCV and ultralytics also follow orientations that browsers ignore: of any number type, after the
            # pixels, in WebP, in XMP.
            turned = b"eXIf" in data if kind == "PNG" else image.getexif().get(_ORIENTATION, 1) not in (0, 1)
            image.verify()  # ultralytics silently leaves an image out that fails this
        except BROKEN:
            return kind, False
    return kind, not turned


def _name(task_id: int, key: str) -> str:
    return f"{task_id}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
