"""Whether what a control is served with is for its YOLO task and has a class for each label. Pure."""

from collections.abc import Sequence
from pathlib import Path

from functions.train_trigger.status.findings import Finding
from shared.labelstudio.class_labels import class_labels, unclear_classes
from shared.labelstudio.controls import Control
from shared.state.base_weights import BaseWeights
from shared.state.versions import Manifest
from shared.yolo.base_weights import base_weights_for, model_path_problem


def check_control(
    control: Control, serving: Manifest | None, base: BaseWeights | None, base_weights: str
) -> list[Finding]:
    """Check one control. `serving`: what its pointer says. `base`: the weights it begins with, as the store has them.

    `base_weights`: LABELLOOP_BASE_WEIGHTS.
    """
    problem = model_path_problem(control, base_weights)
    findings = [Finding("warning", "config", problem)] if problem else []
    if serving is None or serving.yolo_task != control.yolo_task:
        return findings + _check_base_weights(control, base, base_weights_for(control, base_weights))
    findings += _compare_labels(control, f"v{serving.version}", serving.labels, trained=True)
    if serving.graph is None:
        message = f"v{serving.version} of {control.name!r} is of an older labelloop and has no graph"
        findings.append(Finding("warning", "models", message, "a job makes it: see `labelloop status`"))
    return findings


def _check_base_weights(control: Control, record: BaseWeights | None, weights: str) -> list[Finding]:
    """Check the base weights, which are served before the first version."""
    name, task = Path(weights).name, control.yolo_task
    if record is None:
        message = f"the base weights {name} of {control.name!r} are not in the store: nothing is predicted yet"
        return [Finding("warning", "labels", message, f"a job makes them, or do it now: labelloop base add {weights}")]
    if record.yolo_task == task:
        return _compare_labels(control, name, record.names, trained=False)
    message = f"{name} is a {record.yolo_task} model, {control.name!r} needs {task}: nothing is predicted by it"
    remedy = f"training starts a {task} model from it; or list such weights too in LABELLOOP_BASE_WEIGHTS"
    return [Finding("warning", "labels", message, remedy)]


def _compare_labels(control: Control, source: str, classes: Sequence[str], *, trained: bool) -> list[Finding]:
    findings = []
    known = {label for label in class_labels(classes, control, trained=trained) if label is not None}
    unclear = {} if trained else unclear_classes(classes, control)
    for name, labels in unclear.items():
        could_be = " or ".join(map(repr, labels))
        message = f"{source} has a class {name!r} that could be {could_be} of {control.name!r}: it means none of them"
        remedy = "name it in predicted_values of one <Label>, as it is written here"
        findings.append(Finding("warning", "labels", message, remedy))
    missing = [label for label in control.class_names if label not in known]
    if not missing:
        return [*findings, Finding("ok", "labels", f"{source} has a class for every label of {control.name!r}")]
    if known:
        message = f"{source} has no class for {', '.join(map(repr, missing))} of {control.name!r}: never predicted"
    elif control.yolo_task == "classify" or trained:
        message = f"{source} has no class for any label of {control.name!r}: nothing is predicted"
    else:
        message = (
            f"{source} has no class for any label of {control.name!r}: it proposes regions without regard to class"
        )
    remedy = "training teaches them"
    if not trained:
        remedy += "; until then name classes of the weights in predicted_values of the <Label>"
    return [*findings, Finding("warning", "labels", message, remedy)]
