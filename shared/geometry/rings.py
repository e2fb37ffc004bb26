"""Closed rings of points, (K, 2) in pixels: area, parts and holes, joining, clipping, fitting. Pure."""

from collections.abc import Sequence

import numpy as np

from shared.geometry.detections import FAR, Floats, Ints, Outline

MIN_AREA = 1e-6
"""Square pixels. The area of three points in a row is not exactly 0: processors round in their own ways."""

_COMPARED = 500  # at most so many points of a ring are compared for the shortest bridge


def following(ring: Floats) -> Floats:
    """(K, 2): for each point the next one."""
    return np.concatenate([ring[1:], ring[:1]])


def signed_area(ring: Floats) -> float:
    """Area in square pixels of a (K, 2) ring that does not cross itself; positive if clockwise on the screen."""
    x, y = ring.T
    return float(x[:-1] @ y[1:] - y[:-1] @ x[1:] + x[-1] * y[0] - y[-1] * x[0]) / 2


def parts_of(outline: Outline) -> list[Outline]:
    """One outline for each part: its outer ring, clockwise, then the rings of its holes, anticlockwise."""
    rings = sorted(outline, key=lambda ring: -abs(signed_area(ring)))
    parts: list[list[Floats]] = []
    part_of: list[int] = []  # for each ring so far the index of its part
    for ring in rings:
        around = [place for place in range(len(part_of)) if _is_inside(ring, rings[place])]
        hole = len(around) % 2 == 1
        turned = ring if (signed_area(ring) < 0) == hole else ring[::-1]
        if hole:
            part_of.append(part_of[around[-1]])
            parts[part_of[-1]].append(turned)
        else:
            part_of.append(len(parts))
            parts.append([turned])
    return [tuple(part) for part in parts]


def _is_inside(ring: Floats, other: Floats) -> bool:
    """Whether a ring is inside a larger one that does not cross it; corners may touch."""
    import cv2

    contour = other.astype(np.float32)[:, None]
    for point in ((ring + following(ring)) / 2).tolist():
        side = cv2.pointPolygonTest(contour, point, False)
        if side:
            return bool(side > 0)
    return False


def join_rings(outline: Sequence[Floats]) -> Floats:
    """All rings as one (K, 2) ring: a bridge of no width leads from each to a near point of those before, and back.

    The inside is the same by the even-odd rule, and, with the directions of `parts_of`, by the non-zero rule.
    """
    joined = outline[0]
    for ring in outline[1:]:
        some, others = -(-len(joined) // _COMPARED), -(-len(ring) // _COMPARED)
        distances = ((joined[::some, None] - ring[::others]) ** 2).sum(axis=2)
        here, there = np.unravel_index(distances.argmin(), distances.shape)
        here, there = here * some, there * others
        joined = np.concatenate([joined[: here + 1], ring[there:], ring[: there + 1], joined[here:]])
    return joined


def clip_outline(outline: Outline, width: int, height: int) -> Outline:
    """The part of an outline inside the image. Rings without area, or with absurd coordinates, are left out.

    Algorithm: Sutherland-Hodgman.
    """
    clipped = []
    for ring in outline:
        lowest, highest = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
        if not all(abs(number) < FAR for number in lowest + highest):
            continue
        for axis, size in ((0, width), (1, height)):
            ring = _cut(ring, axis, 0.0, 1.0) if lowest[axis] < 0 else ring
            ring = _cut(ring, axis, size, -1.0) if highest[axis] > size else ring
        if len(ring) >= 3 and abs(signed_area(ring)) >= MIN_AREA:
            clipped.append(ring)
    return tuple(clipped)


def common_part(ring: Floats, other: Floats) -> Floats:
    """(K, 2) and (L, 2) convex rings, `other` clockwise → the ring of what both have inside; (0, 2) where that is none.

    Not OpenCV's intersectConvexConvex, which may find nothing where sides lie on one another.
    """
    for start, side in zip(other, following(other) - other, strict=True):
        if len(ring):
            ahead = ring - start
            kept, crossing, order = _divided(ring, side[0] * ahead[:, 1] - side[1] * ahead[:, 0])
            ring = np.concatenate([kept, crossing])[order]
    return ring


def _cut(ring: Floats, axis: int, at: float, sign: float) -> Floats:
    """The part of a ring on one side of a vertical or horizontal line."""
    kept, crossing, order = _divided(ring, (ring[:, axis] - at) * sign)
    crossing[:, axis] = at
    cut: Floats = np.concatenate([kept, crossing])[order]
    return cut


def _divided(ring: Floats, depth: Floats) -> tuple[Floats, Floats, Ints]:
    """The points of a ring whose depth is 0 or more, where it crosses 0 between two, and the order of both together."""
    inside = depth >= 0
    goes = np.flatnonzero(inside != np.concatenate([inside[1:], inside[:1]]))
    comes = (goes + 1) % len(ring)
    fraction = depth[goes] / (depth[goes] - depth[comes])
    crossing = ring[goes] + (ring[comes] - ring[goes]) * fraction[:, None]
    kept = np.flatnonzero(inside)
    return ring[kept], crossing, np.argsort(np.concatenate([kept, goes + 0.5]))


def outline_to_ellipse(outline: Outline) -> Floats:
    """The ellipse with the moments of the largest ring: (5,) centre x, y, width, height in pixels, radians clockwise.

    Holes and other parts are ignored; NaN if the ring has no area. The variance along a half axis a is a² / 4.
    """
    import cv2

    ring = max(outline, key=lambda one: abs(signed_area(one)))
    corner = ring.min(axis=0)  # float32 loses digits far from 0
    moments = cv2.moments((ring - corner).astype(np.float32)[:, None])
    area = moments["m00"]
    if area < MIN_AREA:
        return np.full(5, np.nan)
    covariance = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / area
    variances, axes = np.linalg.eigh(covariance)
    across, along = 4 * np.sqrt(np.maximum(variances, 0.0))
    angle = np.arctan2(axes[1, 1], axes[0, 1])
    return np.array([corner[0] + moments["m10"] / area, corner[1] + moments["m01"] / area, along, across, angle])
