"""Regions of Label Studio ↔ detections: one row a control, each with a writer and a reader.

Formats: https://labelstud.io/guide/export (percent of the upright image, label under the key named like the type).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.geometry.detections import Detections
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.brushes import write_brushes
from shared.labelstudio.regions.choices import read_choices, write_choices
from shared.labelstudio.regions.ellipses import write_ellipses
from shared.labelstudio.regions.keypoints import read_keypoints, write_keypoints
from shared.labelstudio.regions.polygons import write_polygons
from shared.labelstudio.regions.reading import Reading
from shared.labelstudio.regions.rectangles import write_rectangles
from shared.labelstudio.regions.shapes import read_shapes

Region = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Converter:
    """How one control's regions become detections, and back."""

    write: Callable[[Detections, Sequence[str | None], Control], list[Region]]
    """`labels` maps class index → label; None becomes a region without a label."""
    read: Callable[[Sequence[Mapping[str, Any]], Control, int, int], Reading[Detections]]
    """All regions of an annotation, the control, width and height of the upright image in pixels → what was annotated.

    Classes index into the control's `class_names`. A region with several labels counts once for each. Regions of other
    controls and labels do not count; what may be an object of this one, and could not be read, is told.
    """


CONTROLS: dict[str, Converter] = {
    "RectangleLabels": Converter(write_rectangles, read_shapes),
    "PolygonLabels": Converter(write_polygons, read_shapes),
    "BrushLabels": Converter(write_brushes, read_shapes),
    "EllipseLabels": Converter(write_ellipses, read_shapes),
    "KeyPointLabels": Converter(write_keypoints, read_keypoints),
    "Choices": Converter(write_choices, read_choices),
}
"""Tag of a control (`shared.labelstudio.controls.CONTROL_TASKS`) → its row."""
