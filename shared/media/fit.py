"""Resizing of pictures for models: the same for training, gate and prediction. Pure."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

GRAY = 114  # ultralytics' padding
_THINNEST = 16  # a strip is at least 1/16 of the square's side wide
MIN_SIDE = 10  # pixels; ultralytics silently leaves smaller images out
_KEPT = 2  # times the size that a model sees


Side = int | Callable[[int], int] | None
"""Pixels of a picture's longer side that are needed, or what tells it of those that there are; None: all of them."""


class Sized(NamedTuple):
    """A picture, maybe in fewer pixels than it has."""

    pixels: NDArray[np.uint8]  # (h, w, 3) BGR, contiguous, upright
    whole: tuple[int, int]  # height, width in all its pixels


def in_full(pixels: NDArray[np.uint8]) -> Sized:
    """A picture in all its pixels."""
    return Sized(pixels, (pixels.shape[0], pixels.shape[1]))


def squared(pixels: NDArray[np.uint8], size: int, whole: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """(H, W, 3) → (size, size, 3): the whole picture, resized and centred on gray. Classifiers see it so.

    A picture over 16 times as long as wide is widened, since it would vanish. `whole`: height and width of the picture,
    if these are fewer pixels.
    """
    import cv2  # takes 0.25 s: not before the first image

    height, width = whole or pixels.shape[:2]
    longest = max(height, width)
    across, down = (max(round(side * size / longest), size // _THINNEST) for side in (width, height))
    resized = cv2.resize(pixels, (across, down), interpolation=cv2.INTER_AREA if size < longest else cv2.INTER_LINEAR)
    square = np.full((size, size, 3), GRAY, dtype=np.uint8)
    top, left = (size - down) // 2, (size - across) // 2
    square[top : top + down, left : left + across] = resized
    return square


def shrunk(pixels: NDArray[np.uint8], image_size: int) -> NDArray[np.uint8]:
    """(H, W, 3) → (h, w, 3): shrunk for a model whose input is `image_size` pixels on the longer side.

    The longer side is twice that, so that the model's own resizing averages four pixels, where from a large picture it
    would skip most. Smaller pictures are unchanged, and no side gets shorter than ultralytics accepts.
    """
    height, width = pixels.shape[:2]
    size = kept_size(width, height, image_size)
    if size == (width, height):
        return pixels
    import cv2

    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def kept_size(width: int, height: int, image_size: int) -> tuple[int, int]:
    """(width, height) of the result of `shrunk`, in pixels."""
    scale = max(_KEPT * image_size / max(height, width), MIN_SIDE / min(height, width))
    return (width, height) if scale >= 1.0 else (round(width * scale), round(height * scale))
