"""Changes the wiring of a project in Label Studio to what it should be (`infra.cli.wiring`).

The webhook comes first: if Label Studio blocks private addresses, a refused webhook leaves nothing behind, while a
refused backend leaves a half-made one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from functions.train_trigger.status.findings import Finding
from infra.cli.checks import (
    Project,
)
from infra.cli.events import prove_events
from infra.cli.wiring import (
    TITLE,
    Addresses,
    Wiring,
    differences,
    explain_error,
    is_labelloops,
    pushes,
    read_wiring,
    wanted_backend,
    wanted_webhook,
)
from shared.errors import LabelStudioError
from shared.labelstudio.api import LabelStudio
from shared.settings import Settings


@dataclass(slots=True)
class WiringChanges:
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
                self.note(Finding("ok", "webhook", f"the webhook {wanted['url']} is there, as it should be"))
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
        for double in now.doubles():
            self.label_studio.request_json("DELETE", f"/api/ml/{double['id']}")
            self.note(Finding("changed", "backend", f"removed a second backend at {double['url']}"))
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
