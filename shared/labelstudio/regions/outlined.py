"""What polygons, brushes and ellipses have in common: things with an outline."""

from collections.abc import Sequence

import numpy as np

from shared.geometry import Detections, Outline
from shared.labelstudio.config import Control
from shared.rings import clip_outline


def outlines_of(found: Detections) -> Sequence[Outline]:
    """One a thing; the box if the model knows no outlines."""
    if found.outlines is not None:
        return found.outlines
    return [(box[[[0, 1], [2, 1], [2, 3], [0, 3]]],) for box in found.xyxy]


def outlined(
    outlines: Sequence[Outline], classes: Sequence[int], control: Control, width: int, height: int
) -> Detections:
    """Annotated things, clipped to the image; their boxes are those around them. What has no area there is left out."""
    clipped = [clip_outline(outline, width, height) for outline in outlines]
    kept = [place for place, outline in enumerate(clipped) if outline]
    corners = [np.concatenate(clipped[place]) for place in kept]
    boxes = [np.concatenate([points.min(axis=0), points.max(axis=0)]) for points in corners]
    return Detections(
        width=width,
        height=height,
        xyxy=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        scores=np.ones(len(kept)),
        classes=np.array([classes[place] for place in kept], dtype=np.int64),
        names=control.label_values,
        outlines=tuple(clipped[place] for place in kept),
    )
