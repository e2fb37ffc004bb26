"""Writes Detections as lines of YOLO label files, one function for each YOLO task.

Formats: https://docs.ultralytics.com/datasets. Numbers are fractions of the image's width and height.
"""

from collections.abc import Callable

import numpy as np

from shared.geometry.detections import (
    Detections,
    Floats,
    Outline,
    clip_rotated,
    envelope,
    xywhr_to_corners,
    xyxy_to_xywhn,
)
from shared.geometry.rings import clip_outline, join_rings, parts_of
from shared.yolo_task import YoloTask


def label_lines(found: Detections, yolo_task: YoloTask) -> list[str]:
    """One line with line break for each object, class index first; none for objects outside the image."""
    rows = _WRITERS[yolo_task](found)
    return [
        f"{class_} {' '.join(f'{value:.6f}' for value in row.tolist())}\n"
        for class_, row in zip(found.classes.tolist(), rows, strict=True)
        if len(row)
    ]


def _boxes(found: Detections) -> list[Floats]:
    """Centre x, y, width, height."""
    return list(xyxy_to_xywhn(found.xyxy, found.width, found.height))


def _poses(found: Detections) -> list[Floats]:
    """Box, then x, y, visibility of each point: 2 visible, 0 missing (Label Studio has no hidden points)."""
    assert found.keypoints is not None
    points = found.keypoints / (found.width, found.height, 1.0)
    points[..., 2] = np.where(found.keypoints[..., 2] > 0, 2.0, 0.0)
    return list(np.hstack([_boxes(found), points.reshape(len(found), -1)])) if len(found) else []


def _rotated_boxes(found: Detections) -> list[Floats]:
    """Four corners x, y, clockwise. Of a box over the border the first of these that ultralytics accepts:

    the box as drawn, the box of the same angle around its visible part, the polygon of its visible part (of which
    ultralytics makes the smallest rotated box). It clips boxes itself and keeps their angle, but leaves the whole image
    out if centre or size of the upright box around one is outside 0–1.
    """
    assert found.rotated is not None
    drawn = xywhr_to_corners(found.rotated)
    visible = xywhr_to_corners(clip_rotated(found.rotated, found.width, found.height))
    rows = []
    for corners in zip(drawn, visible, strict=True):
        upright = xyxy_to_xywhn(envelope(np.stack(corners)), found.width, found.height)
        taken = ((upright >= 0) & (upright <= 1)).all(axis=1) & (upright[:, 2:] > 0).all(axis=1)
        if taken.any():
            rows.append(_fractions(corners[int(taken.argmax())], found))
        else:
            ring = clip_outline((corners[0],), found.width, found.height)
            rows.append(_fractions(ring[0], found) if ring else _NOTHING)
    return rows


def _outlines(found: Detections) -> list[Floats]:
    """The points of one ring; parts and holes are joined by bridges of no width, as ultralytics' converters do."""
    assert found.outlines is not None
    visible = [clip_outline(outline, found.width, found.height) for outline in found.outlines]
    return [_fractions(_one_ring(outline), found) if outline else _NOTHING for outline in visible]


def _one_ring(outline: Outline) -> Floats:
    return outline[0] if len(outline) == 1 else join_rings([ring for part in parts_of(outline) for ring in part])


def _fractions(points: Floats, found: Detections) -> Floats:
    """(K, 2) pixels → (2 K,) x, y, x, y, …"""
    return (points / (found.width, found.height)).reshape(-1)


_NOTHING: Floats = np.zeros(0)
_WRITERS: dict[str, Callable[[Detections], list[Floats]]] = {
    "detect": _boxes,
    "segment": _outlines,
    "obb": _rotated_boxes,
    "pose": _poses,
}
