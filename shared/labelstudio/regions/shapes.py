"""RectangleLabels, PolygonLabels, BrushLabels and EllipseLabels: whatever was drawn is read, where that is faithful.

Several tags may share one `<Labels>`. A box can be made of all that was drawn, an outline of all but a rectangle, and a
rotated box of a rectangle only: how another shape is turned, nobody said.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from shared.geometry import Detections, Floats, Outline, clip_xyxy, corners_to_xywhr, envelope
from shared.labelstudio.config import Control, YoloTask
from shared.labelstudio.regions.brushes import painted_outline
from shared.labelstudio.regions.ellipses import ellipse_ring
from shared.labelstudio.regions.labelled import labelled, region_id, tool_of
from shared.labelstudio.regions.polygons import ring_of
from shared.labelstudio.regions.reading import Reading, named, whole
from shared.labelstudio.regions.rectangles import rectangle_corners
from shared.rings import clip_outline

_RINGS: dict[str, Callable[[Mapping[str, Any], int, int], Floats | None]] = {
    "Rectangle": rectangle_corners,
    "Polygon": ring_of,
    "Ellipse": ellipse_ring,
}
_MASKS = ("Polygon", "Ellipse", "Brush")
_TAKEN: dict[YoloTask, tuple[str, ...]] = {"detect": ("Rectangle", *_MASKS), "segment": _MASKS, "obb": ("Rectangle",)}
_MADE: dict[YoloTask, str] = {"detect": "box", "segment": "outline", "obb": "rotated box"}


class _Thing(NamedTuple):
    class_: int
    xyxy: Floats  # (4,)
    rotated: Floats  # (5,) xywhr
    outline: Outline  # what is inside the image
    tool: str  # that drew it: "Polygon"


def read_shapes(result: Sequence[Mapping[str, Any]], control: Control, width: int, height: int) -> Reading[Detections]:
    """A region is a thing, with all its strokes; so are strokes of the same id and label. Holes are kept.

    What is outside the image is cut off. A rectangle is there as it was drawn (`rotated`), and as its clipped envelope.
    """
    own = control.tag.removesuffix("Labels")
    drawn: dict[tuple[str | int, int], list[Mapping[str, Any]]] = {}
    for number, (region, class_) in enumerate(labelled(result, control)):
        name = region_id(region) if tool_of(region["value"], own) == "Brush" else ""
        drawn.setdefault((name or number, class_), []).append(region)
    things: list[_Thing] = []
    unusable: list[str] = []
    for (_, class_), regions in drawn.items():
        thing = _thing(regions, class_, control, width, height)
        if isinstance(thing, _Thing):
            things.append(thing)
        else:
            unusable.append(f"{named(regions[0], control.label_values[class_])} {thing}")
    boxes = control.tag == "RectangleLabels"
    found = Detections(
        width,
        height,
        np.array([thing.xyxy for thing in things], dtype=np.float64).reshape(-1, 4),
        np.ones(len(things)),
        np.array([thing.class_ for thing in things], dtype=np.int64),
        control.label_values,
        rotated=np.array([thing.rotated for thing in things], dtype=np.float64).reshape(-1, 5) if boxes else None,
        outlines=None if boxes else tuple(thing.outline for thing in things),
    )
    seen = {control.label_values[thing.class_] for thing in things}
    return replace(
        whole(found, seen, unusable, result, control),
        converted=tuple(thing.tool for thing in things if thing.tool != own),
    )


def _thing(
    regions: Sequence[Mapping[str, Any]], class_: int, control: Control, width: int, height: int
) -> _Thing | str:
    """Or why there is none."""
    value = regions[0]["value"]
    tool = tool_of(value, control.tag.removesuffix("Labels"))
    if not tool:
        return "has no shape that can be read"
    if tool not in _TAKEN[control.yolo_task]:
        return f"was drawn with <{tool}>, of which no {_MADE[control.yolo_task]} can be made"
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
    return _Thing(class_, clip_xyxy(around, width, height)[0], rotated, visible, tool)
