"""Compares predictions with the true annotations: ultralytics' metrics, and an annotator's work."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infra.effort.edits import SAME_OBJECT
from jobs.train.shown_choice import ADD, DELETE, MOVE, TIGHT
from shared.geometry.detections import Detections, Floats
from shared.yolo_task import YoloTask

_OKS_AREA = 0.53
"""Part of its box that an object fills: ultralytics' assumption for keypoints."""
_OKS_SIGMA = 0.1
"""COCO's of a hip. ultralytics' default for unknown points, 1 / points, would accept almost any place."""

Quality = Mapping[str, float]
"""precision, recall, map50, map50_95: as ultralytics computes them (map50_shown: see with_every). add, move, delete:
objects per image, on average; work: their sum, weighted as in jobs.train.shown_choice. Of classified images only top1:
the part with exactly the right labels."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One image, or one frame of a video: what a model found, and the true objects (`expert`)."""

    name: str
    found: Detections
    expert: Detections


def measure(images: Sequence[Compared], yolo_task: YoloTask) -> Quality:
    """The quality over all images."""
    if yolo_task == "classify":
        return {"top1": float(np.mean([_labels(image.found) == _labels(image.expert) for image in images]))}
    overlaps = [overlap(image.expert, image.found, yolo_task) for image in images]
    add, move, delete = np.mean([annotators_work(each) for each in overlaps], axis=0).tolist()
    work = ADD * add + MOVE * move + DELETE * delete
    return _validate(images, overlaps) | {"add": add, "move": move, "delete": delete, "work": work}


def with_every(shown: Quality, every: Quality) -> Quality:
    """The quality of what is shown, but mAP of `every`: all that is found. mAP is the area below the whole curve.

    What is shown ends at the confidence that a version chose on few val tasks: its mAP, `map50_shown`, is less.
    """
    return {**shown, "map50_shown": shown["map50"], "map50": every["map50"], "map50_95": every["map50_95"]}


def annotators_work(overlaps: Floats) -> tuple[int, int, int]:
    """(add, move, delete): objects of one image that a person has to add, move and delete to get the true ones.

    `overlaps`: (true, found). Objects are paired one to one, greatest overlap first, down to SAME_OBJECT. A pair below
    TIGHT is moved; a true object without a pair is added, a found one without a pair deleted.
    """
    rest = overlaps.copy()
    moved = paired = 0
    while rest.size and (best := float(rest.max())) >= SAME_OBJECT:
        target, found = np.unravel_index(int(rest.argmax()), rest.shape)
        rest[target, :] = rest[:, found] = -1.0
        paired += 1
        moved += best < TIGHT
    return len(overlaps) - paired, moved, overlaps.shape[1] - paired


def overlap(expert: Detections, found: Detections, yolo_task: YoloTask) -> Floats:
    """(N, M) overlap 0–1 of N true and M found objects, by the shapes of the yolo task; 0 where labels differ."""
    if not len(expert) or not len(found):
        return np.zeros((len(expert), len(found)))
    labels = [np.array([each.names[index] for index in each.classes.tolist()]) for each in (expert, found)]
    similar: Floats = _OVERLAPS[yolo_task](expert, found)
    same: Floats = similar * (labels[0][:, None] == labels[1][None, :])
    return same


def _boxes(expert: Detections, found: Detections) -> Floats:
    from ultralytics.utils.metrics import box_iou

    return _numbers(box_iou(_tensor(expert.xyxy), _tensor(found.xyxy)))


def _rotated(expert: Detections, found: Detections) -> Floats:
    from ultralytics.utils.metrics import batch_probiou

    assert expert.rotated is not None
    assert found.rotated is not None
    return _numbers(batch_probiou(_tensor(expert.rotated), _tensor(found.rotated)))


def _masks(expert: Detections, found: Detections) -> Floats:
    from ultralytics.utils.metrics import mask_iou

    return _numbers(mask_iou(*(_tensor(_filled(each).reshape(len(each), -1)) for each in (expert, found))))


def _points(expert: Detections, found: Detections) -> Floats:
    """OKS (https://cocodataset.org/#keypoints-eval) with one sigma for all points."""
    from ultralytics.utils.metrics import kpt_iou

    assert expert.keypoints is not None
    assert found.keypoints is not None
    area = np.prod(expert.xyxy[:, 2:] - expert.xyxy[:, :2], axis=1) * _OKS_AREA
    sigmas = [_OKS_SIGMA] * expert.keypoints.shape[1]
    return _numbers(kpt_iou(_tensor(expert.keypoints), _tensor(found.keypoints), _tensor(area), sigmas))


_OVERLAPS: dict[str, Callable[[Detections, Detections], Floats]] = {
    "detect": _boxes,
    "obb": _rotated,
    "segment": _masks,
    "pose": _points,
}


def _filled(found: Detections) -> Floats:
    """(N, height, width) masks: 1 inside each outline, else 0."""
    import cv2

    assert found.outlines is not None
    masks = np.zeros((len(found), found.height, found.width), dtype=np.uint8)
    for mask, rings in zip(masks, found.outlines, strict=True):
        cv2.fillPoly(mask, [ring.round().astype(np.int32) for ring in rings], 1)
    return masks.astype(np.float64)


def _labels(found: Detections) -> set[str]:
    """The labels of one classified image: those with a score above 0."""
    if found.class_scores is None:
        return {found.names[index] for index in found.classes.tolist()}
    return {name for row in found.class_scores for name, score in zip(found.names, row, strict=True) if score > 0}


def _tensor(values: Floats) -> Any:
    import torch

    return torch.from_numpy(values.astype(np.float32))


def _numbers(tensor: Any) -> Floats:
    numbers: Floats = tensor.numpy().astype(np.float64)
    return numbers


def _validate(images: Sequence[Compared], overlaps: Sequence[Floats]) -> dict[str, float]:
    """precision and recall (where F1 is best), map50, map50_95, computed by ultralytics' validator."""
    import torch
    from ultralytics.models.yolo.detect import DetectionValidator

    with tempfile.TemporaryDirectory() as folder:
        validator = DetectionValidator(save_dir=Path(folder))
    for image, each in zip(images, overlaps, strict=True):
        order = np.argsort(-image.found.scores, kind="stable")
        found, objects = len(image.found), np.zeros(len(image.expert))
        matches = validator.match_predictions(
            torch.zeros(found), torch.from_numpy(objects), torch.from_numpy(np.ascontiguousarray(each[:, order]))
        )
        validator.metrics.update_stats(
            {
                "tp": matches.numpy(),
                "conf": image.found.scores[order],
                "pred_cls": np.zeros(found),
                "target_cls": objects,
                "target_img": np.unique(objects),
                "im_name": image.name,
            }
        )
    validator.metrics.process()
    names = ("precision", "recall", "map50", "map50_95")
    return dict(zip(names, (float(value) for value in validator.metrics.mean_results()), strict=True))
