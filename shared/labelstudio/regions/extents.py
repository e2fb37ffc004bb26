"""The smallest upright box around a region of any shape."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Floats, clip_xyxy, envelope
from shared.labelstudio.regions.brush_rle import decode_mask
from shared.labelstudio.regions.ellipses import ellipse_of
from shared.labelstudio.regions.polygons import ring_of
from shared.labelstudio.regions.rectangles import rectangle_corners


def upright_box(value: Mapping[str, Any], width: int, height: int) -> Floats | None:
    """(4,) xyxy in pixels, clipped; None for a point, an unreadable shape, or one without area in the image.

    The box of an ellipse with half axes a, b extends √(a_x² + b_x²) left and right of its centre, √(a_y² + b_y²) up and
    down.
    """
    corners = _corners(value, width, height)
    if corners is None:
        return None
    box: Floats = clip_xyxy(envelope(corners[None]), width, height)[0]
    return box if box[2] > box[0] and box[3] > box[1] else None


def _corners(value: Mapping[str, Any], width: int, height: int) -> Floats | None:
    """(K, 2) points in pixels with the same upright box as the shape."""
    if "rle" in value:
        return _painted(decode_mask(value["rle"], width, height))
    if "points" in value:
        return ring_of(value, width, height)
    if "radiusX" in value and (ellipse := ellipse_of(value, width, height)):
        centre, half_axes = ellipse
        half = np.hypot(*half_axes)
        return np.array([centre - half, centre + half])
    return rectangle_corners(value, width, height) if "height" in value else None


def _painted(mask: NDArray[np.bool_] | None) -> Floats | None:
    if mask is None or not mask.any():
        return None
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([(columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)], dtype=np.float64)
