"""Closed rings of points, each (K, 2) pixels: area, parts and holes, joining, clipping, fitting. Pure."""

from collections.abc import Sequence

import numpy as np

from shared.geometry.detections import FAR, Floats, Outline

_MIN_AREA = 1e-6  # square pixels
_COMPARED = 500  # points of a ring, where it has more, for the shortest bridge


def following(ring: Floats) -> Floats:
    """(K, 2) for each point the next one."""
    return np.concatenate([ring[1:], ring[:1]])


def signed_area(ring: Floats) -> float:
    """Square pixels of a (K, 2) ring that does not cross itself; more than 0 if it runs clockwise on the screen."""
    x, y = ring.T
    return float(x[:-1] @ y[1:] - y[:-1] @ x[1:] + x[-1] * y[0] - y[-1] * x[0]) / 2


def parts_of(outline: Outline) -> list[Outline]:
    """One outline a part: the ring around it, clockwise, and those of its holes, anticlockwise."""
    rings = sorted(outline, key=lambda ring: -abs(signed_area(ring)))
    parts: list[list[Floats]] = []
    part_of: list[int] = []  # of each ring so far
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
    """Whether a ring lies in a greater one that does not cross it; corners may touch."""
    import cv2

    contour = other.astype(np.float32)[:, None]
    for point in ((ring + following(ring)) / 2).tolist():
        side = cv2.pointPolygonTest(contour, point, False)
        if side:
            return bool(side > 0)
    return False


def join_rings(outline: Sequence[Floats]) -> Floats:
    """One (K, 2) ring of them all: bridges of no width lead from each to a near point of those before, and back.

    By the even-odd rule the same is inside; as `parts_of` turns the rings, by the non-zero rule too.
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
    """What of an outline is inside the image; rings without area, or with points that no image has, are left out.

    Sutherland and Hodgman's algorithm.
    """
    clipped = []
    for ring in outline:
        least, most = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
        if not all(abs(number) < FAR for number in least + most):
            continue
        for axis, size in ((0, width), (1, height)):
            ring = _cut(ring, axis, 0.0, 1.0) if least[axis] < 0 else ring
            ring = _cut(ring, axis, size, -1.0) if most[axis] > size else ring
        if len(ring) >= 3 and signed_area(ring):
            clipped.append(ring)
    return tuple(clipped)


def _cut(ring: Floats, axis: int, at: float, sign: float) -> Floats:
    """What of a ring lies on one side of a vertical or horizontal line."""
    depth = (ring[:, axis] - at) * sign
    inside = depth >= 0
    goes = np.flatnonzero(inside != np.concatenate([inside[1:], inside[:1]]))
    comes = (goes + 1) % len(ring)
    share = depth[goes] / (depth[goes] - depth[comes])
    crossing = ring[goes] + (ring[comes] - ring[goes]) * share[:, None]
    crossing[:, axis] = at
    kept = np.flatnonzero(inside)
    order = np.argsort(np.concatenate([kept, goes + 0.5]))
    cut: Floats = np.concatenate([ring[kept], crossing])[order]
    return cut


def outline_to_ellipse(outline: Outline) -> Floats:
    """(5,) centre x, y, width, height, radians clockwise of the ellipse with the same moments as the greatest ring.

    Holes and other parts do not count; without area it is all NaN. Along a half axis a of an ellipse the variance is
    a² / 4.
    """
    import cv2

    ring = max(outline, key=lambda one: abs(signed_area(one)))
    corner = ring.min(axis=0)  # float32 loses digits far from 0
    moments = cv2.moments((ring - corner).astype(np.float32)[:, None])
    area = moments["m00"]
    if area < _MIN_AREA:
        return np.full(5, np.nan)
    covariance = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / area
    variances, axes = np.linalg.eigh(covariance)
    across, along = 4 * np.sqrt(np.maximum(variances, 0.0))
    angle = np.arctan2(axes[1, 1], axes[0, 1])
    return np.array([corner[0] + moments["m10"] / area, corner[1] + moments["m01"] / area, along, across, angle])
