"""Checks of the models of a project: are they for the right YOLO task, and do they have a class for each label?"""

from collections.abc import Mapping
from types import MappingProxyType

from functions.train_trigger.status.findings import Finding
from functions.train_trigger.status.model_checks import Held, check_control
from infra.cli.checks import Project
from shared.errors import NotFound, StoreError, StoreRefusal
from shared.labelstudio.controls import Control
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.side_by_side import side_by_side
from shared.state.base_weights import BaseWeights, find_base_weights
from shared.state.registry import Registry
from shared.state.versions import Manifest
from shared.yolo.base_weights import base_weights_for


def check_models(
    settings: Settings, store: ObjectStore, project: Project, held: Mapping[str, Held] = MappingProxyType({})
) -> list[Finding]:
    """Check for each control the weights that its config asks for, and that its model has a class for each label.

    And that all models of the project can be in memory at once. `held`: control → what is known of its annotations.
    """
    registry = Registry(store, project.uid)
    findings = []
    if len(project.controls) > settings.loaded_models:
        message = (
            f"project {project.id} has {len(project.controls)} controls, LABELLOOP_LOADED_MODELS keeps "
            f"{settings.loaded_models} models: the others are loaded again for every request"
        )
        findings.append(Finding("warning", "models", message, "set it to as many as there is memory for"))

    def read(control: Control) -> tuple[Manifest | None, BaseWeights | None] | StoreError:
        weights = base_weights_for(control, settings.base_weights)
        try:
            return registry.serving(control.name), find_base_weights(store, weights)
        except (StoreRefusal, NotFound) as error:
            return error

    for control, found in zip(project.controls, side_by_side(read, project.controls), strict=True):
        if isinstance(found, StoreError):
            findings.append(Finding("problem", "records", str(found)))
            continue
        (manifest, base), weights = found, base_weights_for(control, settings.base_weights)
        trained = manifest is not None and manifest.yolo_task == control.yolo_task
        if base and not trained and (problem := base.problem_with(weights)):
            findings.append(Finding("warning", "labels", problem))
        findings += check_control(control, manifest, base, settings.base_weights, held.get(control.name))
    return findings
