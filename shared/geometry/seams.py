"""Objects at the edges of tiles: what two views have in common, and one object of its pieces. Pure.

cv2 is imported in functions, since light installations do not have it.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import (
    Detections,
    Floats,
    Ints,
    Outline,
    axes_of,
    clip_xyxy,
    envelope,
    xywhr_to_corners,
)
from shared.geometry.outlines import mask_to_outline, outlines_to_runs

_GRID = 64  # cells on a side of the grid on which parts of two outlines are compared
_FRACTION = 4  # bits of a cell with which their points are placed
_FAR = 2**18  # such a place that is far outside: OpenCV's numbers have an end
_STAIRS = 0.75  # cells that an outline of joined pieces may be away from their masks, as outlines of masks may
_MOST_CELLS = 4_000_000  # of the grid on which pieces are joined


def moved(found: Detections, corner: tuple[int, int], width: int, height: int) -> Detections:
    """What was found in a part of a picture, in pixels of the picture. `corner`: x, y where the part begins."""
    by = np.array(corner, dtype=np.float64)
    rotated, points, outlines = found.rotated, found.keypoints, found.outlines
    if rotated is not None:
        rotated = np.hstack([rotated[:, :2] + by, rotated[:, 2:]])
    if points is not None:
        there = points[..., 2:] > 0
        points = np.concatenate([points[..., :2] + np.where(there, by, 0.0), points[..., 2:]], axis=-1)
    if outlines is not None:
        outlines = tuple(tuple(ring + by for ring in outline) for outline in outlines)
    return replace(
        found,
        width=width,
        height=height,
        xyxy=found.xyxy + np.tile(by, 2),
        rotated=rotated,
        keypoints=points,
        outlines=outlines,
    )


def common_areas(every: Detections, first: Ints, second: Ints, at_edge: NDArray[np.bool_], common: Floats) -> Floats:
    """(P, 3) of P pairs of objects: the area that both have inside `common`, and that of each; NaN: by their boxes.

    Rotated boxes as they are; outlines where one of the two is cut at an edge, since the boxes of halves differ.
    """
    areas = np.full((len(first), 3), np.nan)
    if every.rotated is not None:
        corners = xywhr_to_corners(every.rotated) - common[:2]
        frame = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * (common[2:] - common[:2])
        parts = {row: _cut_out(corners[row], frame) for row in {*first.tolist(), *second.tolist()}}
        for pair, (one, other) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
            areas[pair] = _area(_cut_out(parts[one], parts[other])), _area(parts[one]), _area(parts[other])
    elif every.outlines is not None:
        for pair in np.flatnonzero(at_edge):
            one, other = (every.outlines[row] for row in (first[pair], second[pair]))
            if one and other:
                boxes = every.xyxy[[first[pair], second[pair]]]
                area = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
                where = np.concatenate([np.maximum(area[:2], common[:2]), np.minimum(area[2:], common[2:])])
                drawn, its = (_drawn(outline, where) for outline in (one, other))
                areas[pair] = (drawn & its).sum(), drawn.sum(), its.sum()
    return areas


def _cut_out(polygon: Floats, other: Floats) -> Floats:
    """(K, 2) and (L, 2) convex polygons → what they have in common; (0, 2) where that is nothing."""
    import cv2

    if not len(polygon) or not len(other):
        return np.zeros((0, 2))
    area, points = cv2.intersectConvexConvex(polygon.astype(np.float32), other.astype(np.float32))
    return np.zeros((0, 2)) if points is None or area <= 0 else points.reshape(-1, 2).astype(np.float64)


def _area(polygon: Floats) -> float:
    import cv2

    return float(cv2.contourArea(polygon.astype(np.float32))) if len(polygon) else 0.0


def _drawn(outline: Outline, where: Floats) -> NDArray[np.bool_]:
    """What of an outline is in a part of the picture, on a grid over this part."""
    import cv2

    scale = _GRID / np.maximum(where[2:] - where[:2], 1e-9)
    placed = ((np.concatenate(outline) - where[:2]) * scale - 0.5) * 2**_FRACTION
    points = np.rint(np.clip(placed, -_FAR, _FAR)).astype(np.int32)
    rings = np.split(points, np.cumsum([len(ring) for ring in outline[:-1]])) if len(outline) > 1 else [points]
    grid = np.zeros((_GRID, _GRID), dtype=np.uint8)
    cv2.fillPoly(grid, rings, 1, shift=_FRACTION)
    return grid.astype(np.bool_)


def joined(pieces: Detections, pixel: float) -> Detections:
    """One object of the pieces that tiles saw of it: its score is the highest, its box around all of theirs.

    `pixel`: pixels of the picture that one of what the network saw stands for.
    """
    largest = int(np.argmax(np.prod(pieces.xyxy[:, 2:] - pieces.xyxy[:, :2], axis=1)))
    only = pieces.only(np.array([largest]))
    xyxy = np.concatenate([pieces.xyxy[:, :2].min(axis=0), pieces.xyxy[:, 2:].max(axis=0)])[None]
    rotated, points, outlines = pieces.rotated, pieces.keypoints, pieces.outlines
    if rotated is not None:
        rotated = _around(xywhr_to_corners(rotated).reshape(-1, 2), float(rotated[largest, 4]))[None]
        xyxy = clip_xyxy(envelope(xywhr_to_corners(rotated)), pieces.width, pieces.height)
    if points is not None:
        points = np.take_along_axis(points, points[..., 2].argmax(axis=0)[None, :, None], axis=0)
    if outlines is not None:
        outlines = (_union([outline for outline in outlines if outline], pixel),)
    return replace(
        only,
        xyxy=xyxy,
        scores=pieces.scores.max(keepdims=True),
        rotated=rotated,
        keypoints=points,
        outlines=outlines,
    )


def _around(points: Floats, radians: float) -> Floats:
    """(K, 2) points → (5,) the smallest box of this rotation around them: xywhr."""
    axes = axes_of(np.array([radians]))[0]
    along = points @ axes.T
    low, high = along.min(axis=0), along.max(axis=0)
    return np.array([*((low + high) / 2 @ axes), *(high - low), radians])


def _union(outlines: list[Outline], pixel: float) -> Outline:
    """What is inside any of the outlines, as one without seams; drawn in pixels of what the network saw."""
    if len(outlines) < 2:
        return outlines[0] if outlines else ()
    points = np.concatenate([ring for outline in outlines for ring in outline])
    corner = np.floor(points.min(axis=0))
    extent = points.max(axis=0) - corner
    pixel = max(pixel, float(np.sqrt(extent.prod() / _MOST_CELLS)))
    across, down = (int(side) + 1 for side in np.ceil(extent / pixel))
    mask = np.zeros(across * down, dtype=np.uint8)
    cells = [tuple((ring - corner) / pixel for ring in outline) for outline in outlines]
    for begins, ends in outlines_to_runs(cells, across, down):
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            mask[begin:end] = 1
    return tuple(ring * pixel + corner for ring in mask_to_outline(mask.reshape(down, across), _STAIRS))
