"""What polygons, brushes and ellipses have in common: objects with an outline."""

from collections.abc import Sequence

from shared.geometry.detections import Detections, Outline


def outlines_of(found: Detections) -> Sequence[Outline]:
    """One an object; the box if the model knows no outlines."""
    if found.outlines is not None:
        return found.outlines
    return [(box[[[0, 1], [2, 1], [2, 3], [0, 3]]],) for box in found.xyxy]
