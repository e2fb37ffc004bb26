"""Pictures as networks see them, in the steps in which ultralytics shows them when it trains and validates."""

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Floats
from shared.inference.engine import Pixels
from shared.media.fit import GRAY, shrunk


def letterbox(image: Pixels, size: int, stride: int, whole: tuple[int, int] | None = None) -> Pixels:
    """(H, W, 3) → the picture, its longer side of `size` pixels, in gray up to the next multiple of `stride`.

    `whole`: height and width of the picture, if these are fewer pixels. Large pictures take two steps, as those that a
    training keeps (see `shrunk`). What ultralytics' LetterBox does with `auto` (ultralytics/data/augment.py).
    """
    import cv2  # a quarter of a second: not before the first image

    height, width = whole or image.shape[:2]
    scale = size / max(height, width)
    inner = max(round(width * scale), 1), max(round(height * scale), 1)
    small = shrunk(image, size)
    if small.shape[1::-1] != inner:
        how = cv2.INTER_LINEAR if image.shape[:2] == (height, width) else cv2.INTER_AREA  # no pixel is passed over
        small = cv2.resize(small, inner, interpolation=how).astype(np.uint8, copy=False)
    across, down = ((size - side) % stride / 2 for side in inner)
    top, bottom, left, right = round(down - 0.1), round(down + 0.1), round(across - 0.1), round(across + 0.1)
    boxed: Pixels = cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(GRAY,) * 3).astype(
        np.uint8, copy=False
    )
    return boxed


def place_in(seen: tuple[int, int], size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Where a picture lies in what a network saw; both (height, width).

    x, y of its corner and its width and height, in pixels of what was seen.
    """
    outer, picture = np.array(seen[::-1]), np.array(size[::-1])
    inner = np.maximum(np.round(picture * (outer / picture).min()), 1.0)
    return np.round((outer - inner) / 2 - 0.1), inner


def to_picture(points: NDArray[np.floating], seen: tuple[int, int], size: tuple[int, int]) -> Floats:
    """(…, 2) points of what a network saw → of the picture, cut at its border."""
    corner, inner = place_in(seen, size)
    picture = np.array(size[::-1], dtype=np.float64)
    return np.clip((points - corner) * (picture / inner), 0.0, picture)
