"""Images of a dataset on disk: whole, upright, as ultralytics reads them, not much larger than needed; and videos."""

import hashlib
import io
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from jobs.train.data.outage import HEALING, Breaker
from shared.errors import ImageError
from shared.media.decode import BROKEN, decode, is_plain, only_picture
from shared.media.fit import MIN_SIDE, kept_size, shrunk, squared

_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp"}
_SMALL = "-small.jpg"  # ending of files whose comment says the size of the picture
_ORIENTATION = ExifTags.Base.Orientation
_LONGEST_FETCH = 120.0  # seconds
_LONGEST_VIDEO_FETCH = 900.0
_DECODED_AT_ONCE = 4  # a picture of 108 million pixels takes a gigabyte meanwhile


class Fetcher(Protocol):
    """What fetches the image that a task names. Thread-safe."""

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        """Raises ImageError."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image file."""

    path: Path  # smaller than the picture if that is larger than what a training takes in
    width: int  # pixels of the picture, upright
    height: int


class ImageFiles:
    """The folder they are kept in; thread-safe, since each task has a file of its own."""

    def __init__(
        self,
        fetcher: Fetcher,
        folder: Path,
        *,
        max_pixels: int,
        image_size: int = 640,
        videos: Fetcher | None = None,
    ) -> None:
        """`image_size`: pixels of the longer side that models see.

        `videos` fetches them, with their own bounds; without it `fetcher` does.
        """
        self._fetcher = fetcher
        self._videos = videos or fetcher
        self._folder = folder
        self.max_pixels = max_pixels
        self.image_size = image_size
        self._breaker = Breaker()
        self._decoding = threading.BoundedSemaphore(_DECODED_AT_ONCE)
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, task_id: int, key: str, value: object, *, whole: bool = False) -> Picture:
        """The image at the address `value`; `key` tells a task's images apart; `whole`: with all of its pixels.

        Raises ImageError, ImagesOutage.
        """
        name = _name(task_id, key)
        small = self._folder / f"{name}{_SMALL}"
        if not whole and small.exists():
            with Image.open(small) as image:
                width, height = map(int, image.info["comment"].split(b"x"))
            return Picture(small, width, height)
        kept = self._whole(name)
        if kept and (whole or kept_size(kept.width, kept.height, self.image_size) == (kept.width, kept.height)):
            return kept
        data = kept.path.read_bytes() if kept else self._had(self._fetcher, value, task_id, _LONGEST_FETCH)
        with self._decoding:
            file = upright(data, self.max_pixels, None if whole else self.image_size)
        path = self._kept(f"{name}{_SMALL if file.smaller else file.suffix}", file.data)
        return Picture(path, file.width, file.height)

    def _whole(self, name: str) -> Picture | None:
        """What another control, or an attempt that was killed on this machine, kept with all of its pixels."""
        for suffix in dict.fromkeys(_SUFFIXES.values()):
            if (path := self._folder / f"{name}{suffix}").exists():
                with Image.open(path) as image:
                    return Picture(path, image.width, image.height)
        return None

    def file(self, task_id: int, key: str, value: object) -> Path:
        """The video that `value` names, byte for byte. Raises ImageError, ImagesOutage."""
        path = self._folder / f"{_name(task_id, key)}.video"
        if path.exists():
            return path
        return self._kept(path.name, self._had(self._videos, value, task_id, _LONGEST_VIDEO_FETCH))

    def _had(self, fetcher: Fetcher, value: object, task_id: int, seconds: float) -> bytes:
        begin = time.monotonic()
        try:
            data = self._fetch(fetcher, value, task_id, seconds)
        except ImageError as error:
            if error.reason in HEALING:
                self._breaker.failed(error, time.monotonic() - begin)
            else:
                self._breaker.answered()
            raise
        self._breaker.answered()
        return data

    @retry(
        retry=retry_if_exception(lambda error: isinstance(error, ImageError) and error.reason in HEALING),
        wait=wait_random_exponential(0.5, max=10),
        stop=stop_after_attempt(3),
        reraise=True,
    )
    def _fetch(self, fetcher: Fetcher, value: object, task_id: int, seconds: float) -> bytes:
        self._breaker.check()
        return fetcher.fetch(value, task_id=task_id, deadline=time.monotonic() + seconds)

    def _kept(self, name: str, data: bytes) -> Path:
        path = self._folder / name
        partial = path.with_suffix(".part")
        partial.write_bytes(data)
        return partial.replace(path)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image as it is written for ultralytics."""

    suffix: str
    data: bytes
    width: int  # pixels of the picture, upright
    height: int
    smaller: bool = False  # the file has fewer


def upright(data: bytes, max_pixels: int, image_size: int | None = None) -> ImageFile:
    """An image file in which ultralytics finds the pixels that predict sees.

    Bytes in which it does stay as they are, without what is beside the picture: of a JPEG file with anything behind its
    end ultralytics makes another one. Of others the decoded pixels are written, as JPEG if they came as JPEG, else as
    PNG, which loses nothing. What is much larger than `image_size` is made smaller, once and not in every epoch; such
    files are JPEG, whose comment says the picture's size. Raises ImageError.
    """
    pixels = decode(data, max_pixels)
    height, width = pixels.shape[:2]
    if min(width, height) < MIN_SIDE:
        raise ImageError(
            "unsupported", f"{width}×{height} pixels: images need {MIN_SIDE} on each side to be trained on"
        )
    if image_size and (kept := shrunk(pixels, image_size)) is not pixels:
        comment = f"{width}x{height}".encode()
        return ImageFile(".jpg", _encoded(kept, "JPEG", comment=comment), width, height, smaller=True)
    alone = only_picture(data)
    kind, same = _kind(alone)
    if same:
        return ImageFile(_SUFFIXES[kind], alone, width, height)
    format_ = "JPEG" if kind in ("JPEG", "MPO") else "PNG"
    return ImageFile(_SUFFIXES[format_], _encoded(pixels, format_), width, height)


def write_square(image: Path, square: Path, size: int) -> None:
    """Write the PNG file of an image as classifiers see it, of one that `upright` made. Raises OSError."""
    pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
    if pixels is None:
        raise OSError(f"{image} cannot be read again")
    written = cv2.imencode(".png", squared(pixels.astype(np.uint8, copy=False), size), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    square.write_bytes(written[1].tobytes())


def _encoded(pixels: NDArray[np.uint8], format_: str, **more: Any) -> bytes:
    options = {"quality": 95, "subsampling": 0} if format_ == "JPEG" else {"compress_level": 1}
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])).save(out, format_, **options, **more)
    return out.getvalue()


def _kind(data: bytes) -> tuple[str, bool]:
    """Format of a file that decodes, and whether ultralytics (OpenCV) finds the same pixels in it."""
    with Image.open(io.BytesIO(data)) as image:
        kind = image.format or ""
        if kind not in _SUFFIXES or not is_plain(data, image):
            return kind, False
        try:
            # OpenCV and ultralytics heed more than browsers do: any type of number, behind the pixels, WebP, XMP.
            turned = b"eXIf" in data if kind == "PNG" else image.getexif().get(_ORIENTATION, 1) not in (0, 1)
            image.verify()  # ultralytics does, and leaves the image out without a word if it does not pass
        except BROKEN:
            return kind, False
    return kind, not turned


def _name(task_id: int, key: str) -> str:
    return f"{task_id}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
