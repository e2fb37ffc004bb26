"""`labelloop disconnect`: takes back what `connect` made. Labels, stored predictions and models stay."""

from collections.abc import Callable

from infra.cli.checks import check_project
from infra.cli.findings import Finding
from infra.cli.wiring import TITLE, read_wiring
from shared.labelstudio.api import LabelStudio
from shared.objectstore import ObjectStore
from shared.state.model_version import is_ours
from shared.state.projects import read_project, write_project
from shared.web.access import SECRET_HEADER


def disconnect(
    label_studio: LabelStudio, project: int | str, *, store: ObjectStore, tell: Callable[[Finding], None]
) -> list[Finding]:
    """Remove backend and webhook of a project (id or uid), and show annotators no predictions of labelloop any more.

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
    wiring = read_wiring(label_studio, found.id)
    backends = [backend for backend in wiring.backends if backend["title"] == TITLE]
    automatic = {f"{backend['url'].rstrip('/')}/webhook" for backend in backends}
    for webhook in wiring.webhooks:
        if SECRET_HEADER in webhook["headers"] or webhook["url"] in automatic:
            label_studio.request_json("DELETE", f"/api/webhooks/{webhook['id']}/")
            note(Finding("changed", "webhook", f"removed the webhook {webhook['url']}"))
    for backend in backends:
        label_studio.request_json("DELETE", f"/api/ml/{backend['id']}")
        note(Finding("changed", "backend", f"removed the backend at {backend['url']}"))
    shown = found.answer.get("model_version") or ""
    if shown == TITLE or is_ours(shown, [control.name for control in found.controls]):
        label_studio.request_json("PATCH", f"/api/projects/{found.id}/", {"model_version": ""})
        note(Finding("changed", "predictions", "annotators are shown no predictions; those that are stored stay"))
    return findings
