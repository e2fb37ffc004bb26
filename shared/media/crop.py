"""The part of an image that one region shows: the same for training and for prediction. Pure."""

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Floats


def crop(pixels: NDArray[np.uint8], xyxy: Floats) -> NDArray[np.uint8]:
    """(H, W, 3) image, (4,) corners in pixels → (h, w, 3), a view.

    Whole pixels, outwards: a pixel that the box touches is in. Cut at the border; never empty.
    """
    height, width = pixels.shape[:2]
    xyxy = np.round(xyxy, 6)  # corners came as percentages: 24 pixels are 24.000000000000004 then
    left, top = (int(np.clip(np.floor(low), 0, size - 1)) for low, size in zip(xyxy[:2], (width, height), strict=True))
    right, bottom = (
        int(np.clip(np.ceil(high), least + 1, size))
        for high, least, size in zip(xyxy[2:], (left, top), (width, height), strict=True)
    )
    return pixels[top:bottom, left:right]
