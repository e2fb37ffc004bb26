"""Masks to outlines and back, and outlines of fewer points. Pure.

(0, 0) is the corner of the first pixel: pixel (i, j) covers x from i to i + 1, and is inside an outline if its centre
is. cv2 is imported in functions: light programs have none.
"""

import numpy as np
from numpy.typing import NDArray

from shared.geometry import Floats, Ints, Outline
from shared.rings import signed_area

_CRUMB = 0.01  # of the area of the greatest ring
_LOSS = 0.05  # of an area: what simplifying may cost it
_CORNERS = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])  # of a pixel, clockwise
_ENTRY = np.array([[2, 3, 3], [2, 0, 0], [1, 1, 0]])
_EXIT = np.array([[0, 0, 1], [3, 0, 1], [3, 2, 2]])
"""[dy + 1, dx + 1] of the step to a pixel, or from it on the way round → corner where the border comes or goes."""


def mask_to_outline(mask: NDArray[np.uint8] | NDArray[np.bool_], tolerance: float = 0.0) -> Outline:
    """(H, W) mask → rings along the borders of its pixels other than 0: parts clockwise, holes the other way round.

    Exact for a tolerance of 0. With more, rings run through the middles of the pixels' sides, which is still exact, and
    leave points out as long as they stay within that many pixels of them: 0.75 takes the stairs away.
    """
    import cv2

    chains, _ = cv2.findContours(np.ascontiguousarray(mask, dtype=np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    if not chains:
        return ()
    # OpenCV says the pixels along a border, anticlockwise. Of each pixel the border takes the corners from the one by
    # which it comes to the one by which it goes.
    pixels = np.concatenate(chains)[::-1, 0]
    lengths = np.array([len(chain) for chain in chains])[::-1]
    ends = np.cumsum(lengths)
    following = np.arange(1, len(pixels) + 1)
    following[ends - 1] = ends - lengths
    gone = pixels[following] - pixels
    come = np.empty_like(gone)
    come[following] = gone
    entry = _ENTRY[come[:, 1] + 1, come[:, 0] + 1]
    taken = (_EXIT[gone[:, 1] + 1, gone[:, 0] + 1] - entry) % 4
    turned = (gone == -come).all(axis=1) & ((gone[:, 0] == 0) == (gone[:, 1] == 0))  # a tip, touched by one corner
    taken[turned] = 4
    which = np.repeat(np.arange(len(pixels)), taken)
    upto = np.cumsum(taken)
    corners = pixels[which] + _CORNERS[(entry[which] + np.arange(len(which)) - (upto - taken)[which]) % 4]
    rings = np.split(corners, upto[ends[:-1] - 1])
    return tuple(_fewer_points(ring, tolerance) for ring in rings)


def _fewer_points(corners: NDArray[np.int32], tolerance: float) -> Floats:
    """(K, 2) all corners of pixels along a ring → those where it turns, or fewer."""
    step = np.roll(corners, -1, axis=0) - corners
    if tolerance > 0:
        ring = douglas_peucker(corners + step / 2, tolerance)
        if len(ring) >= 3:
            return ring
    turns = (step != np.roll(step, 1, axis=0)).any(axis=1)
    exact: Floats = corners[turns].astype(np.float64)
    return exact


def douglas_peucker(ring: Floats, tolerance: float) -> Floats:
    """(K, 2) → the fewest of its points such that none of the others is further than `tolerance` from the new ring."""
    import cv2

    fewer: Floats = cv2.approxPolyDP(ring.astype(np.float32)[:, None], tolerance, True)[:, 0].astype(np.float64)
    return fewer


def simplify(outline: Outline) -> Outline:
    """As many points as an annotator would set, without crumbs: rings of less than a hundredth of the greatest one.

    A point may move the area beside it by a twentieth of area / perimeter, so that what is lost or gained is at most a
    tenth of the area and as a rule a hundredth, of whatever size and form the thing is.
    """
    areas = [abs(signed_area(ring)) for ring in outline]
    least = _CRUMB * max(areas, default=0.0)
    return tuple(
        _simple_ring(ring, area) for ring, area in zip(outline, areas, strict=True) if area > 0 and area >= least
    )


def _simple_ring(ring: Floats, area: float) -> Floats:
    perimeter = np.hypot(*(np.roll(ring, -1, axis=0) - ring).T).sum()
    fewer = douglas_peucker(ring, _LOSS * area / perimeter)
    return fewer if len(fewer) >= 3 else ring


def outline_to_runs(outline: Outline, width: int, height: int) -> tuple[Ints, Ints]:
    """Pixels inside, as (R,) first indices and (R,) indices behind the last one of runs; index = y * width + x.

    Runs are in order and do not touch. Exact, by where the middle lines of the rows of pixels cross the rings.
    """
    start = np.concatenate([*outline, np.zeros((0, 2))])
    end = np.concatenate([*(np.roll(ring, -1, axis=0) for ring in outline), np.zeros((0, 2))])
    upper, lower = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(upper - 0.5), 0, height).astype(np.int64)
    rows = np.clip(np.ceil(lower - 0.5), 0, height).astype(np.int64) - first
    edge = np.repeat(np.arange(len(start)), rows)
    row = first[edge] + np.arange(len(edge)) - (np.cumsum(rows) - rows)[edge]
    slope = np.zeros(len(start))
    np.divide(end[:, 0] - start[:, 0], end[:, 1] - start[:, 1], out=slope, where=rows > 0)
    x = start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope[edge]
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    row, column = np.divmod(np.sort(row * (width + 1) + column), width + 1)
    index = row * width + column
    begin, behind = index[0::2], index[1::2]
    some = begin < behind
    begin, behind = begin[some], behind[some]
    apart = begin[1:] != behind[:-1]
    return begin[np.append(True, apart)[: len(begin)]], behind[np.append(apart, True)[: len(behind)]]
