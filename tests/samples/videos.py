"""Video files for tests, written by OpenCV."""

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from ultralytics.utils import ASSETS


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], *, fps: float = 25.0, codec: str = "VP80") -> Path:
    """`frames`: (H, W, 3), blue first. VP80 in a .webm is what browsers play, too."""
    writer = None
    for frame in frames:
        if writer is None:
            height, width = frame.shape[:2]
            fourcc = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, fps, (width, height))
            assert writer.isOpened()
        writer.write(frame)
    assert writer is not None
    writer.release()
    return path


def panned(path: Path) -> Path:
    """A second in which a camera pans over a photograph, ten frames a second."""
    photograph = np.asarray(cv2.imread(str(ASSETS / "bus.jpg")), dtype=np.uint8)
    views = [photograph[100 + 6 * n : 900 + 6 * n, 2 * n : 760 + 2 * n] for n in range(10)]
    return write_video(path, [cv2.resize(view, (380, 400)).astype(np.uint8) for view in views], fps=10.0)


def with_variable_rate(path: Path, seconds: Sequence[float]) -> Path:
    """An MP4 file of OpenCV's, changed so that each frame stays on the screen for so many seconds (ISO 14496-12)."""
    data = path.read_bytes()
    (timescale,) = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)
    stays = [round(one * timescale) for one in seconds]
    rows = b"".join(struct.pack(">II", 1, stay) for stay in stays)
    times = data.index(b"stts") - 4
    box = struct.pack(">I4sII", 16 + len(rows), b"stts", 0, len(stays)) + rows
    longer = len(box) - struct.unpack_from(">I", data, times)[0]
    changed = bytearray(data[:times] + box + data[times + len(box) - longer :])  # pictures stand in front of it
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        place = changed.index(name) - 4
        struct.pack_into(">I", changed, place, struct.unpack_from(">I", changed, place)[0] + longer)
    struct.pack_into(">I", changed, changed.index(b"mdhd") + 20, sum(stays))
    place = changed.index(b"edts")
    changed[place : place + 4] = b"free"  # an edit list would cut the film to its old length
    path.write_bytes(changed)
    return path
