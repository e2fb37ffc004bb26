"""Pictures in the sizes in which models see them: the same for training, gate and prediction. Pure."""

import numpy as np
from numpy.typing import NDArray

_GRAY = 114  # what ultralytics pads with
_THINNEST = 16  # of a strip in a square: the square's side in this many parts
MIN_SIDE = 10  # pixels; ultralytics leaves smaller images out without a word
_KEPT = 2  # times what a model sees


def squared(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(H, W, 3) → (size, size, 3): the whole picture in the middle of gray. What classifiers see.

    A strip that is over 16 times as long as wide is made wider: it would vanish.
    """
    import cv2  # a quarter of a second: not before the first image

    height, width = pixels.shape[:2]
    longest = max(height, width)
    across, down = (max(round(side * size / longest), size // _THINNEST) for side in (width, height))
    resized = cv2.resize(pixels, (across, down), interpolation=cv2.INTER_AREA if size < longest else cv2.INTER_LINEAR)
    square = np.full((size, size, 3), _GRAY, dtype=np.uint8)
    top, left = (size - down) // 2, (size - across) // 2
    square[top : top + down, left : left + across] = resized
    return square


def shrunk(pixels: NDArray[np.uint8], image_size: int) -> NDArray[np.uint8]:
    """(H, W, 3) → what is kept of it for a model that sees `image_size` pixels of its longer side.

    That is twice as much: the step from there averages four pixels, and does not pick one of many as the step from a
    large picture would. Smaller pictures stay as they are, and no side gets shorter than ultralytics takes.
    """
    height, width = pixels.shape[:2]
    size = kept_size(width, height, image_size)
    if size == (width, height):
        return pixels
    import cv2

    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def kept_size(width: int, height: int, image_size: int) -> tuple[int, int]:
    """Width and height of what `shrunk` makes of a picture."""
    scale = max(_KEPT * image_size / max(height, width), MIN_SIDE / min(height, width))
    return (width, height) if scale >= 1.0 else (round(width * scale), round(height * scale))
