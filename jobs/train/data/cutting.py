"""What is annotated in each tile of a picture, and which tiles are learnt from (docs/tiles.md). Pure.

An object is one of a tile that shows at least 40 % of it, as sliced fine-tuning does it (SAHI, arXiv 2202.06934). Of
another one a tile shows a piece at its border, without a label: predict, too, is to answer the whole object in the
neighbour and no pieces here. A tile that such pieces fill would teach that the inside of a large object is nothing.
"""

from dataclasses import dataclass, replace

import numpy as np

from shared.geometry.detections import Detections, Floats, Ints, Outline, clip_xyxy, xywhr_to_corners
from shared.geometry.rings import clip_outline, parts_of, signed_area

SHOWN = 0.4
"""Least part of an object's area in a tile."""
_PIECES = 0.25
"""A tile is not learnt from if pieces of objects without a label cover more of it."""
_EMPTY = 0.5
"""Tiles without an object, for each one with objects; of a picture, at least `_EMPTY_TILES`."""
_EMPTY_TILES = 2


@dataclass(frozen=True, slots=True)
class Cut:
    """A tile of a picture that is learnt from."""

    window: tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the picture
    found: Detections  # in pixels of the tile


def cuts(found: Detections, windows: Ints) -> list[Cut]:
    """The tiles of a picture to learn from: all with objects, and evenly some of those without.

    `found`: what is annotated in the picture. `windows`: (N, 4) x1, y1, x2, y2 in its pixels.
    """
    filled, empty = list[int](), list[int]()
    made = dict[int, Cut]()
    for number, window in enumerate(windows.tolist()):
        inside, pieces = objects_in(found, (window[0], window[1], window[2], window[3]))
        if pieces <= _PIECES:
            made[number] = Cut((window[0], window[1], window[2], window[3]), inside)
            (filled if len(inside) else empty).append(number)
    most = max(round(_EMPTY * len(filled)), _EMPTY_TILES)
    step = max(len(empty) / most, 1.0)
    some = [empty[int((place + 0.5) * step)] for place in range(min(most, len(empty)))]
    return [made[number] for number in sorted(filled + some)]


def objects_in(found: Detections, window: tuple[int, int, int, int]) -> tuple[Detections, float]:
    """(the objects of which a window shows enough, in its pixels; part of it, 0–1, that pieces of others cover).

    Boxes are clipped, and points outside are missing. What is drawn otherwise is only moved: the writers of label files
    clip it, as at the border of a picture.
    """
    x1, y1, x2, y2 = window
    width, height = x2 - x1, y2 - y1
    corner = np.array([x1, y1], dtype=np.float64)
    clipped = clip_xyxy(found.xyxy - np.tile(corner, 2), width, height)
    areas = _areas(clipped)
    touched = np.flatnonzero(areas > 0)
    near = _moved(found.only(touched), corner, clipped[touched], width, height)
    shares = _shares(near, _areas(found.xyxy[touched]))
    enough = shares >= SHOWN
    pieces = float(areas[touched][~enough].sum()) / (width * height)
    return near.only(enough), pieces


def _moved(found: Detections, corner: Floats, xyxy: Floats, width: int, height: int) -> Detections:
    rotated, outlines, keypoints = found.rotated, found.outlines, found.keypoints
    if rotated is not None:
        rotated = np.hstack([rotated[:, :2] - corner, rotated[:, 2:]])
    if outlines is not None:
        outlines = tuple(tuple(ring - corner for ring in outline) for outline in outlines)
    if keypoints is not None:
        keypoints = keypoints - np.array([*corner, 0.0])
        at, size = keypoints[..., :2], np.array([width, height])
        keypoints[(keypoints[..., 2] <= 0) | ((at < 0) | (at > size)).any(axis=-1)] = 0.0
    return replace(
        found, width=width, height=height, xyxy=xyxy, rotated=rotated, outlines=outlines, keypoints=keypoints
    )


def _shares(near: Detections, areas: Floats) -> Floats:
    """(N,) part of each object that is inside, by the shape that is drawn. `areas`: of the whole boxes."""
    shares: Floats = _areas(near.xyxy) / np.maximum(areas, 1e-9)
    outlines = near.outlines
    if outlines is None and near.rotated is not None:
        outlines = tuple((ring,) for ring in xywhr_to_corners(near.rotated))
    if outlines is not None:
        for number in np.flatnonzero(shares < 1 - 1e-9).tolist():
            shares[number] = _outline_share(outlines[number], near.width, near.height)
    return shares


def _outline_share(outline: Outline, width: int, height: int) -> float:
    rings = [ring for part in parts_of(outline) for ring in part]  # holes turn the other way, so their area counts less
    whole = sum(signed_area(ring) for ring in rings)
    inside = sum(signed_area(ring) for ring in clip_outline(tuple(rings), width, height))
    return inside / whole if whole > 0 else 0.0


def _areas(xyxy: Floats) -> Floats:
    areas: Floats = np.prod(np.maximum(xyxy[:, 2:] - xyxy[:, :2], 0.0), axis=1)
    return areas
