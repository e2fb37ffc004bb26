"""Objects at the edges of tiles: what two views have in common, and one object of its pieces. Pure.

cv2 is imported in functions, since light installations do not have it.
"""

from dataclasses import replace
from typing import NamedTuple

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
from shared.geometry.outlines import STAIRS, mask_to_outline, outlines_to_runs
from shared.geometry.rings import common_part, signed_area

_GRID = 48  # cells on a side of the grid on which an outline is compared with others
_FRACTION = 4  # bits of a cell with which their points are placed
_FAR = 2**18  # such a place that is far outside: OpenCV's numbers have an end
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


class Shapes:
    """The shapes of objects, as far as they are finer than upright boxes; each is drawn once, when it is asked for."""

    def __init__(self, every: Detections) -> None:
        self._every = every
        self._drawn: dict[int, _Drawn] = {}

    def common_areas(self, first: Ints, second: Ints, unclear: NDArray[np.bool_], common: Floats) -> Floats:
        """(P, 3) of P pairs of objects: the area that both have inside `common`, and that of each.

        NaN where upright boxes say enough: they are all there is, or the pair is not `unclear` by them.
        """
        areas = np.full((len(first), 3), np.nan)
        which = np.flatnonzero(unclear)
        pairs = list(zip(first[which].tolist(), second[which].tolist(), strict=True))
        if self._every.rotated is not None and pairs:
            corners = xywhr_to_corners(self._every.rotated) - common[:2]
            frame = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * (common[2:] - common[:2])
            parts = {row: common_part(corners[row], frame) for row in {row for pair in pairs for row in pair}}
            areas[which] = [_between(parts[one], parts[other]) for one, other in pairs]
        elif self._every.outlines is not None and pairs:
            areas[which] = [self._between_outlines(one, other, common) for one, other in pairs]
        return areas

    def _between_outlines(self, one: int, other: int, common: Floats) -> tuple[float, float, float]:
        mine, its = self._of(one), self._of(other)
        if mine is None or its is None:
            return np.nan, np.nan, np.nan
        seen, its_seen = (((each.cells >= common[:2]) & (each.cells <= common[2:])).all(axis=1) for each in (mine, its))
        if not seen.any() or not its_seen.any():  # so little of it that no cell's centre is there
            return np.nan, np.nan, np.nan
        shared = its.holds(mine.cells[seen]).sum() * mine.area
        return float(shared), float(seen.sum() * mine.area), float(its_seen.sum() * its.area)

    def _of(self, row: int) -> "_Drawn | None":
        outline = (self._every.outlines or ())[row]
        if row not in self._drawn and outline:
            self._drawn[row] = _draw(outline, self._every.xyxy[row])
        return self._drawn.get(row)


class _Drawn(NamedTuple):
    """An outline on a grid over its box."""

    grid: NDArray[np.bool_]  # (_GRID, _GRID) whether the centre of a cell is inside
    cells: Floats  # (K, 2) the centres of those that are, in pixels of the picture
    corner: Floats  # (2,) of the grid
    size: Floats  # (2,) of a cell

    @property
    def area(self) -> float:
        """Of a cell."""
        return float(self.size.prod())

    def holds(self, points: Floats) -> NDArray[np.bool_]:
        """(P, 2) pixels of the picture → (P,) whether they are inside."""
        column, row = np.floor((points - self.corner) / self.size).astype(np.int64).T
        inside = (column >= 0) & (row >= 0) & (column < _GRID) & (row < _GRID)
        inside[inside] = self.grid[row[inside], column[inside]]
        return np.asarray(inside)


def _draw(outline: Outline, box: Floats) -> _Drawn:
    import cv2

    size = np.maximum(box[2:] - box[:2], 1e-6) / _GRID
    placed = ((np.concatenate(outline) - box[:2]) / size - 0.5) * 2**_FRACTION
    points = np.rint(np.clip(placed, -_FAR, _FAR)).astype(np.int32)
    rings = np.split(points, np.cumsum([len(ring) for ring in outline[:-1]])) if len(outline) > 1 else [points]
    drawn = np.zeros((_GRID, _GRID), dtype=np.uint8)
    cv2.fillPoly(drawn, rings, 1, shift=_FRACTION)
    grid = drawn.astype(np.bool_)
    cells = (np.argwhere(grid)[:, ::-1] + 0.5) * size + box[:2]
    return _Drawn(grid, cells, box[:2], size)


def _between(one: Floats, other: Floats) -> tuple[float, float, float]:
    return _area(common_part(one, other)) if len(other) else 0.0, _area(one), _area(other)


def _area(ring: Floats) -> float:
    return abs(signed_area(ring)) if len(ring) else 0.0


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
    return tuple(ring * pixel + corner for ring in mask_to_outline(mask.reshape(down, across), STAIRS))
