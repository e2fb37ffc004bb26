"""Whether what a control is served with is for its YOLO task and has a class for each label. Pure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from functions.train_trigger.status.findings import Finding
from shared.labelstudio.class_labels import class_labels, unclear_classes
from shared.labelstudio.controls import Control
from shared.labelstudio.held_labels import count_of, outside, way_back
from shared.state.base_weights import BaseWeights
from shared.state.versions import Manifest
from shared.yolo.base_weights import base_weights_for, model_path_problem

_LOST = 10  # labels that are named, of a control
Held = Mapping[str, int]
"""Label → annotated tasks that hold it; also labels that the config does not have (any more)."""


def check_control(
    control: Control,
    serving: Manifest | None,
    base: BaseWeights | None,
    base_weights: str,
    held: Held | None = None,
) -> list[Finding]:
    """Check one control. `serving`: what its pointer says. `base`: the weights it begins with, as the store has them.

    `base_weights`: LABELLOOP_BASE_WEIGHTS. `held`: None if nobody has counted.
    """
    problem = model_path_problem(control, base_weights)
    findings = [Finding("warning", "config", problem)] if problem else []
    trained = serving if serving and serving.yolo_task == control.yolo_task else None
    findings += _lost_labels(control, trained, held or {})
    if trained is None:
        return findings + _check_base_weights(control, base, base_weights_for(control, base_weights))
    findings += _compare_labels(control, f"v{trained.version}", trained.labels, trained=True, held=held)
    if trained.graph is None:
        message = f"v{trained.version} of {control.name!r} is of an older labelloop and has no graph"
        findings.append(Finding("warning", "models", message, "a job makes it: see `labelloop status`"))
    return findings


def silent(control: Control, serving: Manifest | None, base: BaseWeights | None, base_weights: str) -> str:
    """Why nothing is predicted for a control, so that every task is answered empty; empty if something can be.

    `serving`: the version, None where base weights are served. The other arguments as for `check_control`.
    """
    name, task = Path(base_weights_for(control, base_weights)).name, control.yolo_task
    if serving is not None:
        known = any(class_labels(serving.labels, control, trained=True))
        return "" if known else f"v{serving.version} has no class for any label"
    if base is None:
        return f"its base weights {name} are not in the store: `labelloop base add {name}` makes them, or a job"
    if base.yolo_task != task:
        return f"{name} is a {base.yolo_task} model, {task} is needed: the first version will predict"
    if task == "classify" and not any(class_labels(base.names, control, trained=False)):
        return f"{name} has no class that means a label: the first version will predict"
    return ""


def _lost_labels(control: Control, serving: Manifest | None, held: Held) -> list[Finding]:
    """Labels that annotations or the version hold, and the config does not: they were renamed or removed."""
    known = {*control.class_names, *control.point_names, *control.label_values}
    learnt = [label for label in serving.labels if label not in known] if serving else []
    in_tasks = outside(control, held)
    findings = []
    for label in list(dict.fromkeys([*in_tasks, *learnt]))[:_LOST]:
        tasks, version = in_tasks.get(label, 0), f"v{serving.version}" if serving and label in learnt else ""
        who = count_of(tasks, version) if tasks else f"{version} was trained on"
        message = f"{who} {label!r}, which is not in the labeling config of {control.name!r}"
        remedy = _what_follows(control, label, learnt=bool(version), tasks=tasks)
        findings.append(Finding("warning", "labels", message, remedy))
    if len(in_tasks) > _LOST:
        more = (
            f"and {len(in_tasks) - _LOST} more labels of annotations are not in the labeling config of {control.name!r}"
        )
        findings.append(Finding("warning", "labels", more))
    return findings


def _what_follows(control: Control, label: str, *, learnt: bool, tasks: int) -> str:
    """What to do about a lost label, and what happens otherwise."""
    otherwise = ["it is not predicted"] if learnt else []
    if tasks and control.yolo_task == "classify":
        otherwise.append("the next training leaves out what has no other label")
    elif tasks:
        otherwise.append(
            "the next training leaves out pictures that hold nothing else, and in the others learns such objects as "
            "background"
        )
    return f"{way_back(control, label)}; else {', and '.join(otherwise)}"


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


def _compare_labels(
    control: Control, source: str, classes: Sequence[str], *, trained: bool, held: Held | None = None
) -> list[Finding]:
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
    remedy = _teaching(missing, held) if trained and control.yolo_task != "pose" else "training teaches them"
    if not trained:
        remedy += "; until then name classes of the weights in predicted_values of the <Label>"
    return [*findings, Finding("warning", "labels", message, remedy)]


def _teaching(missing: Sequence[str], held: Held | None) -> str:
    """When the labels that a version does not know are learnt."""
    new = [label for label in missing if not held.get(label)] if held is not None else []
    if not new:
        return "the next training teaches them"
    rest = "" if len(new) == len(missing) else "; the next training teaches the others"
    return f"no annotated task holds {' or '.join(map(repr, new))} yet: training teaches what is annotated{rest}"
