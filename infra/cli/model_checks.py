"""Checks of the models of a project: are they for the right YOLO task, and do they have a class for each label?"""

from collections.abc import Sequence
from pathlib import Path

from infra.cli.checks import Project
from infra.cli.findings import Finding
from shared.labelstudio.class_labels import class_labels, unclear_classes
from shared.labelstudio.controls import Control
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.side_by_side import side_by_side
from shared.state.base_weights import find_base_weights
from shared.state.registry import Registry
from shared.yolo.base_weights import base_weights_for, model_path_problem


def check_models(settings: Settings, store: ObjectStore, project: Project) -> list[Finding]:
    """Check for each control the weights that its config asks for, and that its model has a class for each label.

    And that all models of the project can be in memory at once.
    """
    registry = Registry(store, project.uid)
    findings = []
    if len(project.controls) > settings.loaded_models:
        message = (
            f"project {project.id} has {len(project.controls)} controls, LABELLOOP_LOADED_MODELS keeps "
            f"{settings.loaded_models} models: the others are loaded again for every request"
        )
        findings.append(Finding("warning", "models", message, "set it to as many as there is memory for"))
    serving = side_by_side(registry.serving, [control.name for control in project.controls])
    for control, manifest in zip(project.controls, serving, strict=True):
        if problem := model_path_problem(control, settings.base_weights):
            findings.append(Finding("warning", "config", problem))
        if manifest is not None and manifest.yolo_task == control.yolo_task:
            findings += _compare_labels(control, f"v{manifest.version}", manifest.labels, trained=True)
            if manifest.graph is None:
                message = f"v{manifest.version} of {control.name!r} is of an older labelloop and has no graph"
                findings.append(Finding("warning", "models", message, "a job makes it: see `labelloop status`"))
        else:
            findings += _check_base_weights(store, control, base_weights_for(control, settings.base_weights))
    return findings


def _check_base_weights(store: ObjectStore, control: Control, weights: str) -> list[Finding]:
    """Check the base weights, which are served before the first version."""
    name, task, record = Path(weights).name, control.yolo_task, find_base_weights(store, weights)
    if record is None:
        message = f"the base weights {name} of {control.name!r} are not in the store: nothing is predicted yet"
        return [Finding("warning", "labels", message, f"a job makes them, or do it now: labelloop base add {weights}")]
    findings = []
    if problem := record.problem_with(weights):
        findings.append(Finding("warning", "labels", problem))
    if record.yolo_task == task:
        return [*findings, *_compare_labels(control, name, record.names, trained=False)]
    message = f"{name} is a {record.yolo_task} model, {control.name!r} needs {task}: nothing is predicted by it"
    remedy = f"training starts a {task} model from it; or list such weights too in LABELLOOP_BASE_WEIGHTS"
    return [*findings, Finding("warning", "labels", message, remedy)]


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
