"""Conversion of masks to outlines and back, and simplification of outlines. Pure.

(0, 0) is the corner of the first pixel: pixel (i, j) covers x from i to i + 1, and is inside an outline if its centre
is. cv2 is imported in functions, since light installations do not have it.
"""

from collections.abc import Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Floats, Ints, Outline
from shared.geometry.rings import MIN_AREA, following, signed_area

Mask = NDArray[np.uint8] | NDArray[np.bool_]

STAIRS = 0.75
"""Pixels that an outline may be away from the border of its mask, so that it has none of its stairs."""
_CRUMB = 0.01  # part of the largest ring's area; smaller rings are dropped
_RINGS = 100  # kept by `simplify`
_LOSS = 0.08  # part of a ring's area that simplifying may cost on either side of the ring
_CORNER = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
"""Corners of a pixel, clockwise; side k leads from corner k to the next one."""
_MIDDLE = _CORNER + np.array([(1, 0), (0, 1), (-1, 0), (0, -1)]) / 2
"""Midpoints of these sides."""
_ENTRY = np.array([2, 3, 3, 2, 0, 0, 1, 1, 0])
_EXIT = np.array([0, 0, 1, 3, 0, 1, 3, 2, 2])
"""Step between pixels along an object's border, as 4 + dx + 3 · dy → corner where the border enters, or leaves."""
_SIDES = (_EXIT - _ENTRY[:, None]) % 4
_SIDES[(0, 2, 4, 6, 8), (8, 6, 4, 2, 0)] = 4
"""[step to a pixel, step from it] → number of its sides on the border; 4 for a pixel alone, or held by one corner."""


def mask_to_outline(mask: Mask, tolerance: float = 0.0) -> Outline:
    """`masks_to_outlines` of one mask."""
    return masks_to_outlines([mask], tolerance)[0]


def masks_to_outlines(masks: Sequence[Mask], tolerance: float = 0.0) -> list[Outline]:
    """(H, W) masks → rings along the borders of the pixels other than 0: parts clockwise, holes anticlockwise.

    With a tolerance of 0 rings follow the pixels' sides. With more, they go through the midpoints of the sides, which
    covers the same pixel centres, and points within `tolerance` pixels of the ring are dropped (see `STAIRS`).
    """
    import cv2

    found = [
        cv2.findContours(np.ascontiguousarray(mask, dtype=np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
        for mask in masks
    ]
    chains = [chain[::-1, 0] for of_mask in found for chain in of_mask]
    rings = iter(_rings(chains, tolerance) if chains else ())
    return [tuple(islice(rings, len(of_mask))) for of_mask in found]


def _rings(chains: Sequence[NDArray[Any]], tolerance: float) -> list[Floats]:
    """Rings from the pixels along borders, clockwise. A pixel adds its sides, from where the border enters it."""
    pixels = np.concatenate(chains)
    ends = np.cumsum([len(chain) for chain in chains])
    gone = 4 + (_in_turn(pixels, ends, 1) - pixels) @ (1, 3)
    come = _in_turn(gone, ends, -1)
    sides = _SIDES[come, gone]
    upto = np.cumsum(sides)
    which = np.repeat(np.arange(len(pixels)), sides)
    side = (np.arange(len(which)) + (_ENTRY[come] + sides - upto)[which]) & 3
    ends = upto[ends - 1]
    kept = side != _in_turn(side, ends, -1)
    if tolerance > 0:
        kept |= _in_turn(kept, ends, 1)
    points = pixels[which[kept]] + (_MIDDLE if tolerance > 0 else _CORNER)[side[kept]]
    rings = np.split(points.astype(np.float64), np.cumsum(kept)[ends[:-1] - 1])
    return [_fewer_points(ring, tolerance) for ring in rings] if tolerance > 0 else rings


def _in_turn(rows: NDArray[Any], ends: Ints, by: int) -> NDArray[Any]:
    """For each row of concatenated rings the next row of its ring (`by` 1), or the previous one (-1)."""
    begins = np.concatenate([[0], ends[:-1]])
    turned = np.empty_like(rows)
    if by > 0:
        turned[:-1] = rows[1:]
        turned[ends - 1] = rows[begins]
    else:
        turned[1:] = rows[:-1]
        turned[begins] = rows[ends - 1]
    return turned


def _fewer_points(ring: Floats, tolerance: float) -> Floats:
    fewer = douglas_peucker(ring, tolerance)
    return fewer if len(fewer) >= 3 else ring


def douglas_peucker(ring: Floats, tolerance: float) -> Floats:
    """(K, 2) → (k, 2): fewer points, such that no dropped one is further than `tolerance` pixels from the new ring."""
    import cv2

    fewer: Floats = cv2.approxPolyDP(ring.astype(np.float32)[:, None], tolerance, True)[:, 0].astype(np.float64)
    return fewer


def simplify(outline: Outline) -> Outline:
    """An outline with about as many points as an annotator would set. Rings under 1 % of the largest one's area go.

    A dropped point is at most 8 % of area / perimeter from the new ring. So at most 16 % of the area, as a rule 2 %, is
    lost or gained, for objects of any size. The largest rings come first, at most 100: a mask of noise has thousands.
    """
    areas = sorted(((abs(signed_area(ring)), place) for place, ring in enumerate(outline)), reverse=True)[:_RINGS]
    min_area = _CRUMB * areas[0][0] if areas else 0.0
    return tuple(_simple_ring(outline[place], area) for area, place in areas if area >= max(MIN_AREA, min_area))


def _simple_ring(ring: Floats, area: float) -> Floats:
    perimeter = np.hypot(*(following(ring) - ring).T).sum()
    return _fewer_points(ring, _LOSS * area / perimeter)


def outline_to_runs(outline: Outline, width: int, height: int) -> tuple[Ints, Ints]:
    """`outlines_to_runs` of one outline."""
    return outlines_to_runs([outline], width, height)[0]


def outlines_to_runs(outlines: Sequence[Outline], width: int, height: int) -> list[tuple[Ints, Ints]]:
    """Runs of the pixels inside each outline: (R,) first indices, and (R,) ends (exclusive); index = y * width + x.

    Runs are ascending and do not touch. Exact: computed from where the rings cross the centre line of each pixel row.
    """
    rings = [ring for outline in outlines for ring in outline]
    points = [sum(map(len, outline)) for outline in outlines]
    start = np.concatenate([*rings, np.zeros((0, 2))])
    end = np.concatenate([*map(following, rings), np.zeros((0, 2))])
    # From the upper end, so that an edge and its reverse cross a row at exactly the same position.
    falls = (start[:, 1] < end[:, 1])[:, None]
    upper, lower = np.where(falls, start, end), np.where(falls, end, start)
    first = _centres_before(upper[:, 1], height)
    rows = _centres_before(lower[:, 1], height) - first
    edge = np.repeat(np.arange(len(start)), rows)
    row = first[edge] + np.arange(len(edge)) - (np.cumsum(rows) - rows)[edge]
    across, down = (lower - upper).T
    slope = np.divide(across, down, out=np.zeros(len(start)), where=rows > 0)
    x = upper[edge, 0] + (row + 0.5 - upper[edge, 1]) * slope[edge]
    sheet = np.repeat(np.arange(len(outlines)), points)[edge]  # each outline has an image of its own
    place = (sheet * height + row) * (width + 1) + _centres_before(x, width)
    place.sort()
    index = place - place // (width + 1)  # row · width + column
    begin, end = index[0::2], index[1::2]
    some = begin < end
    begin, end = begin[some], end[some]
    apart = (begin[1:] != end[:-1]) | (begin[1:] % (width * height) == 0)
    begin = begin[np.concatenate([begin[:1] >= 0, apart])]
    end = end[np.concatenate([apart, end[:1] >= 0])]
    borders = np.searchsorted(begin, np.arange(len(outlines) + 1) * (width * height))
    return [
        (begin[first:last] - number * width * height, end[first:last] - number * width * height)
        for number, (first, last) in enumerate(pairwise(borders.tolist()))
    ]


def _centres_before(at: Floats, count: int) -> Ints:
    """How many pixel centres, of `count` in a row, are left of (or above) each position."""
    before: Ints = np.minimum(np.maximum(np.ceil(at - 0.5), 0.0), count).astype(np.int64)
    return before
