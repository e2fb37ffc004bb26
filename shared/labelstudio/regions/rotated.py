"""Rotated boxes as Label Studio takes them: no corner beyond 100 %, no side of more."""

import numpy as np

from shared.geometry.detections import FAR, Floats, Ints, clip_rotated, xywhr_to_corners


def fit_rotated(rotated: Floats, width: int, height: int) -> tuple[Ints, Floats]:
    """(N, 5) xywhr in pixels → the M rows that have area inside the image, and (M, 5) xywhr of them.

    A box over the border becomes the one turned alike around its visible part. A quarter turn with width and height
    exchanged is the same box: the first is chosen whose sides are not longer than the image's, and whose top-left
    corner (before the turn: Label Studio turns around it) is left of its right border and above its lower one. If there
    is none, as for a thin box along the diagonal, its ends are cut off.
    """
    size = np.array([width, height])
    whole = (np.abs(rotated) < FAR).all(axis=1) & (rotated[:, 2:4] > 0).all(axis=1)
    rows = np.flatnonzero(whole)
    boxes = rotated[rows].astype(np.float64)
    corners = xywhr_to_corners(boxes)
    outside = ((corners < 0) | (corners > size)).any(axis=(1, 2))
    boxes[outside] = clip_rotated(boxes[outside], width, height)
    visible = (boxes[:, 2:4] > 0).all(axis=1)
    rows, boxes = rows[visible], boxes[visible]

    turns = np.repeat(boxes[:, None], 4, axis=1)  # (M, 4, 5)
    turns[:, 1::2, 2:4] = turns[:, 1::2, 3:1:-1]
    turns[:, :, 4] += np.arange(4) * np.pi / 2
    slack = 1e-9 * size
    fits = (xywhr_to_corners(boxes) <= size + slack).all(axis=2) & (turns[:, :, 2:4] <= size + slack).all(axis=2)
    chosen: Floats = turns[np.arange(len(turns)), fits.argmax(axis=1)]
    chosen[:, 2:4] = np.minimum(chosen[:, 2:4], size)
    return rows, chosen
