"""Converts the detections of one image into the prediction that Label Studio stores. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from shared.geometry.detections import Detections
from shared.geometry.suppression import suppress, suppress_classes
from shared.geometry.tiles import Tiling
from shared.labelstudio.class_labels import class_labels
from shared.labelstudio.controls import Control
from shared.labelstudio.regions import CONTROLS, Region
from shared.labelstudio.regions.keypoints import write_keypoints
from shared.labelstudio.tiles_wanted import base_tiling
from shared.prediction.region_ids import with_own_ids
from shared.prediction.score import Confidences, Order, score_of
from shared.prediction.thresholds import thresholds_of
from shared.settings import Settings
from shared.state.versions import DEFAULT_SHOWN, Shown

FLOOR = 0.05
"""Models return objects from this confidence on, also hidden ones: an image without regions is scored by them."""
_CHOSE_NOTHING: Mapping[str, Shown] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model's objects become the regions of one control."""

    control: Control
    trained: bool  # the model was trained on this project: its classes and points are called like the labels
    labels: tuple[str | None, ...]  # class index → label; an object without one is dropped, unless `proposals`
    proposals: bool  # no class of the base weights is a label: all objects are shown, without a label
    shown: tuple[Shown, ...]  # class index → thresholds, the same for all classes of a label
    tiling: Tiling | None = None  # how its large pictures are cut; None: they are not

    @property
    def threshold(self) -> float:
        """The lowest confidence threshold of all labels."""
        return min((each.confidence for each in self._counting), default=DEFAULT_SHOWN.confidence)

    @property
    def iou(self) -> float:
        """The overlap (IoU) for the model's own suppression: the largest threshold of all labels."""
        return max((each.iou for each in self._counting), default=DEFAULT_SHOWN.iou)

    @property
    def _counting(self) -> list[Shown]:
        each = zip(self.labels, self.shown, strict=True)
        return [shown for label, shown in each if self.proposals or label is not None]

    @property
    def silent(self) -> bool:
        """Nothing can be predicted: no class of the model stands for a label, and these are not proposals."""
        return not self.proposals and not any(self.labels)


class Found(NamedTuple):
    """The result of one control for one image or video."""

    regions: list[Region]
    shown: Sequence[float]  # confidences of what is shown
    hidden: Sequence[float]  # confidences of what is not shown


def plan_control(
    control: Control,
    names: Sequence[str],
    *,
    trained: bool,
    settings: Settings,
    shown: Mapping[str, Shown] = _CHOSE_NOTHING,
    tiling: Tiling | None = None,
) -> Plan:
    """The plan of a control for a model with the classes `names`. `trained`: the model was trained on this project.

    `shown`: label → thresholds that the version's training chose. The control's attributes come before the settings,
    and these, if set, before `shown`.

    `tiling`: what the model's graph says. A trained model is served as it says; for base weights pictures are cut where
    a person set the size of tiles.

    Base weights without a class that stands for a label propose shapes without a label, for a person to name; also if
    the control has only one label, since they may find anything. A class of a whole image, or of a moment, is useless
    without a label: for these controls the plan is silent.
    """
    labels = class_labels(names, control, trained=trained)
    proposals = not trained and not any(labels) and control.yolo_task != "classify"
    by_label = {label: thresholds_of(control, label, settings, shown).shown for label in dict.fromkeys(labels)}
    cut = tiling if trained else base_tiling(control, settings.tiles)
    return Plan(control, trained, tuple(labels), proposals, tuple(by_label[label] for label in labels), cut)


def found_in(plan: Plan, detections: Detections) -> Found:
    """The result of a control for an image."""
    if plan.control.yolo_task == "classify":
        chosen = choose(plan, detections)
        regions = CONTROLS[plan.control.tag].write(chosen, chosen.names, plan.control)
        return Found(regions, confidences_of(chosen), [])
    objects = relevant_objects(plan, detections)
    confidences = np.array([each.confidence for each in plan.shown])
    visible = objects.scores >= confidences[objects.classes]
    shown = _suppress_by_label(plan, objects.only(visible))
    write = CONTROLS[plan.control.tag].write
    if plan.control.yolo_task == "pose":
        write = partial(write_keypoints, trained=plan.trained)
    regions = write(shown, plan.labels, plan.control)
    return Found(regions, shown.scores.tolist(), objects.scores[~visible].tolist())


def _suppress_by_label(plan: Plan, objects: Detections) -> Detections:
    """Of objects of the same label that overlap by more than the label's threshold only the most confident.

    The model has suppressed objects of the same class already, but with the largest threshold of all labels.
    """
    named = [label for label in plan.labels if label is not None]
    if len(set(named)) == len(named) and all(each.iou == plan.iou for each in plan.shown):
        return objects
    number = {label: place for place, label in enumerate(dict.fromkeys(plan.labels))}
    labels = np.array([number[label] for label in plan.labels])[objects.classes]
    overlaps = np.array([each.iou for each in plan.shown])[objects.classes]
    boxes = objects.xyxy if objects.rotated is None else objects.rotated
    remain = np.ones(len(objects), dtype=np.bool_)
    for iou in np.unique(overlaps).tolist():
        which = np.flatnonzero(overlaps == iou)
        remain[which] = suppress_classes(boxes[which], objects.scores[which], labels[which], iou)
    return objects.only(remain)


def choose(plan: Plan, detections: Detections) -> Detections:
    """A classified image with the control's labels as classes: `class_scores` are (N, labels), 0 if not shown.

    The probability of a label is the sum over the classes that stand for it. `scores` are those of the best label, also
    if it is not shown.
    """
    names = plan.control.label_values
    assert detections.class_scores is not None
    by_label = np.zeros((len(detections), len(names)))
    for class_, label in enumerate(plan.labels):
        if label is not None:
            by_label[:, names.index(label)] += detections.class_scores[:, class_]
    np.minimum(by_label, 1.0, out=by_label)  # a sum may exceed 1 by rounding
    best = by_label.argmax(axis=1)
    shown = np.where(by_label >= plan.threshold, by_label, 0.0)
    if not plan.control.several:
        shown[np.arange(len(names)) != best[:, None]] = 0.0
    return replace(detections, scores=by_label.max(axis=1), classes=best, names=names, class_scores=shown)


def confidences_of(chosen: Detections) -> list[float]:
    """Confidences of a classified image: of the labels that are shown, or of the best label if none is."""
    assert chosen.class_scores is not None
    shown: list[float] = chosen.class_scores[chosen.class_scores > 0].tolist()
    return shown or chosen.scores.tolist()


def to_prediction(found: Sequence[Found], model_version: str, order: Order = "off") -> dict[str, Any]:
    """The prediction of one task: the regions of its controls, and a score for Label Studio's queue."""
    return {
        "result": with_own_ids(region for one in found for region in one.regions),
        "score": score_of([Confidences(one.shown, one.hidden) for one in found], order),
        "model_version": model_version,
    }


def relevant_objects(plan: Plan, found: Detections) -> Detections:
    """The objects with a label, shown or not. As proposals: all objects, suppressed across classes."""
    if plan.proposals:
        return found.only(suppress(found.xyxy, found.scores, plan.iou, found.rotated))
    has_label = np.array([label is not None for label in plan.labels], dtype=np.bool_)
    return found.only(has_label[found.classes])
