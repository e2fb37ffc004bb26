"""`labelloop connect`: checks everything, then connects a project of Label Studio to labelloop, or changes nothing.

The webhook is added first: if Label Studio blocks private addresses, a refused webhook leaves nothing, while a refused
backend leaves a half-made one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from functions.train_trigger.status.findings import Finding
from infra.cli.checks import (
    Project,
    check_config,
    check_functions,
    check_label_studio,
    check_object_store,
    check_project,
    check_same_store,
    check_training_toggle,
    check_weights_asked,
)
from infra.cli.connected import remember
from infra.cli.events import prove_events
from infra.cli.findings import problems
from infra.cli.outbound import check_push, connect_outbound
from infra.cli.real_prediction import check_prediction
from infra.cli.sampling import settle_order
from infra.cli.smart_tools import check_smart, offer_click_tools, outbound_smart
from infra.cli.wiring import (
    TITLE,
    Addresses,
    Wiring,
    backend_state,
    choose_addresses,
    differences,
    explain_error,
    first_backend,
    is_labelloops,
    pushes,
    read_wiring,
    shown_predictions,
    wanted_backend,
    wanted_webhook,
)
from shared.errors import LabelStudioError
from shared.labelstudio.api import LabelStudio
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.projects import read_project

Tell = Callable[[Finding], None]


def connect(
    label_studio: LabelStudio,
    settings: Settings,
    project: int | str,
    *,
    store: ObjectStore,
    backend_url: str | None = None,
    webhook_url: str | None = None,
    inbound: bool = True,
    agrees: Callable[[str], bool] | None = None,
    tell: Tell = lambda _: None,
) -> list[Finding]:
    """Connect a project (id or uid) to labelloop; answers everything that was found and changed.

    `agrees`: asks a person whether the labeling config shall get a tool for clicks; None: it is not offered.
    `inbound` False: Label Studio gets no address to call; predictions are written into it, and the sweep asks it.
    `tell` is called with each finding at once. If a check finds a problem, nothing is changed; if Label Studio refuses
    a change, those before it are undone. A second call changes nothing. Raises SettingsError, LabelStudioError.
    """
    findings: list[Finding] = []

    def note(finding: Finding) -> Finding:
        findings.append(finding)
        tell(finding)
        return finding

    if note(check_label_studio(label_studio)).level == "problem":
        return findings
    finding, found = check_project(label_studio, str(project))
    note(finding)
    if found is not None:
        for warning in (
            *check_config(found),
            *check_weights_asked(settings, found),
            *check_training_toggle(found),
        ):
            note(warning)
    note(check_object_store(store))
    for finding in check_functions(settings) if inbound else (check_push(settings),):
        note(finding)
    if found is None or problems(findings):
        return findings
    if inbound:
        wiring = read_wiring(label_studio, found.id)
        addresses = choose_addresses(settings, wiring, backend_url, webhook_url)
        _Connection(label_studio, settings, found, wiring, addresses, note).make()
        if not problems(findings):
            _check_result(label_studio, settings, store, found, note)
        if not problems(findings):
            offered = () if agrees is None else (offer_click_tools(label_studio, store, found, agrees),)
            for finding in offered or check_smart(found):
                note(finding)
    else:
        for finding in outbound_smart(found):
            note(finding)
        connect_outbound(label_studio, settings, store, found, note)
    if not problems(findings):
        for finding in check_prediction(label_studio, settings, found, failed="warning"):
            note(finding)
    if not problems(findings) and (order := settle_order(label_studio, settings, store, found)):
        note(order)
    return findings


def connect_at_start(
    label_studio: LabelStudio, settings: Settings, project: str, *, store: ObjectStore, tell: Tell
) -> list[Finding]:
    """As `connect` without inbound calls, for `labelloop up --project`. A project that Label Studio calls stays so."""
    if (asked := check_label_studio(label_studio)).level == "problem":
        tell(asked)
        return [asked]
    _, found = check_project(label_studio, project)
    known = read_project(store, found.uid) if found else None
    if found is None or known is None or known.connection != "inbound":
        return connect(label_studio, settings, project, store=store, inbound=False, tell=tell)
    message = f"project {found.id} {found.title!r} is connected: Label Studio calls labelloop"
    finding = Finding("ok", "connection", message)
    tell(finding)
    return [finding]


@dataclass(slots=True)
class _Connection:
    """Makes the changes to one project, in their order."""

    label_studio: LabelStudio
    settings: Settings
    project: Project
    wiring: Wiring
    addresses: Addresses
    note: Callable[[Finding], Finding]
    webhook_changed: bool = field(default=False, init=False)

    def make(self) -> None:
        """Make all changes, noting each. Undoes the webhook's if the backend is refused. Raises LabelStudioError."""
        webhook = self._place_webhook()
        if webhook is None:
            return
        if not self._place_backend():
            if self.webhook_changed:
                self._take_webhook_back(webhook)
            return
        self._remove_superfluous(webhook)
        self._show_predictions()
        if self.webhook_changed:
            self.note(prove_events(self.label_studio, self.settings, self.project.id, self.addresses.webhook))

    def _place_webhook(self) -> dict[str, Any] | None:
        wanted = wanted_webhook(self.settings, self.addresses, self.project.id)
        present = self.wiring.webhook(wanted["url"])
        try:
            if present is None:
                made: dict[str, Any] = self.label_studio.request_json("POST", "/api/webhooks/", wanted)
                self.webhook_changed = True
                self.note(Finding("changed", "webhook", f"added the webhook {wanted['url']}"))
                return made
            changed = differences(present, wanted)
            if changed:
                present = self.label_studio.request_json("PATCH", f"/api/webhooks/{present['id']}/", wanted)
                self.webhook_changed = True
                self.note(Finding("changed", "webhook", f"set {', '.join(changed)} of the webhook {wanted['url']}"))
            else:
                self.note(Finding("ok", "webhook", f"the webhook {wanted['url']} is there, with its secret"))
            return present
        except LabelStudioError as error:
            self.note(explain_error("webhook", f"Label Studio refused the webhook {wanted['url']}", error))
            return None

    def _take_webhook_back(self, webhook: dict[str, Any]) -> None:
        path = f"/api/webhooks/{webhook['id']}/"
        before = next((other for other in self.wiring.webhooks if other["id"] == webhook["id"]), None)
        if before is None:
            self.label_studio.request_json("DELETE", path)
        else:
            self.label_studio.request_json("PATCH", path, before)
        self.note(Finding("warning", "webhook", "the webhook is as it was before, since the backend was refused"))

    def _place_backend(self) -> bool:
        wanted = wanted_backend(self.settings, self.addresses, self.project)
        present = self.wiring.backend
        try:
            if present is None:
                self.label_studio.request_json("POST", "/api/ml/", wanted)
                self.note(Finding("changed", "backend", f"added the backend {TITLE!r} at {wanted['url']}"))
                return True
            changed = differences(present, wanted) or (["password"] if present["state"] != "CO" else [])
            if changed:
                self.label_studio.request_json("PATCH", f"/api/ml/{present['id']}", wanted)
                self.note(Finding("changed", "backend", f"set {', '.join(changed)} of the backend at {wanted['url']}"))
            return True
        except LabelStudioError as error:
            self.note(explain_error("backend", f"Label Studio refused the backend {wanted['url']}", error))
            self._remove_half_made_backends()
            return False

    def _remove_half_made_backends(self) -> None:
        known = {backend["id"] for backend in self.wiring.backends}
        for backend in read_wiring(self.label_studio, self.project.id).backends:
            if backend["id"] not in known:
                self.label_studio.request_json("DELETE", f"/api/ml/{backend['id']}")

    def _remove_superfluous(self, webhook: dict[str, Any]) -> None:
        now = read_wiring(self.label_studio, self.project.id)
        urls = {
            backend["url"] for wiring in (self.wiring, now) for backend in wiring.backends if backend["title"] == TITLE
        }
        for other in now.superfluous(urls, webhook):
            self.label_studio.request_json("DELETE", f"/api/webhooks/{other['id']}/")
            self.note(Finding("changed", "webhook", f"removed the webhook {other['url']}, which is not needed"))

    def _show_predictions(self) -> None:
        path = f"/api/projects/{self.project.id}/"
        answer = self.label_studio.get_json(path)
        wanted: dict[str, Any] = {"show_collab_predictions": True}
        shown = answer.get("model_version") or ""
        written_ahead = shown != TITLE and is_labelloops(shown, self.project)
        if not shown or not answer.get("show_collab_predictions") or (written_ahead and not pushes(self.settings)):
            wanted["model_version"] = TITLE
        if differences(answer, wanted):
            self.label_studio.request_json("PATCH", path, wanted)
            self.note(Finding("changed", "predictions", "annotators are shown live predictions of labelloop now"))


def _check_result(
    label_studio: LabelStudio,
    settings: Settings,
    store: ObjectStore,
    project: Project,
    note: Callable[[Finding], Finding],
) -> None:
    """Check the connection by what Label Studio says of it, and store the project's title."""
    wiring = read_wiring(label_studio, project.id)
    assert wiring.backend is not None
    note(backend_state(settings, wiring.backend))
    if (first := first_backend(wiring)) is not None:
        note(first)
    _, now = check_project(label_studio, project.uid)
    if now is not None:
        note(shown_predictions(now))
    same = note(check_same_store(store, project))
    if same.level == "ok":
        _, push_changed = remember(store, settings, project, "inbound")
        if push_changed:
            note(_ahead(pushes(settings)))


def _ahead(push: bool) -> Finding:
    if push:
        message = (
            "a job writes predictions of all tasks without annotations into Label Studio, now and for each new version "
            "and task, and then shows annotators exactly that version (the project's model_version); "
            "LABELLOOP_PUSH=off and `labelloop connect` end that"
        )
    else:
        message = "no more predictions are written ahead: Label Studio asks for them while people label"
    return Finding("changed", "push", message)
