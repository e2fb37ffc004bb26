"""The outlines that polygons, brushes and ellipses are written from."""

from collections.abc import Sequence

from shared.geometry.detections import Detections, Outline


def outlines_of(found: Detections) -> Sequence[Outline]:
    """One outline an object; its box if the model has no outlines."""
    if found.outlines is not None:
        return found.outlines
    return [(box[[[0, 1], [2, 1], [2, 3], [0, 3]]],) for box in found.xyxy]
