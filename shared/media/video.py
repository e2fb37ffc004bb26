"""Decodes the frames of video files, ahead on a thread, with limits on their size and number.

OpenCV decodes by its FFmpeg. Only files that begin like a container that browsers play are passed to it: FFmpeg would
also open playlists, which name other files and URLs.
"""

import contextlib
import math
import tempfile
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.errors import ImageError
from shared.imports import undo_failed_import

if TYPE_CHECKING:
    import cv2  # takes 0.25 s: not before the first video

MAX_FRAMES = 200_000
"""More than two hours at 25 frames a second."""
_AHEAD = 8  # frames that are decoded ahead
AHEAD_BYTES = 100_000_000  # limit of their bytes: fewer are decoded ahead if they are large
_FPS = 24.0  # of a file whose header has no rate
_SOUND = 0.5  # seconds that sound may be longer than the frames


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a video."""

    index: int  # from 0, in the order of decoding
    second: float  # time at which it is first shown
    image: NDArray[np.uint8]  # (H, W, 3) BGR, upright


class Video:
    """An open video file. Its frames can be read once."""

    def __init__(self, capture: "cv2.VideoCapture", *, max_pixels: int, max_frames: int) -> None:
        import cv2

        self._capture = capture
        self._position = cv2.CAP_PROP_POS_MSEC
        self._max_frames = max_frames
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps: float = fps if 0.0 < fps <= 1000.0 else _FPS
        self.width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))  # pixels, upright
        self.height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if self.width * self.height > max_pixels:
            raise ImageError(
                "too_large",
                f"the frames have {self.width} × {self.height} pixels, more than {max_pixels} "
                "(LABELLOOP_IMAGE_MAX_PIXELS)",
            )
        self._count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        # Duration of the header in seconds: OpenCV's rate is the mean over all frames.
        self.announced: float | None = self._count / self.fps if 0 < self._count < 1e9 else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._grabbed = 0
        self._second = -math.inf

    def frames(self) -> Generator[Frame, None, None]:
        """All frames in order.

        Raises ImageError: broken (no frame, or a frame that cannot be decoded), too_large (number of frames),
        unsupported (the size of frames changes).
        """
        ahead = max(min(_AHEAD, AHEAD_BYTES // (self.width * self.height * 3 or 1)), 2)
        waiting: deque[Future[Frame | None]] = deque(self._thread.submit(self._read) for _ in range(ahead))
        try:
            while (frame := waiting.popleft().result()) is not None:
                waiting.append(self._thread.submit(self._read))
                yield frame
        finally:
            self.close()

    def close(self) -> None:
        """Stop decoding; returns when the running decode call has ended, so that the file can be closed."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    @property
    def duration(self) -> float:
        """Duration in seconds; valid once all frames were decoded.

        That of the header, as in Label Studio: the last frame may stay long. For a truncated file, or one without it in
        the header, the end of the last frame, taken to be as long as the mean one.
        """
        decoded = max(self._second, 0.0) + 1.0 / self.fps
        whole = self.announced and (self._grabbed >= self._count or decoded + _SOUND >= self.announced)
        return self.announced if self.announced and whole else decoded

    def _read(self) -> Frame | None:
        """The next frame; None at the end, also of a truncated file."""
        if self._grab():
            return self._decoded()
        if not self._grabbed:
            raise ImageError("broken", "no frame of the video can be decoded")
        return None

    def _grab(self) -> bool:
        if not self._capture.grab():
            return False
        self._grabbed += 1
        if self._grabbed > self._max_frames:
            raise ImageError("too_large", f"the video has more than {self._max_frames} frames")
        second = self._capture.get(self._position) / 1000.0
        self._second = second if second > self._second else self._second + 1.0 / self.fps
        return True

    def _decoded(self) -> Frame:
        done, image = self._capture.retrieve()
        if not done:
            raise ImageError("broken", f"frame {self._grabbed} of the video cannot be decoded")
        if image.shape[:2] != (self.height, self.width):
            raise ImageError("unsupported", "the frames of the video change their size")
        return Frame(self._grabbed - 1, self._second, image.astype(np.uint8, copy=False))


@contextlib.contextmanager
def open_video(source: bytes | Path, *, max_pixels: int, max_frames: int = MAX_FRAMES) -> Iterator[Video]:
    """Open a video file, or its bytes (in a temporary file). Closed at the end of the `with` block.

    Raises ImageError: unsupported (unknown container), broken (also without pictures), too_large (pixels of a frame).
    """
    with undo_failed_import("cv2"):
        import cv2

    with contextlib.ExitStack() as stack:
        if isinstance(source, bytes):
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="labelloop-", suffix=".video"))
            file.write(source)
            file.flush()
            source = Path(file.name)
        with source.open("rb") as beginning:
            _require_container(beginning.read(16))
        capture = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG)
        stack.callback(capture.release)
        if not capture.isOpened():
            raise ImageError("broken", "the video file is broken, or it has no pictures")
        video = Video(capture, max_pixels=max_pixels, max_frames=max_frames)
        stack.callback(video.close)
        yield video


def frames_at(frames: Iterable[Frame], seconds: Iterable[float]) -> Iterator[Frame]:
    """For each of the ascending times the frame that is shown then; after the end that is the last one."""
    following = iter(frames)
    shown = next(following, None)
    after = next(following, None)
    for second in seconds:
        while after is not None and after.second <= second:
            shown, after = after, next(following, None)
        if shown is None:
            return
        yield shown


def _require_container(head: bytes) -> None:
    """Raise ImageError unless the file is MP4 or QuickTime, WebM or Matroska, Ogg, or AVI."""
    if not head:
        raise ImageError("broken", "the video file is empty")
    boxes = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
    if head[4:8] in boxes or head[:4] in (b"\x1a\x45\xdf\xa3", b"OggS") or (head[:4], head[8:12]) == (b"RIFF", b"AVI "):
        return
    raise ImageError("unsupported", "the file is not an MP4, WebM, Ogg or AVI video")
