"""Non-maximum suppression of overlapping boxes, for predict and the gate. Pure."""

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Floats, Ints, envelope, xywhr_to_corners

# Not OpenCV's dnn.NMSBoxesBatched and NMSBoxesRotated, which do the same but for this: to the first, boxes without area
# overlap wherever they are; to the second, a box inside another one overlaps it wholly, however small it is.


def suppress(xyxy: Floats, scores: Floats, iou: float, rotated: Floats | None = None) -> NDArray[np.bool_]:
    """(N,) mask of the boxes that remain: of two that overlap by more than `iou`, the one of lower score is dropped.

    `xyxy`: (N, 4) upright boxes. With (N, 5) rotated boxes these must overlap too, since the upright boxes around two
    slim objects side by side may.
    """
    area = np.prod(xyxy[:, 2:] - xyxy[:, :2], axis=1)
    remain = np.ones(len(scores), dtype=np.bool_)
    order = np.argsort(-scores, kind="stable")
    for place, best in enumerate(order):
        if not remain[best]:
            continue
        rest = order[place + 1 :]
        corner = np.maximum(xyxy[best, :2], xyxy[rest, :2])
        size = np.clip(np.minimum(xyxy[best, 2:], xyxy[rest, 2:]) - corner, 0.0, None)
        common = size[:, 0] * size[:, 1]
        union = area[best] + area[rest] - common
        same = rest[common > iou * union]
        if rotated is not None:
            same = np.array([each for each in same if rotated_iou(rotated[best], rotated[each]) > iou], dtype=np.int64)
        remain[same] = False
    return remain


def suppress_classes(boxes: Floats, scores: Floats, classes: Ints, iou: float) -> NDArray[np.bool_]:
    """As `suppress`, among the objects of each class. `boxes`: (N, 4) xyxy or (N, 5) xywhr."""
    remain = np.ones(len(scores), dtype=np.bool_)
    rotated = boxes if boxes.shape[1:] == (5,) else None
    upright = boxes if rotated is None else envelope(xywhr_to_corners(rotated))
    for class_ in np.unique(classes):
        of_class = np.flatnonzero(classes == class_)
        turned = None if rotated is None else rotated[of_class]
        remain[of_class] = suppress(upright[of_class], scores[of_class], iou, turned)
    return remain


def rotated_iou(one: Floats, other: Floats) -> float:
    """Intersection over union of two (5,) boxes: centre x, y, width, height, radians."""
    import cv2

    first, second = (((x, y), (w, h), float(np.rad2deg(angle))) for x, y, w, h, angle in (one.tolist(), other.tolist()))
    _, corners = cv2.rotatedRectangleIntersection(first, second)
    common = 0.0 if corners is None else cv2.contourArea(cv2.convexHull(corners))
    union = float(one[2] * one[3] + other[2] * other[3]) - common
    return common / union if union > 0 else 0.0


def gaussian_overlaps(boxes: Floats, others: Floats) -> Floats:
    """(N, 5) and (M, 5) rotated boxes → (N, M) their overlap as Gaussians, 0–1: what ultralytics calls probiou.

    1 − the Hellinger distance (https://arxiv.org/abs/2106.06072, batch_probiou in ultralytics/utils/metrics.py).
    """
    tiny = 1e-7
    x1, y1, a1, b1, c1 = (column[:, None] for column in _gaussians(boxes))
    x2, y2, a2, b2, c2 = (column[None] for column in _gaussians(others))
    a, b, c, dx, dy = a1 + a2, b1 + b2, c1 + c2, x1 - x2, y1 - y2
    both = a * b - c**2
    apart = (a * dy**2 + b * dx**2) / (both + tiny) / 4 - c * dx * dy / (both + tiny) / 2
    each = np.clip(a1 * b1 - c1**2, 0.0, None) * np.clip(a2 * b2 - c2**2, 0.0, None)
    apart += np.log(both / (4 * np.sqrt(each) + tiny) + tiny) / 2
    overlaps: Floats = 1.0 - np.sqrt(1.0 - np.exp(-np.clip(apart, tiny, 100.0)) + tiny)
    return overlaps


def _gaussians(boxes: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """(N, 5) → means x, y and covariances a, b, c of [[a, c], [c, b]], each (N,)."""
    along, across = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    a, b = along * cos**2 + across * sin**2, along * sin**2 + across * cos**2
    return boxes[:, 0], boxes[:, 1], a, b, (along - across) * cos * sin
