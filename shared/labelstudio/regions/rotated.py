"""Rotated boxes within Label Studio's limits: position and sides up to 100 %."""

import numpy as np

from shared.geometry.detections import FAR, Floats, Ints, clip_rotated, xywhr_to_corners


def fit_rotated(rotated: Floats, width: int, height: int) -> tuple[Ints, Floats]:
    """(N, 5) xywhr in pixels → (M,) rows of the boxes with area inside the image, and (M, 5) their xywhr.

    A box over the border becomes the box of the same rotation around its visible part. A box is the same after a
    quarter turn with width and height exchanged: the first of these is taken whose sides are not longer than the
    image's, and whose top-left corner before rotation (Label Studio's x, y) is not beyond the right or lower border. If
    none is, as for a thin box along the diagonal, the sides are cut to the image's.
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
