"""What a model's raw output means, by YOLO task: detections in pixels of the image as it came.

What ultralytics' predictors do with it is in ultralytics/models/yolo/*/predict.py. Its result objects are left aside:
they make masks of the whole image for everything that was found.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from functions.predict.model.thread import Inference, Postprocessing
from shared.geometry.detections import Detections, Floats, Outline, clip_xyxy, envelope, xywhr_to_corners
from shared.yolo_task import YoloTask

logger = logging.getLogger(__name__)

_MAX_CANDIDATES = {"obb": 2000}
"""The surest boxes that suppression looks at. For rotated ones ultralytics makes tables of all pairs: with 30,000, its
default, they would take gigabytes."""
_STAIRS = 0.75  # pixels of a mask that an outline may be away from it: the steps of its pixels


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a model's output."""

    names: tuple[str, ...]  # class index → name
    end2end: bool  # it suppresses by itself
    max_objects: int  # most objects of an image
    point_shape: tuple[int, int] = (0, 0)  # of pose: points an object, numbers a point (2, or 3 with confidence)
    point_names: tuple[str, ...] = ()


class _Masks(NamedTuple):
    """Masks in the making: an object's is where the sum of its shares in the prototypes is above 0, inside its box."""

    prototypes: NDArray[np.float32]  # (M, h, w), of the model's image made smaller
    coefficients: NDArray[np.float32]  # (N, M)
    xyxy: Floats  # (N, 4) pixels of the model's image


def _detect(output: Any, number: int, job: Inference, head: Head) -> Detections:
    return _boxes(_kept(output, number, job, head, "detect"), job, head)


def _obb(output: Any, number: int, job: Inference, head: Head) -> Detections:
    from ultralytics.utils import ops

    table = _kept(output, number, job, head, "obb")
    rotated = np.column_stack([ops.scale_boxes(_seen(job), table[:, :4], job.size, xywh=True), table[:, 6]])
    height, width = job.size
    xyxy = clip_xyxy(envelope(xywhr_to_corners(rotated)), width, height)
    return _found(table, xyxy, job, head, rotated=rotated)


def _pose(output: Any, number: int, job: Inference, head: Head) -> Detections:
    from ultralytics.utils import ops

    table = _kept(output, number, job, head, "pose")
    points = ops.scale_coords(_seen(job), table[:, 6:].reshape(-1, *head.point_shape), job.size)
    if head.point_shape[1] == 2:
        points = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)
    return _boxes(table, job, head, keypoints=points, point_names=head.point_names)


def _segment(output: Any, number: int, job: Inference, head: Head) -> Detections | Postprocessing:
    prototypes = output[0][1] if isinstance(output[0], tuple) else output[1]
    table = _kept(output, number, job, head, "segment")
    outlined = table[:, 4] >= job.outlined_from
    if not outlined.any():
        return _boxes(table, job, head, outlines=((),) * len(table))
    masks = _Masks(
        prototypes[number].float().cpu().numpy(), table[outlined, 6:].astype(np.float32), table[outlined, :4]
    )
    return partial(_with_outlines, table, outlined, masks, job, head)


def _classify(output: Any, number: int, job: Inference, head: Head) -> Detections:
    probabilities = output[0] if isinstance(output, list | tuple) else output
    scores = probabilities[number].float().cpu().numpy().astype(np.float64)[None]
    height, width = job.size
    whole = np.array([[0.0, 0.0, width, height]])
    return Detections(width, height, whole, scores.max(1), scores.argmax(1), head.names, class_scores=scores)


READERS: dict[YoloTask, Callable[[Any, int, Inference, Head], Detections | Postprocessing]] = {
    "detect": _detect,
    "obb": _obb,
    "segment": _segment,
    "pose": _pose,
    "classify": _classify,
}
"""YOLO task → what reads one image's part of a batch's output; on the model thread, but for the rest that it leaves."""


def _kept(output: Any, number: int, job: Inference, head: Head, task: YoloTask) -> Floats:
    """(N, 6 + …) boxes of the model's image, score, class, and what else the task has; suppressed, surest first."""
    from ultralytics.utils.nms import non_max_suppression

    predictions = output
    while isinstance(predictions, list | tuple):  # (B, 4 + classes + …, candidates), or end to end (B, N, 6 + …)
        predictions = predictions[0]
    (kept,) = non_max_suppression(
        predictions[number : number + 1],
        job.confidence,
        job.iou,
        max_det=head.max_objects,
        max_nms=_MAX_CANDIDATES.get(task, 30_000),
        nc=0 if task == "detect" else len(head.names),
        rotated=task == "obb",
        end2end=head.end2end,
    )
    table: Floats = kept.cpu().numpy().astype(np.float64)
    if len(table) >= head.max_objects and table[-1, 4] >= max(job.outlined_from, job.confidence):
        logger.warning(
            f"an image shows {head.max_objects} objects or more: what is less sure is not answered "
            "(LABELLOOP_MAX_OBJECTS)",
            extra={"event": "objects_cut", "most": head.max_objects},
        )
    return table


def _boxes(table: Floats, job: Inference, head: Head, **more: Any) -> Detections:
    from ultralytics.utils import ops

    return _found(table, ops.scale_boxes(_seen(job), table[:, :4], job.size), job, head, **more)


def _found(table: Floats, xyxy: Any, job: Inference, head: Head, **more: Any) -> Detections:
    height, width = job.size
    return Detections(width, height, xyxy, table[:, 4], table[:, 5].astype(np.int64), head.names, **more)


def _seen(job: Inference) -> tuple[int, int]:
    """Height and width of the image as the model saw it."""
    return job.image.shape[0], job.image.shape[1]


def _place(job: Inference) -> tuple[Floats, Floats]:
    """Where the image lies in what the model saw: x, y of its corner, width and height in pixels (LetterBox)."""
    size = np.array([job.size[1], job.size[0]])
    seen = np.array([job.image.shape[1], job.image.shape[0]])
    resized = np.maximum(np.round(size * (seen / size).min()), 1.0)
    return np.round((seen - resized) / 2 - 0.1), resized


def _with_outlines(table: Floats, outlined: NDArray[np.bool_], masks: _Masks, job: Inference, head: Head) -> Detections:
    """Things that turn out to have no mask in the image are left out."""
    corner, size = _place(job)
    inside = np.clip(masks.xyxy, np.tile(corner, 2), np.tile(corner + size, 2))
    scale = np.array([job.size[1], job.size[0]]) / size
    count, *small = masks.prototypes.shape
    mixed = (masks.coefficients @ masks.prototypes.reshape(count, -1)).reshape(-1, *small)
    outlines: list[Outline] = [()] * len(table)
    for index, logits, box in zip(np.flatnonzero(outlined), mixed, inside, strict=True):
        outlines[index] = tuple((ring - corner) * scale for ring in _outline(logits, box, _seen(job)))
    found = _boxes(table, job, head, outlines=tuple(outlines))
    return found.only(np.array([bool(outline) for outline in outlines]) | ~outlined)


def _outline(logits: NDArray[np.float32], box: Floats, seen: tuple[int, int]) -> Outline:
    """(h, w) mixed prototypes of one object, and the (4,) part of the model's image to look at → its outline there.

    The same pixels as those of ultralytics' process_mask, which enlarges the whole image; here what is around the box
    is enlarged.
    """
    import cv2

    from shared.geometry.outlines import mask_to_outline

    times = seen[0] // logits.shape[0]
    left, top, right, bottom = np.ceil(box).astype(int)
    if right <= left or bottom <= top:
        return ()
    first = max(top // times - 1, 0), max(left // times - 1, 0)  # one more: pixels are blended with their neighbours
    around = logits[first[0] : -(-bottom // times) + 1, first[1] : -(-right // times) + 1]
    large = cv2.resize(around, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
    down, across = first[0] * times, first[1] * times
    mask = large[top - down : bottom - down, left - across : right - across] > 0
    return tuple(ring + np.array([left, top]) for ring in mask_to_outline(mask, _STAIRS))
