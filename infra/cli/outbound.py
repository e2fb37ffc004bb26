"""Projects that are connected without inbound calls: nothing in Label Studio knows an address of labelloop.

The sweep asks Label Studio for changes, and a job writes predictions into it (docs/prelabel.md).
"""

from collections.abc import Callable
from typing import Any

from functions.train_trigger.status.findings import Finding
from infra.cli.checks import Project
from infra.cli.connected import remember
from infra.cli.wiring import TITLE, differences, pushes, remove_wiring, shown_predictions
from shared.labelstudio.api import LabelStudio
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.model_version import is_ours


def check_push(settings: Settings) -> Finding:
    """Whether predictions are written ahead: such a project has no others."""
    if pushes(settings):
        return Finding("ok", "push", "predictions are written into Label Studio ahead")
    return Finding(
        "problem",
        "push",
        f"with {'LABELLOOP_DUMMY (--dummy)' if settings.dummy else 'LABELLOOP_PUSH=off'} no predictions are written "
        "ahead, and without an address of labelloop Label Studio cannot ask for any: none would ever be shown",
        "set LABELLOOP_PUSH=on without LABELLOOP_DUMMY, or `labelloop connect` without --no-inbound",
    )


def connect_outbound(
    label_studio: LabelStudio,
    settings: Settings,
    store: ObjectStore,
    project: Project,
    note: Callable[[Finding], object],
) -> None:
    """Record the project as connected, noting what is changed. Raises LabelStudioError, StoreError."""
    remove_wiring(label_studio, project.id, note)  # a webhook that nobody answers costs annotators a second each time
    wanted: dict[str, Any] = {"show_collab_predictions": True}
    if project.answer.get("model_version") == TITLE:
        wanted["model_version"] = ""
    if differences(project.answer, wanted):
        label_studio.request_json("PATCH", f"/api/projects/{project.id}/", wanted)
        note(Finding("changed", "predictions", "annotators are shown predictions as soon as a job has written them"))
    changed = remember(store, settings, project, "outbound")
    note(Finding("changed" if any(changed) else "ok", "connection", _sentence(settings)))


def check_outbound(settings: Settings, project: Project) -> list[Finding]:
    """What `labelloop doctor` says of such a project in place of its backend and webhook."""
    return [Finding("ok", "connection", _sentence(settings)), check_push(settings), _shown(project)]


def _sentence(settings: Settings) -> str:
    return (
        "connected without inbound calls: Label Studio gets neither backend nor webhook; the sweep asks it for changes "
        f"(`labelloop up`: every {settings.sweep_interval:g} s), and a job writes predictions of all tasks without "
        "annotations into it, now and for each new version and task, and then shows annotators exactly that version"
    )


def _shown(project: Project) -> Finding:
    shown = project.answer.get("model_version") or ""
    written = is_ours(shown, [control.name for control in project.controls])
    if written or not project.answer.get("show_collab_predictions"):
        return shown_predictions(project)
    return Finding(
        "warning",
        "predictions",
        "annotators are shown no predictions of labelloop yet" + (f", but those of {shown!r}" if shown else ""),
        "`labelloop status` shows the job that writes them; it is started by the sweep of `labelloop up`, or of a "
        "scheduler that calls train_trigger, with the same LABELLOOP_STORE",
    )
