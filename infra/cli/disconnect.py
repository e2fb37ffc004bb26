"""`labelloop disconnect`: takes back what `connect` made. Labels and models stay, stored predictions unless asked."""

from collections.abc import Callable
from contextlib import suppress

from functions.train_trigger.status.findings import Finding
from infra.cli.checks import Project, check_label_studio, check_project
from infra.cli.sampling import put_order_back
from infra.cli.smart_tools import remove_click_tools
from infra.cli.wiring import is_labelloops, remove_wiring
from jobs.prelabel.target import LabelStudioTarget
from shared.errors import ClaimLost, LabelStudioError
from shared.labelstudio.api import LabelStudio
from shared.objectstore import ObjectStore
from shared.state import claims, jobs_fields
from shared.state.jobs import Jobs
from shared.state.projects import read_project, write_project


def disconnect(
    label_studio: LabelStudio,
    project: int | str,
    *,
    store: ObjectStore,
    tell: Callable[[Finding], None],
    predictions: bool = False,
) -> list[Finding]:
    """Remove backend and webhook of a project (id or uid), show annotators what they were shown before, and start no
    training by itself. With `predictions` remove those of labelloop too, but for those of annotated tasks.

    `tell` is called with each finding at once. A second call changes nothing. Raises LabelStudioError, StoreError.
    """
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        tell(finding)

    if (asked := check_label_studio(label_studio)).level == "problem":
        note(asked)
        return findings
    finding, found = check_project(label_studio, str(project))
    if found is None:
        note(finding)
        return findings
    record = read_project(store, found.uid)
    if record is not None and record.push:  # first: else a job might show its version once more
        write_project(store, found.uid, push=False)
        note(Finding("changed", "push", "no more predictions are written ahead"))
        _end_writing(store, found.uid)
    remove_wiring(label_studio, found.id, note)
    if removed := remove_click_tools(label_studio, found):
        note(removed)
    if is_labelloops(found.answer.get("model_version") or "", found):
        note(_show_as_before(label_studio, found.id, record.shown_before if record else ""))
    if record is not None and record.hidden_before:
        if found.answer.get("show_collab_predictions", True):
            label_studio.request_json("PATCH", f"/api/projects/{found.id}/", {"show_collab_predictions": False})
            note(Finding("changed", "predictions", "predictions are hidden from annotators, as before"))
        write_project(store, found.uid, hidden_before=False)
    if order := put_order_back(label_studio, store, found):
        note(order)
    if record is not None and record.connection != "none":
        write_project(store, found.uid, connection="none")
        note(Finding("changed", "connection", "no training starts by itself any more"))
    if predictions and (removed := _remove_predictions(label_studio, found)):
        note(removed)
        Jobs(store, found.uid, prelabelling=True).update(jobs_fields.forget_written)
    return findings


def _end_writing(store: ObjectStore, uid: str) -> None:
    """The job that writes predictions finds its claim gone, within a minute."""
    jobs = Jobs(store, uid, prelabelling=True)
    if claim := jobs.read().training:
        with suppress(ClaimLost):  # it ends just now
            jobs.update(claims.stop, claim.run_id, "by `labelloop disconnect`")


def _remove_predictions(label_studio: LabelStudio, project: Project) -> Finding | None:
    """Those of tasks without annotations, which do not refer to them. None: there are none."""
    target, total = LabelStudioTarget(label_studio, project.id), 0
    while removed := target.prune((), [control.name for control in project.controls]):
        total += removed
    if not total:
        return None
    said = f"removed {total} predictions of labelloop from tasks without annotations; those of annotated tasks stay"
    return Finding("changed", "predictions", said)


def _show_as_before(label_studio: LabelStudio, project_id: int, model_version: str) -> Finding:
    path = f"/api/projects/{project_id}/"
    try:
        label_studio.request_json("PATCH", path, {"model_version": model_version})
    except LabelStudioError as error:
        if error.status != 400 or not model_version:
            raise
        label_studio.request_json("PATCH", path, {"model_version": ""})  # there are no predictions of it any more
        model_version = ""
    shown = f"the predictions of {model_version!r}, as before" if model_version else "no predictions"
    return Finding("changed", "predictions", f"annotators are shown {shown}; those that are stored stay")
