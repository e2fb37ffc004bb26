"""How alike two objects of one control are, from 0 to 1: 1 is the same, 0.5 the same object. Pure.

Boxes, polygons, ellipses and masks: intersection over union, of rotated boxes and all parts and holes too. Tracks: the
mean of it over their keyframes. Spans: over their frames. Keypoints: 1 at the same place, falling to 0 at a distance of
5 % of the picture's longer side. Choices have no shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from infra.effort.objects import Object
from shared.geometry.detections import Floats, Outline, corners_to_xywhr, envelope, percent_to_xyxy, rotated_corners
from shared.geometry.outlines import mask_to_outline, outlines_to_runs
from shared.geometry.suppression import rotated_iou
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.brush_rle import decode_mask
from shared.labelstudio.regions.ellipses import ellipse_ring
from shared.labelstudio.regions.fields import numbers, tool_of
from shared.labelstudio.regions.polygons import ring_of
from shared.labelstudio.regions.rectangles import rectangle_corners
from shared.labelstudio.regions.tracks import Drawn, read_tracks

_CELLS = 512  # cells along the longer side of what two outlines cover together
_FAR = 0.05  # part of the picture's longer side, for keypoints
_FRAMES = 200  # of the keyframes of two tracks at most so many are compared


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """Something with an area, in pixels."""

    outline: Outline
    box: Floats  # (4,) xyxy around it
    rectangle: Floats | None  # (5,) xywhr of a rectangle


@dataclass(frozen=True, slots=True)
class Spot:
    """A keypoint, as fractions of the picture's longer side."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Span:
    """Frames of a video, both inclusive."""

    start: float
    end: float


Shape = Area | Spot | Span | Drawn


def shape_of(one: Object, control: Control) -> Shape | None:
    """The shape of an object; None if it has none, or it cannot be read."""
    if control.tag == "Choices":
        return None
    if control.tag == "VideoRectangle":
        # The reader reads objects with a label of the config only; here any label will do.
        item = {**one.items[0], "value": {**one.items[0]["value"], "labels": list(control.label_values[:1])}}
        return next(iter(read_tracks([item], control).found), None)
    width, height = _size(one.items[0])
    value = one.items[0]["value"]
    if control.tag == "TimelineLabels":
        ranges = value["ranges"]
        frames = numbers(ranges[0], "start", "end") if isinstance(ranges, list) and _is_mapping(ranges[0]) else None
        return Span(*frames) if frames else None
    if control.yolo_task == "pose":
        place = numbers(value, "x", "y")
        longer = max(width, height) * 100.0
        return Spot(place[0] * width / longer, place[1] * height / longer) if place else None
    return _area(one, tool_of(value, control.tool), width, height)


def likeness(first: Shape | None, second: Shape | None) -> float:
    """0–1. Two objects without a shape are alike; one that cannot be read is like no other."""
    if first is None and second is None:
        return 1.0
    if isinstance(first, Area) and isinstance(second, Area):
        return _areas(first, second)
    if isinstance(first, Spot) and isinstance(second, Spot):
        return max(0.0, 1.0 - float(np.hypot(first.x - second.x, first.y - second.y)) / _FAR)
    if isinstance(first, Span) and isinstance(second, Span):
        common = min(first.end, second.end) - max(first.start, second.start) + 1
        return max(0.0, common / (max(first.end, second.end) - min(first.start, second.start) + 1))
    if isinstance(first, Drawn) and isinstance(second, Drawn):
        return _tracks(first, second)
    return 0.0


def _area(one: Object, tool: str, width: int, height: int) -> Area | None:
    value = one.items[0]["value"]
    if tool == "Brush":
        outline = _painted(one, width, height)
    else:
        read = {"Rectangle": rectangle_corners, "Polygon": ring_of, "Ellipse": ellipse_ring}.get(tool)
        ring = read(value, width, height) if read else None
        outline = () if ring is None else (ring,)
    if not outline:
        return None
    around = envelope(np.concatenate(outline)[None])[0]
    return Area(outline, around, corners_to_xywhr(outline[0]) if tool == "Rectangle" else None)


def _painted(one: Object, width: int, height: int) -> Outline:
    """Along the sides of the pixels of all its strokes; () if one cannot be decoded."""
    painted = np.zeros((height, width), dtype=np.bool_)
    for item in one.items:
        if "rle" in item["value"]:
            mask = decode_mask(item["value"]["rle"], width, height)
            if mask is None:
                return ()
            painted |= mask
    return mask_to_outline(painted)


def _areas(first: Area, second: Area) -> float:
    low, high = np.maximum(first.box[:2], second.box[:2]), np.minimum(first.box[2:], second.box[2:])
    if not (low < high).all():
        return 0.0
    if first.rectangle is not None and second.rectangle is not None:
        return rotated_iou(first.rectangle, second.rectangle)
    corner = np.minimum(first.box[:2], second.box[:2])
    cells = _CELLS / (np.maximum(first.box[2:], second.box[2:]) - corner).max()
    scaled = [tuple((ring - corner) * cells for ring in one.outline) for one in (first, second)]
    covered = np.zeros(_CELLS**2 + 1, dtype=np.int8)  # how many of the two begin, less how many end, at each cell
    area = 0
    for begin, end in outlines_to_runs(scaled, _CELLS, _CELLS):
        area += int((end - begin).sum())
        np.add.at(covered, begin, 1)
        np.add.at(covered, end, -1)
    common = int((covered.cumsum() == 2).sum())
    return common / (area - common) if area > common else 0.0


def _tracks(first: Drawn, second: Drawn) -> float:
    """The mean IoU at the keyframes of both, 0 where only one of them is visible. Rotated boxes: those around them."""
    frames = np.union1d(first.frames, second.frames)
    frames = frames[np.unique(np.linspace(0, len(frames) - 1, _FRAMES).astype(np.int64))]
    seen = first.visible_at(frames), second.visible_at(frames)
    both, either = seen[0] & seen[1], seen[0] | seen[1]
    if not either.any():
        return 0.0
    one, other = (envelope(_corners(track.boxes_at(frames[both]))) for track in (first, second))
    sides = np.clip(np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2]), 0.0, None)
    common = sides.prod(axis=1)
    total = (one[:, 2:] - one[:, :2]).prod(axis=1) + (other[:, 2:] - other[:, :2]).prod(axis=1) - common
    return float((common / np.maximum(total, 1e-9)).sum() / either.sum())


def _corners(boxes: Floats) -> Floats:
    """(F, 5) Label Studio's boxes in percent → (F, 4, 2) corners, as if the picture were a square."""
    return rotated_corners(percent_to_xyxy(boxes[:, :4], 100, 100), boxes[:, 4])


def _size(item: Mapping[str, Any]) -> tuple[int, int]:
    """The picture's size in pixels; a square where the item, an import, does not say it."""
    size = item.get("original_width"), item.get("original_height")
    return (size[0], size[1]) if all(type(side) is int and side > 0 for side in size) else (100, 100)  # type: ignore[return-value]


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)
