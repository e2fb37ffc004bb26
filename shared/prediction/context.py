"""What is the same for all tasks of a request: the controls that are predicted, each with its model and plan."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from shared.labelstudio.class_labels import unclear_classes
from shared.labelstudio.controls import Control
from shared.labelstudio.held_labels import way_back
from shared.prediction.plan import Plan, plan_control
from shared.prediction.ports import Model, Models, NothingToServe
from shared.prediction.score import Order
from shared.prediction.unanswered import Unanswered
from shared.settings import Settings
from shared.state.model_version import stamp

logger = logging.getLogger(__name__)

_MAX_WARNINGS = 10  # log lines about ambiguous classes of a control
_SHOWN = 5  # classes that a message names


class ControlModel(NamedTuple):
    """A control of a request, with the model that serves it."""

    plan: Plan
    model: Model


@dataclass(frozen=True, slots=True)
class PredictContext:
    """What is the same for all tasks of a request."""

    parts: tuple[ControlModel, ...]
    stamp: str  # model_version of the predictions
    deadline: float  # time.monotonic()
    waiting: threading.Semaphore  # tasks whose decoded images wait for the models
    control_group: float = 0.0  # share of the tasks that get no predictions
    order: Order = "off"  # what their scores say
    traces: tuple[tuple[str, str], ...] = ()  # control, and traceparent of the job that published its version


def prepare(
    models: Models, uid: str, controls: Sequence[Control], settings: Settings, deadline: float
) -> PredictContext | Unanswered:
    """Load the models of the project `uid` and plan its controls. `deadline`: time.monotonic().

    A control that cannot be predicted before its next version is left out; if none is left, the reason of the first one
    is answered. Any other error is raised and fails the request, because Label Studio would not ask again for a control
    that is missing under this stamp. Raises DeadlineExceeded, ModelError, NotNow, StoreError.
    """
    parts: list[ControlModel] = []
    versions: list[tuple[str, str]] = []
    traces: list[tuple[str, str]] = []
    unserved: dict[str, Unanswered] = {}
    for control in controls:
        try:
            served = models.serving(uid, control, deadline)
        except NothingToServe as error:
            if error.version:
                versions.append((control.name, error.version))
            unserved[control.name] = Unanswered("no_model", str(error))
            continue
        versions.append((control.name, served.version))
        traces.append((control.name, served.trace))
        plan = plan_control(
            control,
            served.model.names,
            trained=served.trained,
            settings=settings,
            shown=served.shown,
            tiling=served.model.tiling,
        )
        if not served.trained:
            _warn_unclear(uid, control.name, tuple(unclear_classes(served.model.names, control).items()))
        if plan.silent:
            unserved[control.name] = Unanswered("no_class", _no_class(plan, served.version, served.model.names))
        else:
            parts.append(ControlModel(plan, served.model))
    for part in parts:
        if not _has_regions(part, parts):
            name = part.plan.control.name
            unserved[name] = Unanswered("no_regions", f"no other control finds regions that {name!r} is asked for")
    parts = [part for part in parts if part.plan.control.name not in unserved]
    if not parts:
        return next(iter(unserved.values()))
    for name, failure in unserved.items():
        _warn_unserved(uid, name, failure.reason, failure.message)
    batch = max(part.model.batch for part in parts)
    return PredictContext(
        tuple(parts),
        stamp(versions),
        deadline,
        threading.Semaphore(2 + 2 * batch),
        settings.control_group,
        settings.order if settings.orders and any(part.plan.trained for part in parts) else "off",
        tuple(traces),
    )


def _has_regions(part: ControlModel, parts: Sequence[ControlModel]) -> bool:
    """Whether another control finds the regions that a per-region control classifies; true for other controls."""
    return not part.plan.control.per_region or any(
        other.plan.control.to_name == part.plan.control.to_name and not other.plan.control.per_region for other in parts
    )


def _no_class(plan: Plan, version: str, classes: Sequence[str]) -> str:
    """Why a version with these classes has nothing for the labels of a control, and what a person can do."""
    if plan.trained:
        learnt = ", ".join(map(repr, [name for name in classes if name][:_SHOWN]))
        return (
            f"{version} was trained on {learnt}, which the labeling config of {plan.control.name!r} does not have any "
            f"more: {way_back(plan.control, classes[0])}, or train a version"
        )
    return (
        f"{version} has no class that means a label of {plan.control.name!r}: name classes in predicted_values of its "
        "labels, or train a version"
    )


@lru_cache(maxsize=256)
def _warn_unclear(uid: str, control: str, classes: Sequence[tuple[str, tuple[str, ...]]]) -> None:
    """Log, once, the classes of base weights that match several labels."""
    for name, labels in classes[:_MAX_WARNINGS]:
        logger.warning(
            f"class {name!r} could mean {' or '.join(map(repr, labels))} of {control!r}: it is not used, unless "
            "predicted_values of one label name it",
            extra={"event": "class_unclear", "project": uid, "control": control, "class": name},
        )


@lru_cache(maxsize=256)
def _warn_unserved(uid: str, control: str, reason: str, message: str) -> None:
    """Log each reason once: it lasts until the config, the settings or the version change."""
    logger.warning(
        f"{control!r} is not predicted: {message}",
        extra={"event": "control_not_served", "project": uid, "control": control, "reason": reason},
    )
