"""Decodes a large JPEG file with OpenCV so that its pixels are in memory once.

`cv2.imdecode` decodes into memory of OpenCV's own and copies that for Python: 650 MB of 12,000 × 9,000 pixels.
`cv2.imread` writes into an array (since OpenCV 4.11), but reads a file: here one that is nowhere but in memory.
"""

import os

import cv2
import numpy as np
from numpy.typing import NDArray

LARGE = 16_000_000
"""Pixels from which on the copy costs more than such a file."""
_MARK = 64  # bytes


def decoded_once(data: bytes, flags: int, shape: tuple[int, int, int]) -> NDArray[np.uint8] | None:
    """(H, W, 3) BGR as `cv2.imdecode` with these flags; None if that has to try it.

    So where this system has no such files, and where OpenCV finds no picture of this shape.
    """
    if not hasattr(os, "memfd_create"):
        return None
    pixels: NDArray[np.uint8] = np.zeros(shape, dtype=np.uint8)
    start = pixels.reshape(-1)[:_MARK]
    mark = np.frombuffer(os.urandom(_MARK), dtype=np.uint8)[: len(start)]
    start[:] = mark  # which OpenCV leaves if it fails, without a word
    try:
        with open(os.memfd_create("picture"), "wb") as file:
            file.write(data)
            file.flush()
            read = cv2.imread(f"/proc/self/fd/{file.fileno()}", pixels, flags)
    except (OSError, TypeError, cv2.error):  # TypeError: by an older OpenCV
        return None
    return None if read is not pixels or (start == mark).all() else pixels
