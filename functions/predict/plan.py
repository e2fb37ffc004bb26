"""From what a model found in one image to what Label Studio stores. Pure."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.geometry import Detections, Floats
from shared.labelstudio.config import Control
from shared.labelstudio.regions import CONTROLS, class_labels
from shared.settings import Settings

logger = logging.getLogger(__name__)

FLOOR = 0.05
"""Models report boxes from this confidence on, shown or not: an image without a shown box has a score too."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the boxes that a model finds for one control."""

    control: Control
    labels: tuple[str | None, ...]  # class index → label; a box without one is dropped, unless these are proposals
    proposals: bool  # no class of the base weights is a label: boxes count, whatever their class is
    threshold: float  # least confidence of a box that is shown
    iou: float  # proposals that overlap more are one


def plan_control(control: Control, names: Sequence[str], *, trained: bool, settings: Settings) -> Plan:
    """`names`: the model's classes. `trained`: on this project, so that a class without a label is dropped."""
    labels = class_labels(names, control)
    proposals = not trained and not any(labels)
    if proposals:
        only = control.label_values[0] if len(control.labels) == 1 else None
        labels = [only] * len(names)
    return Plan(control, tuple(labels), proposals, _threshold(control, settings.confidence), settings.iou)


def to_prediction(plans: Sequence[Plan], found: Sequence[Detections], model_version: str) -> dict[str, Any]:
    """The prediction of one task; one Detections a plan."""
    regions: list[dict[str, Any]] = []
    shown, hidden = [], []
    for plan, detections in zip(plans, found, strict=True):
        kept = _kept(plan, detections)
        visible = kept.scores >= plan.threshold
        regions += CONTROLS[plan.control.tag].write(kept.only(visible), plan.labels, plan.control)
        shown += kept.scores[visible].tolist()
        hidden += kept.scores[~visible].tolist()
    return {"result": regions, "score": image_score(shown, hidden), "model_version": model_version}


def image_score(shown: Sequence[float], hidden: Sequence[float]) -> float:
    """Confidence of an image, 0–1: it orders Label Studio's queue, lowest first.

    With boxes: their mean confidence. Without: how sure the model is that there is nothing, which is 1 − the confidence
    of the best box that was not shown (1 if there was none).
    """
    if shown:
        return sum(shown) / len(shown)
    return 1.0 - max(hidden, default=0.0)


def suppress(xyxy: Floats, scores: Floats, iou: float) -> NDArray[np.bool_]:
    """Which of (N, 4) boxes remain if of two that overlap by more than `iou` the one of lower score goes."""
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
        remain[rest[common > iou * union]] = False
    return remain


def _kept(plan: Plan, found: Detections) -> Detections:
    if plan.proposals:
        return found.only(suppress(found.xyxy, found.scores, plan.iou))
    has_label = np.array([label is not None for label in plan.labels], dtype=np.bool_)
    return found.only(has_label[found.classes])


def _threshold(control: Control, default: float) -> float:
    """What the control's own attribute says, as in Label Studio's YOLO example; else the setting."""
    for attribute in ("model_score_threshold", "model_conf"):
        written = control.attributes.get(attribute)
        if written is None:
            continue
        try:
            value = float(written)
        except ValueError:
            value = -1.0
        if 0.0 <= value <= 1.0:
            return value
        logger.warning(
            f"{attribute}={written[:20]!r} is not a number from 0 to 1: {default} is used",
            extra={"event": "threshold_ignored", "control": control.name},
        )
    return default
