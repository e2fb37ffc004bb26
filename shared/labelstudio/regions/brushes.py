"""BrushLabels, and Brush with Labels: masks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.geometry.detections import Detections, Outline
from shared.geometry.outlines import mask_to_outline, outlines_to_runs
from shared.geometry.rings import clip_outline, signed_area
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.brush_rle import decode_mask, encode_runs
from shared.labelstudio.regions.fields import region_items
from shared.labelstudio.regions.outline_shapes import outlines_of

_SCALED = 4  # a mask may have up to so many times the pixels that the picture has now
_RINGS = 200  # limit of an object's rings; masks with dust have thousands
_TOLERANCE = 0.5  # pixels, to simplify rings: those of strokes have thousands of points


def write_brushes(found: Detections, labels: Sequence[str | None], control: Control) -> list[dict[str, Any]]:
    """One region an object, with its parts and holes. An object without a pixel in the image is left out."""
    regions = []
    visible = [clip_outline(outline, found.width, found.height) for outline in outlines_of(found)]
    masks = outlines_to_runs(visible, found.width, found.height)
    for number, ((begin, end), class_, score) in enumerate(
        zip(masks, found.classes.tolist(), found.scores.tolist(), strict=True)
    ):
        if len(begin):
            value = {"format": "rle", "rle": encode_runs(begin, end, found.width * found.height)}
            regions += region_items(value, control, f"{control.name}-{number}", labels[class_], score, found)
    return regions


def painted_outline(regions: Sequence[Mapping[str, Any]], width: int, height: int) -> Outline:
    """The union of the regions' masks, as rings in pixels of the picture, accurate to a pixel; () if it is empty.

    A region stores the picture's size at the time of painting. If the sizes differ, or a mask cannot be decoded, the
    result is () rather than a part of the object.
    """
    sizes = [(region.get("original_width"), region.get("original_height")) for region in regions]
    across, down = sizes[0] if sizes else (None, None)
    if type(across) is not int or type(down) is not int or min(across, down) < 1:
        return ()
    if across * down > _SCALED * width * height:
        return ()
    painted = np.zeros((down, across), dtype=np.bool_)
    for region, size in zip(regions, sizes, strict=True):
        mask = decode_mask(region["value"].get("rle"), across, down) if size == (across, down) else None
        if mask is None:
            return ()
        painted |= mask
    rings = sorted(mask_to_outline(painted, _TOLERANCE), key=lambda ring: -abs(signed_area(ring)))
    scale = np.array([width / across, height / down])
    return tuple(ring * scale for ring in rings[:_RINGS])
