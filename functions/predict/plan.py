"""From what a model found in one image to what Label Studio stores. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from functions.predict.region_ids import with_own_ids
from shared.geometry import Detections, Floats
from shared.labelstudio.class_labels import class_labels
from shared.labelstudio.config import Control
from shared.labelstudio.regions import CONTROLS, Region
from shared.labelstudio.regions.keypoints import write_keypoints
from shared.settings import Settings

FLOOR = 0.05
"""Models report things from this confidence on, shown or not: an image without a shown one has a score too."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the things that a model finds for one control."""

    control: Control
    trained: bool  # the model learnt on this project: its classes and points are called like the labels
    labels: tuple[str | None, ...]  # class index → label; a thing without one is dropped, unless these are proposals
    proposals: bool  # no class of the base weights is a label: things count, whatever their class is
    threshold: float  # least confidence of what is shown
    iou: float  # things of a class (proposals: of any) that overlap more are one

    @property
    def silent(self) -> bool:
        """Nothing can come of it: no class of the model means a label, and a guess would be no proposal."""
        return not self.proposals and not any(self.labels)


class Found(NamedTuple):
    """What one control answers for one image or video."""

    regions: list[Region]
    shown: Sequence[float]  # confidences that speak for what is shown
    hidden: Sequence[float]  # confidences of what is not shown


def plan_control(control: Control, names: Sequence[str], *, trained: bool, settings: Settings) -> Plan:
    """`names`: the model's classes. `trained`: on this project, so that a class without a label is dropped.

    Base weights without a class that means a label propose shapes without one, for a person to name: also where there
    is one label only, since what they find may be anything. An image's class, or a moment's, is nothing without its
    label: there they are silent.
    """
    labels = class_labels(names, control, trained=trained)
    proposals = not trained and not any(labels) and control.yolo_task != "classify"
    first, second = "model_score_threshold", "model_conf"
    if control.tag == "VideoRectangle":  # the only one for which Label Studio's YOLO example reads model_conf
        first, second = second, first
    threshold = control.number(first, control.number(second, settings.confidence))
    return Plan(control, trained, tuple(labels), proposals, threshold, control.number("model_iou", settings.iou))


def found_in(plan: Plan, detections: Detections) -> Found:
    """What a control answers for an image."""
    if plan.control.yolo_task == "classify":
        chosen = choose(plan, detections)
        regions = CONTROLS[plan.control.tag].write(chosen, chosen.names, plan.control)
        return Found(regions, sureness(chosen), [])
    things = kept(plan, detections)
    visible = things.scores >= plan.threshold
    write = CONTROLS[plan.control.tag].write
    if plan.control.yolo_task == "pose":
        write = partial(write_keypoints, trained=plan.trained)
    regions = write(things.only(visible), plan.labels, plan.control)
    return Found(regions, things.scores[visible].tolist(), things.scores[~visible].tolist())


def choose(plan: Plan, detections: Detections) -> Detections:
    """A classified image in terms of the control: `class_scores` are (N, labels), 0 for what is not to be shown.

    A label that several classes mean gets the sum of their probabilities. `scores` stay those of the best label, shown
    or not.
    """
    names = plan.control.label_values
    assert detections.class_scores is not None
    by_label = np.zeros((len(detections), len(names)))
    for class_, label in enumerate(plan.labels):
        if label is not None:
            by_label[:, names.index(label)] += detections.class_scores[:, class_]
    best = by_label.argmax(axis=1)
    shown = np.where(by_label >= plan.threshold, by_label, 0.0)
    if plan.control.attributes.get("choice") != "multiple":
        shown[np.arange(len(names)) != best[:, None]] = 0.0
    return replace(
        detections, scores=np.minimum(by_label.max(axis=1), 1.0), classes=best, names=names, class_scores=shown
    )


def sureness(chosen: Detections) -> list[float]:
    """Confidences of a classified image: of the labels that are shown, else of the best one, which says how unsure."""
    assert chosen.class_scores is not None
    shown: list[float] = chosen.class_scores[chosen.class_scores > 0].tolist()
    return shown or chosen.scores.tolist()


def to_prediction(found: Sequence[Found], model_version: str) -> dict[str, Any]:
    """The prediction of one task: what its controls answer, and the mean of their scores."""
    scores = [image_score(one.shown, one.hidden) for one in found]
    return {
        "result": with_own_ids(region for one in found for region in one.regions),
        "score": sum(scores) / len(scores),
        "model_version": model_version,
    }


def image_score(shown: Sequence[float], hidden: Sequence[float]) -> float:
    """Confidence of an image, 0–1: it orders Label Studio's queue, lowest first.

    With things shown: their mean confidence. Without: how sure the model is that there is nothing, which is 1 − the
    confidence of the best thing that was not shown (1 if there was none).
    """
    if shown:
        return sum(shown) / len(shown)
    return 1.0 - max(hidden, default=0.0)


def suppress(xyxy: Floats, scores: Floats, iou: float, rotated: Floats | None = None) -> NDArray[np.bool_]:
    """Which of (N, 4) boxes remain if of two that overlap by more than `iou` the one of lower score goes.

    With (N, 5) rotated boxes, those have to overlap as well: of two slim ones side by side the upright ones do.
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
        for same in rest[common > iou * union]:
            if rotated is None or _rotated_iou(rotated[best], rotated[same]) > iou:
                remain[same] = False
    return remain


def _rotated_iou(one: Floats, other: Floats) -> float:
    """Of two (5,) boxes: centre x, y, width, height, radians."""
    import cv2

    first, second = (((x, y), (w, h), float(np.rad2deg(angle))) for x, y, w, h, angle in (one.tolist(), other.tolist()))
    _, corners = cv2.rotatedRectangleIntersection(first, second)
    common = 0.0 if corners is None else cv2.contourArea(cv2.convexHull(corners))
    union = float(one[2] * one[3] + other[2] * other[3]) - common
    return common / union if union > 0 else 0.0


def kept(plan: Plan, found: Detections) -> Detections:
    """What counts for a control, shown or not."""
    if plan.proposals:
        return found.only(suppress(found.xyxy, found.scores, plan.iou, found.rotated))
    has_label = np.array([label is not None for label in plan.labels], dtype=np.bool_)
    return found.only(has_label[found.classes])
