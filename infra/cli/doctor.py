"""`labelloop doctor`: every check, nothing changed: what is wrong and what to set."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from infra.cli.checks import (
    Project,
    check_functions,
    check_label_studio,
    check_object_store,
    check_project,
    check_same_store,
)
from infra.cli.findings import Finding, problems
from infra.cli.wiring import (
    Wiring,
    backend_state,
    choose_addresses,
    differences,
    first_backend,
    read_wiring,
    shown_predictions,
    wanted_backend,
    wanted_webhook,
)
from shared.errors import ImageError, LabelStudioError, SettingsError
from shared.images.decode import decode
from shared.images.fetch import ImageFetcher
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.config import Control
from shared.labelstudio.regions import class_labels
from shared.objectstore import ObjectStore
from shared.registry import Registry
from shared.settings import Settings

Tell = Callable[[Finding], None]
_IMAGE_SECONDS = 30.0
_CONNECT = "run `labelloop connect`"


def examine(
    label_studio: LabelStudio,
    settings: Settings,
    store: ObjectStore,
    project: str | None,
    *,
    tell: Tell = lambda _: None,
) -> list[Finding]:
    """Check everything that can be checked; with a project (id or uid) its wiring, images and labels too.

    Changes nothing but for objects of the store's self-test, which it removes. `tell` hears of each finding at once.
    """
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        tell(finding)

    note(check_label_studio(label_studio))
    reachable = not problems(findings)
    note(check_object_store(store))
    for finding in check_functions(settings):
        note(finding)
    if project is None or not reachable:
        return findings
    finding, found = check_project(label_studio, project)
    note(finding)
    if found is not None:
        for finding in (
            *_check_wiring(label_studio, settings, store, found),
            *_check_images(label_studio, settings, found),
            *_check_labels(settings, store, found),
        ):
            note(finding)
    return findings


def _check_wiring(label_studio: LabelStudio, settings: Settings, store: ObjectStore, project: Project) -> list[Finding]:
    try:
        wiring = read_wiring(label_studio, project.id)
        addresses = choose_addresses(settings, wiring, None, None)
    except (LabelStudioError, SettingsError) as error:
        return [Finding("problem", "backend", str(error))]
    if wiring.backend is None:
        return [Finding("problem", "backend", f"project {project.id} has no backend 'labelloop'", _CONNECT)]
    findings = [backend_state(wiring.backend)]
    if not problems(findings):
        findings.append(check_same_store(store, project))
    changed = differences(wiring.backend, wanted_backend(settings, addresses, project.id))
    if changed:
        findings.append(
            Finding("problem", "backend", f"{', '.join(changed)} of the backend are not what they should be", _CONNECT)
        )
    if (first := first_backend(wiring)) is not None:
        findings.append(first)
    findings.append(_check_webhook(wiring, wanted_webhook(settings, addresses, project.id)))
    return [*findings, shown_predictions(project)]


def _check_webhook(wiring: Wiring, wanted: dict[str, Any]) -> Finding:
    present = wiring.webhook(wanted["url"])
    if present is None:
        return Finding("problem", "webhook", f"Label Studio has no webhook {wanted['url']}", _CONNECT)
    changed = differences(present, wanted)
    if changed:
        message = f"{', '.join(changed)} of the webhook {present['url']} are not what they should be"
        return Finding("problem", "webhook", message, _CONNECT)
    return Finding("ok", "webhook", f"the webhook {present['url']} is there, with its secret")


def _check_images(label_studio: LabelStudio, settings: Settings, project: Project) -> list[Finding]:
    """Fetch and decode one real image of each key of the task data that a control looks at."""
    asked = {"project": str(project.id), "page_size": "1", "resolve_uri": "false"}  # as /predict gets them
    try:
        tasks = label_studio.get_json("/api/tasks", asked)["tasks"]
    except LabelStudioError as error:
        return [Finding("problem", "image", str(error))]
    if not tasks:
        return [Finding("warning", "image", f"project {project.id} has no task yet, so no image was fetched")]
    fetcher = ImageFetcher(settings, label_studio)
    try:
        keys = dict.fromkeys(control.value_key for control in project.controls)
        return [_check_image(fetcher, settings, tasks[0], key) for key in keys]
    finally:
        fetcher.close()


def _check_image(fetcher: ImageFetcher, settings: Settings, task: dict[str, Any], key: str) -> Finding:
    where = f"the image of task {task['id']} ({key})"
    started = time.monotonic()
    try:
        data = fetcher.fetch(task["data"].get(key), task_id=task["id"], deadline=started + _IMAGE_SECONDS)
        height, width, _ = decode(data, settings.image_max_pixels).shape
    except ImageError as error:
        remedies = {
            "refused": "if that address is yours, name it in LABELLOOP_ALLOWED_PRIVATE_HOSTS",
            "unauthorized": "the user of LABEL_STUDIO_API_KEY must be allowed to see the file",
            "too_large": "see LABELLOOP_IMAGE_MAX_BYTES and LABELLOOP_IMAGE_MAX_PIXELS",
        }
        return Finding("problem", "image", f"{where}: {error}", remedies.get(error.reason, ""))
    took = time.monotonic() - started
    return Finding("ok", "image", f"{where} was fetched: {width}×{height} pixels, {len(data):,} bytes, {took:.1f} s")


def _check_labels(settings: Settings, store: ObjectStore, project: Project) -> list[Finding]:
    """Which labels the model that is served has no class for."""
    registry = Registry(store, project.uid)
    findings = []
    for control in project.controls:
        manifest = registry.serving(control.name)
        if manifest is not None:
            findings.append(_compare_labels(control, f"v{manifest.version}", manifest.labels))
            continue
        source, classes = settings.base_weights, _classes_of(settings.base_weights)
        if classes is None:
            message = (
                f"{source} is not a file here (ultralytics fetches it by name), so its classes were not compared with "
                f"the labels of {control.name!r}"
            )
            findings.append(Finding("warning", "labels", message))
        else:
            findings.append(_compare_labels(control, source, classes))
    return findings


def _compare_labels(control: Control, source: str, classes: Sequence[str]) -> Finding:
    known = {label for label in class_labels(classes, control) if label is not None}
    missing = [label for label in control.label_values if label not in known]
    if not missing:
        return Finding("ok", "labels", f"{source} has a class for every label of {control.name!r}")
    if known:
        message = f"{source} has no class for {', '.join(map(repr, missing))} of {control.name!r}: never predicted"
    else:
        message = f"{source} has no class for any label of {control.name!r}: it proposes boxes without regard to class"
    remedy = "training teaches them; until then name classes of the weights in predicted_values of the <Label>"
    return Finding("warning", "labels", message, remedy)


def _classes_of(weights: str) -> tuple[str, ...] | None:
    """The class names in a weights file, read by ultralytics; None if there is no such file here."""
    if not Path(weights).is_file():
        return None
    from ultralytics import YOLO  # type: ignore[attr-defined]  # takes seconds

    return tuple(YOLO(weights).names.values())
