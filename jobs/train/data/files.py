"""The images and videos of a run on disk: each is fetched once, for all controls and attempts on this machine."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from jobs.train.data.image_file import SUFFIXES, ImageFile, decoded, file_of, upright
from jobs.train.data.outage import TRANSIENT, Breaker
from shared.errors import ImageError
from shared.media.fetch import Fetcher
from shared.media.fit import Side, Sized, kept_size

_SMALL = "-small.jpg"  # ending of shrunk images, whose JPEG comment is the original size
_DIGEST = ".sha256"  # ending of files that hold the digest of what was fetched, before it was shrunk or turned
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

    seen: Sized  # upright
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
        concurrency: int = 1,
    ) -> None:
        """`max_pixels` of an image; `image_size`: pixels of the longer side that models see.

        `reduced_decoding`: whether predict decodes much larger JPEG files at a reduced scale, so classifiers learn it.
        `videos` fetches videos, which have other limits; None: `fetcher` does. `concurrency`: how many tasks are to be
        read at a time.
        """
        self._fetcher = fetcher
        self._videos = videos or fetcher
        self._folder = folder
        self.max_pixels = max_pixels
        self.image_size = image_size
        self.reduced_decoding = reduced_decoding
        self.concurrency = concurrency
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
    def opened(self, task_id: int, key: str, value: object, side: Side = None) -> Iterator[Opened]:
        """The image, decoded once, for who needs `side` pixels of the longer side; few are in memory at a time.

        See also `get`.
        """
        name = _name(task_id, key)
        data = self._bytes(task_id, name, value)

        def kept(whole: bool) -> Picture:
            size = None if whole else self.image_size
            return self._kept(name, whole=whole) or self._keep(name, file_of(data, seen, size))

        with self._decoding:
            seen = decoded(data, self.max_pixels, side)
            yield Opened(seen, kept)

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

    def _keep(self, name: str, file: ImageFile) -> Picture:
        path = self._write(f"{name}{_SMALL if file.smaller else file.suffix}", file.data)
        return Picture(path, file.width, file.height)

    def _bytes(self, task_id: int, name: str, value: object) -> bytes:
        """Of the image, with all its pixels."""
        kept = self._whole(name)
        return kept.path.read_bytes() if kept else self._fetched(self._fetcher, value, task_id, name, _LONGEST_FETCH)

    def _whole(self, name: str) -> Picture | None:
        """The file with all pixels, if another control or an earlier attempt wrote it."""
        for suffix in dict.fromkeys(SUFFIXES.values()):
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


def _name(task_id: int, key: str) -> str:
    return f"{task_id}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
