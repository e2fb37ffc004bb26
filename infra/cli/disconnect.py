"""`labelloop disconnect`: takes back what `connect` made. Labels, stored predictions and models stay."""

from collections.abc import Callable

from infra.cli.checks import check_project
from infra.cli.findings import Finding
from infra.cli.wiring import TITLE, remove_wiring
from shared.labelstudio.api import LabelStudio
from shared.objectstore import ObjectStore
from shared.state.model_version import is_ours
from shared.state.projects import read_project, write_project


def disconnect(
    label_studio: LabelStudio, project: int | str, *, store: ObjectStore, tell: Callable[[Finding], None]
) -> list[Finding]:
    """Remove backend and webhook of a project (id or uid), show annotators no predictions of labelloop any more, and
    start no training by itself.

    `tell` is called with each finding at once. A second call changes nothing. Raises LabelStudioError, StoreError.
    """
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        tell(finding)

    finding, found = check_project(label_studio, str(project))
    if found is None:
        note(finding)
        return findings
    record = read_project(store, found.uid)
    if record is not None and record.push:  # first: else a job might show its version once more
        write_project(store, found.uid, label_config=record.label_config, push=False)
        note(Finding("changed", "push", "no more predictions are written ahead"))
    remove_wiring(label_studio, found.id, note)
    shown = found.answer.get("model_version") or ""
    if shown == TITLE or is_ours(shown, [control.name for control in found.controls]):
        label_studio.request_json("PATCH", f"/api/projects/{found.id}/", {"model_version": ""})
        note(Finding("changed", "predictions", "annotators are shown no predictions; those that are stored stay"))
    if record is not None and record.connection != "none":
        write_project(store, found.uid, label_config=record.label_config, connection="none")
        note(Finding("changed", "connection", "no training starts by itself any more"))
    return findings
