"""A network's raw output for one image → its objects: above a confidence, and after non-maximum suppression.

The same as ultralytics' non_max_suppression (ultralytics/utils/nms.py), in numpy and OpenCV.
"""

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Floats, Ints
from shared.geometry.suppression import gaussian_overlaps

_MOST = 30_000
_MOST_ROTATED = 2_000
"""How many candidates suppression looks at, the most confident; for rotated ones it makes a table of all pairs."""
_ROWS = 256  # of such a table at once


def most_confident(output: NDArray[np.float32], confidence: float, classes: int) -> Floats:
    """(4 + classes + E, N) raw boxes → (M, 6 + E) centre x, y, width, height, score, class and the rest.

    Those above `confidence`, each with its best class; most confident first.
    """
    scores = output[4 : 4 + classes]
    which = np.flatnonzero(scores.max(axis=0) > confidence)
    best = scores[:, which].argmax(axis=0)
    table = np.column_stack([output[:4, which].T, scores[best, which], best, output[4 + classes :, which].T])
    return table[np.argsort(-table[:, 4], kind="stable")].astype(np.float64)


def to_corners(table: Floats) -> Floats:
    """The same rows, their boxes by corners."""
    half = table[:, 2:4] / 2
    return np.column_stack([table[:, :2] - half, table[:, :2] + half, table[:, 4:]])


def without_duplicates(table: Floats, iou: float, most: int) -> Floats:
    """Rows by corners, most confident first → at most `most` of which no two of a class overlap by more than `iou`."""
    import cv2

    table = table[:_MOST]
    if not len(table):
        return table
    boxes = np.column_stack([table[:, :2], table[:, 2:4] - table[:, :2]])
    remain = cv2.dnn.NMSBoxesBatched(
        boxes.tolist(), table[:, 4].tolist(), table[:, 5].astype(np.int64).tolist(), 0.0, iou
    )
    return table[np.asarray(remain, dtype=np.int64).reshape(-1)[:most]]


def without_rotated_duplicates(table: Floats, iou: float, most: int) -> Floats:
    """The same for rows of rotated boxes, whose last number is the angle in radians.

    Overlap is that of two Gaussians, and a box that overlaps a dropped one is dropped too, as in ultralytics.
    """
    table = table[:_MOST_ROTATED]
    boxes, classes = np.column_stack([table[:, :4], table[:, -1]]), table[:, 5].astype(np.int64)
    return table[_alone(boxes, classes, iou)][:most]


def _alone(boxes: Floats, classes: Ints, iou: float) -> NDArray[np.bool_]:
    """(N,) which of (N, 5) boxes, most confident first, overlap no earlier box of their class by more than `iou`."""
    alone = np.ones(len(boxes), dtype=np.bool_)
    for first in range(0, len(boxes), _ROWS):
        rows = slice(first, first + _ROWS)
        alike = (gaussian_overlaps(boxes[rows], boxes) > iou) & (classes[rows, None] == classes)
        alone &= ~np.triu(alike, k=first + 1).any(axis=0)
    return alone
