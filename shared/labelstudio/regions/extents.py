"""The smallest upright box around a region, whatever its shape is."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Floats, clip_xyxy, envelope
from shared.labelstudio.regions.brush_rle import decode_mask
from shared.labelstudio.regions.fields import numbers, rotation_of
from shared.labelstudio.regions.polygons import ring_of
from shared.labelstudio.regions.rectangles import rectangle_corners


def upright_box(value: Mapping[str, Any], width: int, height: int) -> Floats | None:
    """(4,) pixel corners inside the image; None for a point, an unreadable shape, or one without area in the image.

    Ellipse: its half extents are √((a·cos)² + (b·sin)²) across and √((a·sin)² + (b·cos)²) down.
    """
    corners = _corners(value, width, height)
    if corners is None:
        return None
    box: Floats = clip_xyxy(envelope(corners[None]), width, height)[0]
    return box if box[2] > box[0] and box[3] > box[1] else None


def _corners(value: Mapping[str, Any], width: int, height: int) -> Floats | None:
    """(K, 2) pixels with the same upright box."""
    turn = rotation_of(value)
    if "rle" in value:
        return _painted(decode_mask(value["rle"], width, height))
    if "points" in value:
        return ring_of(value, width, height)
    if turn is None:
        return None
    if "radiusX" in value and (ellipse := numbers(value, "x", "y", "radiusX", "radiusY")):
        centre = np.array(ellipse[:2]) / 100.0 * (width, height)
        across, down = np.array(ellipse[2:]) / 100.0 * (width, height)
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        half = np.array([math.hypot(across * cos, down * sin), math.hypot(across * sin, down * cos)])
        return np.array([centre - half, centre + half])
    return rectangle_corners(value, width, height) if "height" in value else None


def _painted(mask: NDArray[np.bool_] | None) -> Floats | None:
    if mask is None or not mask.any():
        return None
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([(columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)], dtype=np.float64)
