"""Reader of RectangleLabels, PolygonLabels, BrushLabels and EllipseLabels, also of shapes of another of these tags.

Several tags may share one `<Labels>`. Any shape can become a box; any but a rectangle an outline; only a rectangle a
rotated box, as other shapes have no definite rotation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from shared.geometry.detections import Detections, Floats, Outline, clip_xyxy, corners_to_xywhr, envelope
from shared.geometry.rings import clip_outline
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.brushes import painted_outline
from shared.labelstudio.regions.ellipses import ellipse_ring
from shared.labelstudio.regions.fields import labelled, region_id, tool_of
from shared.labelstudio.regions.polygons import ring_of
from shared.labelstudio.regions.reading import Reading, finish_reading, region_name
from shared.labelstudio.regions.rectangles import rectangle_corners
from shared.yolo_task import YoloTask

_RINGS: dict[str, Callable[[Mapping[str, Any], int, int], Floats | None]] = {
    "Rectangle": rectangle_corners,
    "Polygon": ring_of,
    "Ellipse": ellipse_ring,
}
_MASKS = ("Polygon", "Ellipse", "Brush")
_TAKEN: dict[YoloTask, tuple[str, ...]] = {"detect": ("Rectangle", *_MASKS), "segment": _MASKS, "obb": ("Rectangle",)}
_MADE: dict[YoloTask, str] = {"detect": "a box", "segment": "an outline", "obb": "a rotated box"}


class _Object(NamedTuple):
    class_: int
    xyxy: Floats  # (4,)
    rotated: Floats  # (5,) xywhr
    outline: Outline  # clipped to the image
    tool: str  # the tag that drew it: "Polygon"


def read_shapes(result: Sequence[Mapping[str, Any]], control: Control, width: int, height: int) -> Reading[Detections]:
    """One object a region; brush strokes of the same id and label are one object. Holes are kept.

    Shapes are clipped to the image. For a rectangle `rotated` is the box as drawn, and `xyxy` its clipped envelope.
    """
    drawn: dict[tuple[str | int, int], list[Mapping[str, Any]]] = {}
    for number, (region, class_) in enumerate(labelled(result, control)):
        name = region_id(region) if tool_of(region["value"], control.tool) == "Brush" else ""
        drawn.setdefault((name or number, class_), []).append(region)
    objects: list[_Object] = []
    unusable: list[str] = []
    for (_, class_), regions in drawn.items():
        shape = _object(regions, class_, control, width, height)
        if isinstance(shape, _Object):
            objects.append(shape)
        else:
            unusable.append(f"{region_name(regions[0], control.label_values[class_])} {shape}")
    boxes = control.tag == "RectangleLabels"
    found = Detections.annotated(
        width,
        height,
        [shape.xyxy for shape in objects],
        [shape.class_ for shape in objects],
        control.label_values,
        rotated=np.array([shape.rotated for shape in objects], dtype=np.float64).reshape(-1, 5) if boxes else None,
        outlines=None if boxes else tuple(shape.outline for shape in objects),
    )
    seen = {control.label_values[shape.class_] for shape in objects}
    return replace(
        finish_reading(found, seen, unusable, result, control),
        converted=tuple(shape.tool for shape in objects if shape.tool != control.tool),
    )


def _object(
    regions: Sequence[Mapping[str, Any]], class_: int, control: Control, width: int, height: int
) -> _Object | str:
    """The object of the regions; if they cannot be used, the reason."""
    value = regions[0]["value"]
    tool = tool_of(value, control.tool)
    if not tool:
        return "has no shape that can be read"
    if tool not in _TAKEN[control.yolo_task]:
        return f"was drawn with <{tool}>, which cannot become {_MADE[control.yolo_task]}"
    if tool == "Brush":
        outline = painted_outline(regions, width, height)
    else:
        ring = _RINGS[tool](value, width, height)
        outline = () if ring is None else (ring,)
    if not outline:
        return "has a shape that cannot be read"
    visible = clip_outline(outline, width, height)
    if not visible:
        return "has no area inside the image"
    around = envelope(np.concatenate(outline if tool == "Rectangle" else visible)[None])
    rotated = corners_to_xywhr(outline[0]) if tool == "Rectangle" else np.zeros(5)
    return _Object(class_, clip_xyxy(around, width, height)[0], rotated, visible, tool)
