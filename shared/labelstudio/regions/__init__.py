"""Conversion between Label Studio's regions and detections: a writer and a reader for each kind of control.

Formats: https://labelstud.io/guide/export (in percent of the upright image; labels under a key named like the type).
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
    """The writer and the reader of one kind of control."""

    write: Callable[[Detections, Sequence[str | None], Control], list[Region]]
    """(detections, class index → label, control) → regions. A label of None makes a region without a label."""
    read: Callable[[Sequence[Mapping[str, Any]], Control, int, int], Reading[Detections]]
    """(all regions of an annotation, control, width and height of the upright image in pixels) → its detections.

    Classes are indices of the control's `class_names`. A region with several labels is one detection for each. Regions
    of other controls and labels are ignored; one that may be an object of this control but cannot be read is reported.
    """


CONTROLS: dict[str, Converter] = {
    "RectangleLabels": Converter(write_rectangles, read_shapes),
    "PolygonLabels": Converter(write_polygons, read_shapes),
    "BrushLabels": Converter(write_brushes, read_shapes),
    "EllipseLabels": Converter(write_ellipses, read_shapes),
    "KeyPointLabels": Converter(write_keypoints, read_keypoints),
    "Choices": Converter(write_choices, read_choices),
}
"""Tag of a control (`shared.labelstudio.controls.CONTROL_TASKS`) → its converter."""
