"""EllipseLabels, and Ellipse with Labels: fitted to outlines, or into boxes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.geometry.detections import Detections, Floats, axes_of, clip_xyxy
from shared.geometry.rings import clip_outline, outline_to_ellipse
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.fields import numbers, region_items, rotation_of
from shared.labelstudio.regions.rotated import fit_rotated

_POINTS = 72
"""Points of an ellipse read as a ring: its error is at most 1 − cos(2.5°), a thousandth, of a half axis."""


def write_ellipses(found: Detections, labels: Sequence[str | None], control: Control) -> list[dict[str, Any]]:
    """One region an object: the ellipse fitted to its outline; without outlines the one inscribed in its box."""
    rows, ellipses = fit_rotated(_ellipses(found), found.width, found.height)
    size = np.array([found.width, found.height])
    table = np.hstack([ellipses[:, :2] / size, ellipses[:, 2:4] / 2 / size]) * 100.0
    degrees = np.rad2deg(ellipses[:, 4]) % 180.0
    regions = []
    for number, (x, y, across, down), rotation in zip(rows.tolist(), table.tolist(), degrees.tolist(), strict=True):
        value = {"x": x, "y": y, "radiusX": across, "radiusY": down, "rotation": rotation}
        label, score = labels[found.classes[number]], float(found.scores[number])
        regions += region_items(value, control, f"{control.name}-{number}", label, score, found)
    return regions


def _ellipses(found: Detections) -> Floats:
    """(N, 5) xywhr; NaN for an object without visible area."""
    if found.outlines is None:
        boxes = clip_xyxy(found.xyxy, found.width, found.height)
        centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        return np.hstack([centre, sides, np.zeros((len(found), 1))])
    fitted = np.full((len(found), 5), np.nan)
    for row, outline in enumerate(found.outlines):
        visible = clip_outline(outline, found.width, found.height)
        if visible:
            fitted[row] = outline_to_ellipse(visible)
    return fitted


def ellipse_of(value: Mapping[str, Any], width: int, height: int) -> tuple[Floats, Floats] | None:
    """(2,) centre and (2, 2) half axes in pixels; None if the value is not an ellipse. Radii may be negative."""
    ellipse, turn = numbers(value, "x", "y", "radiusX", "radiusY"), rotation_of(value)
    if ellipse is None or turn is None:
        return None
    centre, radii = np.array(ellipse).reshape(2, 2) / 100.0 * np.array([width, height])
    return centre, axes_of(np.deg2rad([turn]))[0] * radii[:, None]


def ellipse_ring(value: Mapping[str, Any], width: int, height: int) -> Floats | None:
    """(K, 2) in pixels, not clipped; None if the value is not an ellipse."""
    ellipse = ellipse_of(value, width, height)
    if ellipse is None:
        return None
    centre, half_axes = ellipse
    circle = np.linspace(0.0, 2 * np.pi, _POINTS, endpoint=False)
    ring: Floats = centre + np.stack([np.cos(circle), np.sin(circle)], axis=1) @ half_axes
    return ring
