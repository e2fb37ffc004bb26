"""How much annotated and found objects are alike, 0–1 for each pair: what mAP is computed from. Pure."""

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Detections, Floats
from shared.geometry.outlines import outlines_to_runs
from shared.geometry.suppression import gaussian_overlaps

_TINY = 1e-7
_VISIBLE = 0.53
"""Part of a box's area that its object is taken to have (ultralytics' PoseValidator, after COCO's)."""


def overlaps(truth: Detections, found: Detections, sigmas: Floats) -> Floats:
    """(T, F) IoU of masks or boxes; of rotated boxes their likeness as Gaussians, of points OKS.

    By what `truth` has, as ultralytics' validators. `sigmas`: (K,) of the keypoints.
    """
    if truth.outlines is not None and found.outlines is not None:
        return _of_outlines(truth, found)
    if truth.rotated is not None and found.rotated is not None:
        return gaussian_overlaps(truth.rotated, found.rotated)
    if truth.keypoints is not None and found.keypoints is not None:
        return _of_points(truth.keypoints, found.keypoints, sigmas, np.prod(truth.xyxy[:, 2:] - truth.xyxy[:, :2], 1))
    return box_overlaps(truth.xyxy, found.xyxy)


def box_overlaps(truth: Floats, found: Floats) -> Floats:
    """(T, 4) and (F, 4) xyxy → (T, F) IoU."""
    corner = np.maximum(truth[:, None, :2], found[:, :2])
    common = np.clip(np.minimum(truth[:, None, 2:], found[:, 2:]) - corner, 0.0, None).prod(axis=2)
    area, other = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (truth, found))
    overlap: Floats = common / (area[:, None] + other - common + _TINY)
    return overlap


def _of_outlines(truth: Detections, found: Detections) -> Floats:
    """Of the pixels of the picture whose centres are inside."""
    assert truth.outlines is not None
    assert found.outlines is not None
    runs = outlines_to_runs(found.outlines, truth.width, truth.height)
    begins, ends = (np.concatenate([run[side] for run in runs] or [np.zeros(0, np.int64)]) for side in (0, 1))
    owner = np.repeat(np.arange(len(runs)), [len(begin) for begin, _ in runs])
    area = np.bincount(owner, ends - begins, len(runs))
    table = np.zeros((len(truth), len(found)))
    for row, (begin, end) in zip(table, outlines_to_runs(truth.outlines, truth.width, truth.height), strict=True):
        before = _pixels_before(begin, end, truth.width * truth.height)
        common = np.bincount(owner, before[ends] - before[begins], len(runs))
        row[:] = common / (area + (end - begin).sum() - common + _TINY)
    return table


def _pixels_before(begins: NDArray[np.int64], ends: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(count + 1,) for each pixel, how many of those before it are in the runs."""
    steps = np.zeros(count + 1, dtype=np.int8)
    steps[begins], steps[ends] = 1, -1
    inside = np.zeros(count + 1, dtype=np.int64)
    steps[:-1].cumsum(dtype=np.int8).cumsum(dtype=np.int64, out=inside[1:])
    return inside


def _of_points(truth: Floats, found: Floats, sigmas: Floats, areas: Floats) -> Floats:
    """Object keypoint similarity (https://cocodataset.org/#keypoints-eval), over the points that are visible.

    (T, K, 3) and (F, K, 3) points, (T,) areas of the boxes in square pixels.
    """
    squares = ((truth[:, None, :, :2] - found[..., :2]) ** 2).sum(axis=3)
    reach = 2 * (2 * sigmas) ** 2 * (areas * _VISIBLE)[:, None, None] + _TINY
    visible = truth[:, None, :, 2] != 0
    similar: Floats = (np.exp(-squares / reach) * visible).sum(axis=2) / (visible.sum(axis=2) + _TINY)
    return similar
