"""What a graph's raw output means, by YOLO task: detections in pixels of the picture as it came.

What ultralytics' predictors do with it is in ultralytics/models/yolo/*/predict.py.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelError
from shared.geometry.detections import Detections, Floats, Outline, clip_xyxy, envelope, xywhr_to_corners
from shared.inference.candidates import most_confident, to_corners, without_duplicates, without_rotated_duplicates
from shared.inference.engine import Outputs, Pixels
from shared.inference.graph import Graph
from shared.inference.letterbox import place_in, to_picture
from shared.inference.masks import MixedMasks
from shared.yolo_task import YoloTask

logger = logging.getLogger(__name__)

Postprocessing = Callable[[], Detections]
"""Turns the raw output of one image into its detections; needs no engine."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One image, and what is wanted of it."""

    image: Pixels  # as the network sees it
    size: tuple[int, int]  # height, width of the picture as it came
    confidence: float  # least of an object
    iou: float = 0.7  # objects of a class that overlap more are one
    outlined_from: float | None = 0.0  # confidence from which objects are shown, with outlines, which take time. None:
    # they are candidates, with masks
    cut_is_said: bool = True  # whether it is logged if there are more objects than are answered

    @property
    def seen(self) -> tuple[int, int]:
        """Height and width of what the network sees."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def shown_from(self) -> float:
        """Confidence from which somebody sees what is found."""
        return math.inf if self.outlined_from is None else max(self.outlined_from, self.confidence)


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a graph's output."""

    graph: Graph
    max_objects: int  # most objects of an image


def _detect(outputs: Outputs, number: int, question: Question, head: Head) -> Detections:
    return _boxes(_kept(outputs, number, question, head), question, head)


def _obb(outputs: Outputs, number: int, question: Question, head: Head) -> Detections:
    table = _kept(outputs, number, question, head)
    corner, inner = place_in(question.seen, question.size)
    height, width = question.size
    scale = np.array([width, height]) / inner
    centres, sizes = (table[:, :2] - corner) * scale, table[:, 2:4] * scale
    rotated = np.column_stack([centres, sizes, table[:, 6]])
    xyxy = clip_xyxy(envelope(xywhr_to_corners(rotated)), width, height)
    return _found(table, xyxy, question, head, rotated=rotated)


def _pose(outputs: Outputs, number: int, question: Question, head: Head) -> Detections:
    table = _kept(outputs, number, question, head)
    points = table[:, 6:].reshape(-1, *head.graph.point_shape)
    sure = points[..., 2:] if head.graph.point_shape[1] > 2 else np.ones_like(points[..., :1])
    placed = np.concatenate([to_picture(points[..., :2], question.seen, question.size), sure], axis=-1)
    return _boxes(table, question, head, keypoints=placed, point_names=head.graph.point_names)


def _segment(outputs: Outputs, number: int, question: Question, head: Head) -> Detections | Postprocessing:
    table = _kept(outputs, number, question, head)
    outlined = table[:, 4] >= (question.outlined_from or 0.0)
    if not outlined.any():
        return _boxes(table, question, head, outlines=((),) * len(table))
    prototypes = outputs[1][number].copy()  # the next call may overwrite them
    coefficients = table[outlined, 6:].astype(np.float32)
    masks = MixedMasks(prototypes, coefficients, table[outlined, :4], question.seen, question.size)
    if question.outlined_from is None:
        return _boxes(table, question, head, masks=masks)
    return partial(_with_outlines, table, outlined, masks, question, head)


def _classify(outputs: Outputs, number: int, question: Question, head: Head) -> Detections:
    _require(len(outputs[0][number]), len(head.graph.names))
    scores = outputs[0][number].astype(np.float64)[None]
    height, width = question.size
    whole = np.array([[0.0, 0.0, width, height]])
    return Detections(width, height, whole, scores.max(1), scores.argmax(1), head.graph.names, class_scores=scores)


READERS: dict[YoloTask, Callable[[Outputs, int, Question, Head], Detections | Postprocessing]] = {
    "detect": _detect,
    "obb": _obb,
    "segment": _segment,
    "pose": _pose,
    "classify": _classify,
}
"""YOLO task → what reads one image's part of a batch's output."""


def _kept(outputs: Outputs, number: int, question: Question, head: Head) -> Floats:
    """(N, 6 + …) boxes of what was seen, score, class, and what else the task has; suppressed, most confident first.

    Boxes are corners, but rotated ones centre, width and height. An end-to-end head gives (B, N, 6 + …) such rows.
    """
    graph, most, output = head.graph, head.max_objects, outputs[0][number]
    more = {"obb": 1, "pose": math.prod(graph.point_shape), "segment": outputs[-1].shape[1]}.get(graph.yolo_task, 0)
    if graph.end_to_end:
        _require(output.shape[1], 6 + more)
        table: Floats = output[output[:, 4] > question.confidence][:most].astype(np.float64)
    else:
        _require(len(output), 4 + len(graph.names) + more)
        table = most_confident(output, question.confidence, len(graph.names))
        if graph.yolo_task == "obb":
            table = without_rotated_duplicates(table, question.iou, most)
        else:
            table = without_duplicates(to_corners(table), question.iou, most)
    if question.cut_is_said and len(table) >= most and table[-1, 4] >= question.shown_from:
        say_cut(most)
    return table


def say_cut(most: int) -> None:
    """Log that a picture has more objects than are answered."""
    logger.warning(
        f"an image has {most} objects or more: the least confident are left out (LABELLOOP_MAX_OBJECTS)",
        extra={"event": "objects_cut", "most": most},
    )


def _require(found: int, told: int) -> None:
    """Raise ModelError: numbers would be taken for others."""
    if found != told:
        raise ModelError(f"the graph answers {found} numbers for each object, by its metadata (names, …) it is {told}")


def _boxes(table: Floats, question: Question, head: Head, **more: Any) -> Detections:
    corners = to_picture(table[:, :4].reshape(-1, 2, 2), question.seen, question.size)
    return _found(table, corners.reshape(-1, 4), question, head, **more)


def _found(table: Floats, xyxy: Floats, question: Question, head: Head, **more: Any) -> Detections:
    height, width = question.size
    return Detections(width, height, xyxy, table[:, 4], table[:, 5].astype(np.int64), head.graph.names, **more)


def _with_outlines(
    table: Floats, outlined: NDArray[np.bool_], masks: MixedMasks, question: Question, head: Head
) -> Detections:
    """Objects that turn out to have no mask in the picture are left out."""
    every: list[Outline] = [()] * len(table)
    for index, outline in zip(np.flatnonzero(outlined), masks.outlines(), strict=True):
        every[index] = outline
    found = _boxes(table, question, head, outlines=tuple(every))
    return found.only(np.array([bool(outline) for outline in every]) | ~outlined)
