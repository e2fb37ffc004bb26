"""PolygonLabels, and Polygon with Labels.

Label Studio's polygons have no holes. So a hole is joined to the outer ring by a bridge of no width; our reader, Label
Studio's page and YOLO's label files then all leave it out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.geometry.detections import FAR, Detections, Floats
from shared.geometry.outlines import simplify
from shared.geometry.rings import clip_outline, join_rings, parts_of
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.fields import region_items
from shared.labelstudio.regions.outline_shapes import outlines_of


def write_polygons(found: Detections, labels: Sequence[str | None], control: Control) -> list[dict[str, Any]]:
    """One region a part of an object (ids `label-3`, `label-3.1`, …), clipped to the image."""
    size = np.array([found.width, found.height])
    regions = []
    for number, (outline, class_, score) in enumerate(
        zip(outlines_of(found), found.classes.tolist(), found.scores.tolist(), strict=True)
    ):
        for place, part in enumerate(parts_of(simplify(clip_outline(outline, found.width, found.height)))):
            value = {"points": (join_rings(part) / size * 100.0).tolist(), "closed": True}
            region_id = f"{control.name}-{number}" + (f".{place}" if place else "")
            regions += region_items(value, control, region_id, labels[class_], score, found)
    return regions


def ring_of(value: Mapping[str, Any], width: int, height: int) -> Floats | None:
    """(K, 2) in pixels, not clipped; None if the value is not a polygon."""
    try:
        points = np.array(value["points"], dtype=np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if points.ndim != 2 or points.shape[0] < 3 or points.shape[1] != 2 or not (np.abs(points) < FAR).all():
        return None
    ring: Floats = points / 100.0 * np.array([width, height])
    return ring
