"""Crops of regions from images: the same for training and for prediction. Pure."""

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Floats


def crop(pixels: NDArray[np.uint8], xyxy: Floats) -> NDArray[np.uint8]:
    """(H, W, 3) image, (4,) xyxy in pixels → (h, w, 3), a view.

    Rounded outwards to whole pixels and clipped to the image; at least one pixel.
    """
    height, width = pixels.shape[:2]
    xyxy = np.round(xyxy, 6)  # converted from percent, 24 pixels may be 24.000000000000004
    left, top = (int(np.clip(np.floor(low), 0, size - 1)) for low, size in zip(xyxy[:2], (width, height), strict=True))
    right, bottom = (
        int(np.clip(np.ceil(high), start + 1, size))
        for high, start, size in zip(xyxy[2:], (left, top), (width, height), strict=True)
    )
    return pixels[top:bottom, left:right]
