"""`labelloop doctor`: makes every check, says what is wrong and what to set, and changes nothing."""

import contextlib
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from functions.train_trigger.status.findings import Finding
from infra.cli.checks import (
    Project,
    check_config,
    check_functions,
    check_label_studio,
    check_launcher,
    check_object_store,
    check_project,
    check_same_store,
    check_training_toggle,
)
from infra.cli.findings import problems
from infra.cli.held_labels import held_labels
from infra.cli.model_checks import check_models
from infra.cli.outbound import check_outbound
from infra.cli.real_prediction import check_prediction, first_task
from infra.cli.smart_tools import check_smart, outbound_smart
from infra.cli.wiring import (
    Wiring,
    backend_state,
    choose_addresses,
    differences,
    first_backend,
    read_wiring,
    second_backend,
    shown_predictions,
    wanted_backend,
    wanted_webhook,
)
from shared.errors import ImageError, LabelStudioError, SettingsError, StoreRefusal
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.controls import Control
from shared.labelstudio.task_values import file_of
from shared.media.decode import decode
from shared.media.fetch import ImageFetcher
from shared.media.video import open_video
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.projects import projects, read_project

Tell = Callable[[Finding], None]
_NAMED = 10  # projects
_FETCH_SECONDS = 30.0  # for one image or video
_CONNECT = "run `labelloop connect`"
_CONNECT_EITHER_WAY = "run `labelloop up --project N`, or `labelloop connect` where Label Studio is to call labelloop"


def examine(
    label_studio: LabelStudio,
    settings: Settings,
    store: ObjectStore,
    project: str | None,
    *,
    environ: Mapping[str, str] = MappingProxyType({}),
    tell: Tell = lambda _: None,
) -> list[Finding]:
    """Check everything; of a project (id or uid; None: the only one of the store) its connection, image and labels too.

    Changes nothing, except for objects of the store's self-test, which it removes. `environ`: variables with a
    launcher's credentials. `tell` is called with each finding at once.
    """
    findings: list[Finding] = []

    def note(finding: Finding) -> Finding:
        findings.append(finding)
        tell(finding)
        return finding

    note(check_label_studio(label_studio))
    reachable = not problems(findings)
    stored = note(check_object_store(store)).level == "ok"
    if project is None and stored:
        project, others = _only_known(store)
        for finding in others:
            note(finding)
    about, found = check_project(label_studio, project) if project is not None and reachable else (None, None)
    record, held, connection = None, dict[str, dict[str, int]](), "inbound"
    if found and stored:
        try:
            record = read_project(store, found.uid)
            connection = record.connection if record else "inbound"
        except StoreRefusal as error:
            note(Finding("problem", "records", str(error)))
            connection = ""
    functions = check_functions(settings, inbound=connection != "outbound")
    for finding in (*functions, *check_launcher(settings, environ)):
        note(finding)
    if about is not None:
        note(about)
    if found is not None:
        if stored:
            try:
                held = held_labels(label_studio, store, found)
            except StoreRefusal as error:
                note(Finding("problem", "records", str(error)))
        if connection == "inbound":
            connected = _check_wiring(label_studio, settings, store, found)
        elif connection == "outbound":
            connected = [*check_outbound(settings, found), *outbound_smart(found)]
        elif not connection:  # it is not known
            connected = []
        else:
            message = f"project {found.id} was disconnected: no training starts by itself, nothing is predicted ahead"
            connected = [Finding("problem", "connection", message, _CONNECT_EITHER_WAY)]
        for finding in (
            *check_config(found),
            *connected,
            *check_training_toggle(found),
            *_check_media(label_studio, settings, found),
            *(check_prediction(label_studio, settings, found) if not problems(functions) else ()),
            *check_models(settings, store, found, held),
        ):
            note(finding)
    return findings


def _only_known(store: ObjectStore) -> tuple[str | None, list[Finding]]:
    """The uid of the store's only project; of several none, and that one can be named."""
    known = list(projects(store))
    if len(known) < 2:
        return next(iter(known), None), []
    message = f"the store holds {len(known)} projects: {', '.join(known[:_NAMED])}{' …' * (len(known) > _NAMED)}"
    return None, [Finding("ok", "project", message, "`labelloop doctor --project N` checks one of them, too")]


def _check_wiring(label_studio: LabelStudio, settings: Settings, store: ObjectStore, project: Project) -> list[Finding]:
    try:
        wiring = read_wiring(label_studio, project.id)
        addresses = choose_addresses(settings, wiring, None, None)
    except (LabelStudioError, SettingsError) as error:
        return [Finding("problem", "backend", str(error))]
    if wiring.backend is None:
        return [Finding("problem", "backend", f"project {project.id} has no backend 'labelloop'", _CONNECT_EITHER_WAY)]
    findings = [backend_state(settings, wiring.backend)]
    if not problems(findings):
        findings.append(check_same_store(store, project))
    changed = differences(wiring.backend, wanted_backend(settings, addresses, project))
    if changed:
        findings.append(
            Finding("problem", "backend", f"{', '.join(changed)} of the backend are not what they should be", _CONNECT)
        )
    findings += [finding for finding in (first_backend(wiring), second_backend(wiring)) if finding is not None]
    findings.append(_check_webhook(wiring, wanted_webhook(settings, addresses, project.id)))
    return [*findings, shown_predictions(project), *check_smart(project)]


def _check_webhook(wiring: Wiring, wanted: dict[str, Any]) -> Finding:
    present = wiring.webhook(wanted["url"])
    if present is None:
        return Finding("problem", "webhook", f"Label Studio has no webhook {wanted['url']}", _CONNECT)
    changed = differences(present, wanted)
    if changed:
        message = f"{', '.join(changed)} of the webhook {present['url']} are not what they should be"
        return Finding("problem", "webhook", message, _CONNECT)
    return Finding("ok", "webhook", f"the webhook {present['url']} is there, as it should be")


def _check_media(label_studio: LabelStudio, settings: Settings, project: Project) -> list[Finding]:
    """Fetch and decode the images and videos of one task: one for each key of its data that a control uses."""
    try:
        task = first_task(label_studio, project)
    except LabelStudioError as error:
        return [Finding("problem", "image", str(error))]
    if task is None:
        return [Finding("warning", "image", f"project {project.id} has no task yet, so no image was fetched")]
    looked_at = {(control.media, control.value): control for control in project.controls}
    return [_check_file(label_studio, settings, task, control) for control in looked_at.values()]


def _check_file(label_studio: LabelStudio, settings: Settings, task: dict[str, Any], control: Control) -> Finding:
    where = f"the {control.media} of task {task['id']} ({control.value})"
    started = time.monotonic()
    video = control.media == "video"
    fetcher = ImageFetcher(settings, label_studio, limit="video_max_bytes" if video else "image_max_bytes")
    try:
        address = file_of(control.value, task["data"], task["id"])
        data = fetcher.fetch(address, task_id=task["id"], deadline=started + _FETCH_SECONDS)
        height, width = (_first_frame if video else decode)(data, settings.image_max_pixels).shape[:2]
    except ImageError as error:
        remedies = {
            "refused": "if that address is yours, name it in LABELLOOP_ALLOWED_PRIVATE_HOSTS",
            "unauthorized": "the user of LABEL_STUDIO_API_KEY must be allowed to see the file",
            "too_large": f"see LABELLOOP_{control.media.upper()}_MAX_BYTES and LABELLOOP_IMAGE_MAX_PIXELS",
        }
        return Finding("problem", "image", f"{where}: {error}", remedies.get(error.reason, ""))
    finally:
        fetcher.close()
    took = time.monotonic() - started
    return Finding("ok", "image", f"{where} was fetched: {width}×{height} pixels, {len(data):,} bytes, {took:.1f} s")


def _first_frame(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    with open_video(data, max_pixels=max_pixels) as video, contextlib.closing(video.frames()) as frames:
        return next(frames).image
