"""Which of a model's candidates a click, or a rough box, of an annotator means. Pure.

A candidate is an object that the model finds from a confidence on at which nothing is shown to anybody: where an
annotator says that there is an object, it need not be sure.
"""

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Detections, Floats, xywhr_to_corners
from shared.geometry.rings import signed_area
from shared.geometry.suppression import rotated_iou, suppress

FROM = 0.02
"""Confidence of a candidate, at least."""
MOST = 300
"""How many candidates of a picture are kept, the most confident."""
_SAME = 0.7  # candidates that overlap more are one, whatever their classes
_MIDDLE = 0.25
"""How far from its middle, as a part of the way to its edge, a click surely means a candidate. docs/small-data.md has
the experiment: the smallest that holds the click drew half as many objects."""
_DRAWN = 0.5  # a candidate that overlaps a drawn region so much is drawn
_MEANT = 0.4  # a rough box and the object that it means overlap at least so much

Points = NDArray[np.float64]
"""(K, 2) pixels of the picture, in the order in which they were clicked."""


def without_copies(candidates: Detections) -> Detections:
    """The candidates without copies: of those that are the same object, of any class, the most confident one."""
    surest = candidates.only(np.argsort(-candidates.scores, kind="stable")[:MOST])
    return surest.only(suppress(surest.xyxy, surest.scores, _SAME, surest.rotated))


def clicked(candidates: Detections, points: Points, positive: NDArray[np.bool_], drawn: Floats) -> int | None:
    """The index of the candidate that is meant by clicks; None if there is none.

    `positive`: (K,) whether a point is inside the object. `drawn`: (M, 4) xyxy in pixels of what is annotated already.

    It holds the last positive point and is not drawn yet: the smallest one with the point about its middle, so that
    what is inside another one can be clicked, too; if there is none, the one with its middle nearest. Each negative
    point after that means: not this one, the next, rather one that does not hold it. Points before the last positive
    one may be of another object, since Label Studio sends those of objects just accepted, too.
    """
    if not positive.any():
        return None
    last = int(np.flatnonzero(positive)[-1])
    which = np.flatnonzero(holding(candidates, points[last]) & ~_overlapping(candidates.xyxy, drawn, _DRAWN))
    off = off_middle(candidates, points[last])[which]
    which = which[np.lexsort((areas(candidates)[which], np.where(off <= _MIDDLE, 0.0, off)))]
    for number in np.flatnonzero(~positive):
        if number > last and len(which):
            refused, which = which[0], which[1:]
            which = (
                which[[_iou(candidates, refused, other) <= _SAME for other in which.tolist()]] if len(which) else which
            )
        which = which[np.argsort(holding(candidates, points[number])[which], kind="stable")]
    return int(which[0]) if len(which) else None


def dragged(candidates: Detections, box: Floats) -> int | None:
    """The index of the candidate that a rough box means, (4,) xyxy in pixels; None: the box is what was meant."""
    worth = worth_of(candidates, box)
    best = int(worth.argmax()) if len(worth) else -1
    return best if best >= 0 and worth[best] > 0 else None


def worth_of(candidates: Detections, box: Floats) -> Floats:
    """(N,) how likely each is what a rough box means: confidence × overlap, 0 where that is too small.

    Not the overlap alone: of hundreds of unsure boxes one is always more like a rough box than the object itself is.
    """
    overlaps = ious(candidates.xyxy, box)
    return np.where(overlaps >= _MEANT, overlaps * candidates.scores, 0.0)


def holding(candidates: Detections, point: Floats) -> NDArray[np.bool_]:
    """(N,) which candidates a (2,) point in pixels is inside of: their mask, else their rotated box, else their box."""
    holds = in_box(candidates, point)
    if candidates.rotated is not None:
        corners = xywhr_to_corners(candidates.rotated)
        for index in np.flatnonzero(holds):
            holds[index] = _inside((corners[index],), point)
    elif candidates.outlines is not None:
        for index in np.flatnonzero(holds):
            outline = candidates.outlines[index]
            holds[index] = not outline or _inside(outline, point)
    return holds


def in_box(candidates: Detections, point: Floats) -> NDArray[np.bool_]:
    """(N,) whose upright box a (2,) point in pixels is inside of: only these can hold it."""
    xyxy = candidates.xyxy
    inside: NDArray[np.bool_] = np.all((xyxy[:, :2] <= point) & (point <= xyxy[:, 2:]), axis=1)
    return inside


def off_middle(candidates: Detections, point: Floats) -> Floats:
    """(N,) how far a (2,) point in pixels is from the middle of the rotated box, else of the box: 1 is on its edge."""
    if candidates.rotated is not None:
        middle, size, angle = candidates.rotated[:, :2], candidates.rotated[:, 2:4], candidates.rotated[:, 4]
        x, y = (point - middle).T
        away = np.stack([x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)], axis=1)
    else:
        size = candidates.xyxy[:, 2:] - candidates.xyxy[:, :2]
        away = point - (candidates.xyxy[:, :2] + candidates.xyxy[:, 2:]) / 2
    off: Floats = (2 * np.abs(away) / np.maximum(size, 1e-9)).max(axis=1, initial=0.0)
    return off


def areas(candidates: Detections) -> Floats:
    """(N,) square pixels of the mask, else of the rotated box, else of the box."""
    if candidates.rotated is not None:
        return candidates.rotated[:, 2] * candidates.rotated[:, 3]
    sizes: Floats = np.prod(candidates.xyxy[:, 2:] - candidates.xyxy[:, :2], axis=1)
    if candidates.outlines is not None:
        for index, outline in enumerate(candidates.outlines):
            if outline:  # parts are clockwise, holes anticlockwise
                sizes[index] = abs(sum(signed_area(ring) for ring in outline))
    return sizes


def _inside(rings: tuple[Floats, ...], point: Floats) -> bool:
    """Whether a point is inside an odd number of rings, or on one."""
    import cv2

    at = (float(point[0]), float(point[1]))
    sides = [cv2.pointPolygonTest(ring.astype(np.float32)[:, None], at, False) for ring in rings]
    return 0 in sides or sum(side > 0 for side in sides) % 2 == 1


def _iou(candidates: Detections, one: int, other: int) -> float:
    if candidates.rotated is not None:
        return rotated_iou(candidates.rotated[one], candidates.rotated[other])
    return float(ious(candidates.xyxy[[other]], candidates.xyxy[one])[0])


def ious(boxes: Floats, box: Floats) -> Floats:
    """(N, 4) and (4,) xyxy → (N,) intersection over union."""
    common = np.prod(np.clip(np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2]), 0, None), axis=1)
    union = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2]) - common
    overlaps: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlaps


def _overlapping(boxes: Floats, drawn: Floats, iou: float) -> NDArray[np.bool_]:
    """(N,) which boxes overlap one of (M, 4) drawn ones by at least `iou`."""
    found = np.zeros(len(boxes), dtype=np.bool_)
    for box in drawn:
        found |= ious(boxes, box) >= iou
    return found
