"""What a network found in the tiles of a picture, and in the whole of it → the objects of the picture. Pure.

Two views overlap in the part of the picture that both saw. Objects of the two are compared in that part only: the half
of an object at the edge of a tile with the same half of the whole object, not with all of it. Objects of the same view
are never joined, because the network has told them apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Detections, Floats, Ints, clip_xyxy, envelope, xywhr_to_corners
from shared.geometry.seams import Shapes, joined, moved
from shared.geometry.suppression import suppress_classes

_ALIKE = 0.5
"""Overlap over the smaller of two objects, where both views looked, from which they may be one."""
_LARGER = 4.0
"""Times that the larger of them may have the area of the smaller: a box of many is not the box of each."""
_SURE = 0.05
"""Confidence from which shapes are compared, and not the boxes around them: that takes time."""
_CLEAR = 0.7
"""Overlap (IoU) of boxes from which outlines need not be compared. Those of slanted halves differ."""
_INSIDE = 0.6
"""Part of a half at an edge that lies in another view's object from which it is a piece of that."""
_NEAR, _NEAR_PART = 3.0, 0.05
"""Pixels of what the network saw, and part of the object's side, within which an object touches an edge: one that ends
so near may go on behind it."""
_TRIED = 10
"""Times the limit of a picture's objects: so many, the most confident, are compared with one another."""
_ROWS = 256  # of a table of all pairs at once


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a network found where it looked."""

    place: tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels of the picture
    found: Detections  # in pixels of this place
    pixel: float  # pixels of the picture that one pixel of what the network saw stands for


class _Table(NamedTuple):
    """All N objects of V views, those of a view one after the other."""

    every: Detections  # in pixels of the picture
    view: Ints  # (N,) which one
    begins: Ints  # (V + 1,) the first object of each view
    places: Floats  # (V, 4)
    pixels: Floats  # (V,) as in View
    whole: NDArray[np.bool_]  # (V,) whether it is of the whole picture
    cut: NDArray[np.bool_]  # (N,) whether an object touches an edge of its view that is none of the picture
    shapes: Shapes


def merged(views: Sequence[View], width: int, height: int, *, iou: float, most: int) -> Detections:
    """The objects of a picture, most confident first, each once: at most `most`, none cut in two.

    `views`: all of one network, at least one; one of the whole picture is among them as a rule. Half an object yields
    to the whole one, or is joined with its other half. `iou`: of objects of a class that overlap more, one remains.
    """
    table = _table(views, width, height)
    rows: list[int] = []
    scores: list[float] = []
    made: list[Detections] = []
    for group in _groups(len(table.every), table.view, _pairs(table)):
        best, score = (group, float(table.every.scores[group[0]])) if len(group) == 1 else _best(table, group)
        if len(best) == 1:
            rows += best
            scores.append(score)
        else:
            pixel = float(table.pixels[table.view[best]].max())
            made.append(replace(joined(table.every.only(np.array(best)), pixel), scores=np.array([score])))
    chosen = np.array(rows, dtype=np.int64)
    objects = _together([replace(table.every.only(chosen), scores=np.array(scores, dtype=np.float64)), *made])
    views_of = np.concatenate([table.view[chosen], np.full(len(made), -1)])
    cut = np.concatenate([table.cut[chosen], np.zeros(len(made), dtype=np.bool_)])
    order = np.argsort(-objects.scores, kind="stable")[: _TRIED * most]
    objects = objects.only(order)
    remain = ~_pieces(objects, views_of[order], cut[order])
    objects = objects.only(remain)
    boxes = objects.xyxy
    if objects.rotated is not None:  # upright ones end at the border of the picture, not of a tile
        boxes, around = objects.rotated, envelope(xywhr_to_corners(objects.rotated))
        objects = replace(objects, xyxy=clip_xyxy(around, width, height))
    alone = suppress_classes(boxes, objects.scores, objects.classes, iou)
    return objects.only(np.flatnonzero(alone)[:most])


def _table(views: Sequence[View], width: int, height: int) -> _Table:
    every = _together([moved(each.found, each.place[:2], width, height) for each in views])
    counts = [len(each.found) for each in views]
    view = np.repeat(np.arange(len(views)), counts)
    places = np.array([each.place for each in views], dtype=np.float64)
    pixels = np.array([each.pixel for each in views], dtype=np.float64)
    inner = places != np.array([0.0, 0.0, width, height])
    sides = np.tile(every.xyxy[:, 2:] - every.xyxy[:, :2], 2)
    near = np.abs(every.xyxy - places[view]) <= _NEAR * pixels[view, None] + _NEAR_PART * sides
    begins = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    cut = (near & inner[view]).any(axis=1)
    return _Table(every, view, begins, places, pixels, ~inner.any(axis=1), cut, Shapes(every))


def _together(parts: Sequence[Detections]) -> Detections:
    """The objects of several, in one. Those without any may lack fields of the others."""
    parts = [each for each in parts if len(each)] or parts[:1]
    first = parts[0]
    rows = {
        name: np.concatenate([getattr(each, name) for each in parts])
        for name in ("xyxy", "scores", "classes", "rotated", "keypoints")
        if getattr(first, name) is not None
    }
    outlines = None if first.outlines is None else tuple(one for each in parts for one in each.outlines or ())
    return replace(first, outlines=outlines, **rows)


def _pairs(table: _Table) -> list[tuple[int, int]]:
    """Objects of different views that may be one, the likeliest first: the most alike, and the most confident."""
    pairs: list[Ints] = [np.zeros((0, 2), dtype=np.int64)]
    likeness: list[Floats] = [np.zeros(0)]
    order = np.argsort(
        table.places[:, 1], kind="stable"
    )  # from the top on: only those that begin above its end meet it
    tops = table.places[order, 1]
    for number, one in enumerate(order.tolist()):
        place = table.places[one]
        near = order[number + 1 : np.searchsorted(tops, place[3])]
        others = table.places[near]
        common = np.hstack([np.maximum(place[:2], others[:, :2]), np.minimum(place[2:], others[:, 2:])])
        for offset in np.flatnonzero((common[:, 2:] > common[:, :2]).all(axis=1)).tolist():
            mine, its = (_within(table, view, common[offset]) for view in (one, int(near[offset])))
            if len(mine) and len(its):
                first, second, alike = _alike(table, mine, its, common[offset])
                pairs.append(np.stack([first, second], axis=1))
                likeness.append(alike * np.minimum(table.every.scores[first], table.every.scores[second]))
    likeliest = np.argsort(-np.concatenate(likeness), kind="stable")
    return [(first, second) for first, second in np.concatenate(pairs)[likeliest].tolist()]


def _alike(table: _Table, mine: Ints, its: Ints, common: Floats) -> tuple[Ints, Ints, Floats]:
    """Objects of two views that may be the same, and how alike they are (IoU), by what of them is in `common`."""
    every, rows = table.every, (mine, its)
    low, high = np.tile(common[:2], 2), np.tile(common[2:], 2)
    boxes = [np.clip(every.xyxy[each], low, high) for each in rows]
    corner = np.maximum(boxes[0][:, None, :2], boxes[1][None, :, :2])
    size = np.clip(np.minimum(boxes[0][:, None, 2:], boxes[1][None, :, 2:]) - corner, 0.0, None)
    at = np.nonzero(size.prod(axis=2) * (every.classes[rows[0]][:, None] == every.classes[rows[1]]))
    first, second = rows[0][at[0]], rows[1][at[1]]
    sizes = [each[:, 2:] - each[:, :2] for each in boxes]
    areas = np.stack([size[at].prod(axis=1), sizes[0][at[0]].prod(axis=1), sizes[1][at[1]].prod(axis=1)], axis=1)
    unclear = np.minimum(every.scores[first], every.scores[second]) >= _SURE
    if every.outlines is not None:
        unclear &= table.cut[first] | table.cut[second]
        unclear &= areas[:, 0] < _CLEAR * (areas[:, 1] + areas[:, 2] - areas[:, 0])
    finer = table.shapes.common_areas(first, second, unclear, common)
    shared, area, its_area = np.where(np.isnan(finer), areas, finer).T
    smaller, larger = np.minimum(area, its_area), np.maximum(area, its_area)
    same = (shared > 0) & (shared >= _ALIKE * smaller) & (larger <= _LARGER * smaller)
    return first[same], second[same], (shared[same] / (area + its_area - shared)[same])


def _within(table: _Table, view: int, common: Floats) -> Ints:
    """The objects of a view that have a part in `common`."""
    begin, end = table.begins[view], table.begins[view + 1]
    boxes = table.every.xyxy[begin:end]
    inside: Ints = begin + np.flatnonzero(
        (np.minimum(boxes[:, 2:], common[2:]) > np.maximum(boxes[:, :2], common[:2])).all(axis=1)
    )
    return inside


def _groups(count: int, view: Ints, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Each of `count` objects once, with those of other views that are the same: at most one of a view."""
    group_of: list[list[int]] = [[row] for row in range(count)]
    views = [{number} for number in view.tolist()]  # by the first object of a group
    for first, second in pairs:
        one, other = group_of[first], group_of[second]
        if one is other or not views[one[0]].isdisjoint(views[other[0]]):
            continue
        views[one[0]] |= views[other[0]]
        one += other
        for row in other:
            group_of[row] = one
    return [group for row, group in enumerate(group_of) if group[0] == row]


def _best(table: _Table, group: list[int]) -> tuple[list[int], float]:
    """The object of a view that stands for a group, or the pieces that are to be joined; and the group's score.

    A tile's whole object, since tiles see more of it. Else its pieces, if they reach as far as the whole picture's
    object, as far as that can be told; they see more of it, too. Of outlined objects only those with an outline count.
    """
    outlines, scores = table.every.outlines, table.every.scores
    if outlines is not None and any(outlines[row] for row in group):
        group = [row for row in group if outlines[row]]
    score = float(scores[group].max())
    of_picture = [row for row in group if table.whole[table.view[row]]]
    if uncut := [row for row in group if not table.cut[row] and row not in of_picture]:
        return [max(uncut, key=scores.__getitem__)], score
    pieces = [row for row in group if row not in of_picture]
    if of_picture and not (pieces and _reach(table, pieces, of_picture[0])):
        return of_picture, score
    return pieces, score


def _reach(table: _Table, pieces: Sequence[int], of_picture: int) -> bool:
    boxes = table.every.xyxy[np.array(pieces)]
    around = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    away = np.abs(around - table.every.xyxy[of_picture])
    return bool((away <= _NEAR * table.pixels[table.view[of_picture]]).all())


def _pieces(objects: Detections, view: Ints, cut: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which are left over of others: cut, and inside an object that another view has seen whole."""
    left_over = np.zeros(len(objects), dtype=np.bool_)
    halves, others = np.flatnonzero(cut), np.flatnonzero(~cut)
    boxes = objects.xyxy[others]
    for begin in range(0, len(halves), _ROWS):
        rows = halves[begin : begin + _ROWS]
        its = objects.xyxy[rows]
        corner = np.maximum(its[:, None, :2], boxes[None, :, :2])
        size = np.clip(np.minimum(its[:, None, 2:], boxes[None, :, 2:]) - corner, 0.0, None)
        inside = size.prod(axis=2) >= _INSIDE * (its[:, 2:] - its[:, :2]).prod(axis=1)[:, None]
        inside &= (objects.classes[rows][:, None] == objects.classes[others]) & (view[rows][:, None] != view[others])
        left_over[rows] = inside.any(axis=1)
    return left_over
