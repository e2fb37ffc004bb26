"""The connection of a project of Label Studio to labelloop: ML backend, webhook, and settings that show predictions.

This file has what should be, what is, and the difference; `connect` removes the difference, `doctor` reports it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from functions.train_trigger.status.findings import Finding
from infra.cli.checks import Project
from shared.errors import LabelStudioError
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.smart import draws
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.model_version import is_ours
from shared.state.projects import read_project
from shared.web.access import SECRET_HEADER

TITLE = "labelloop"
"""Title of the backend. A project with this model_version asks the backend for predictions while people label."""

ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "TASKS_CREATED",  # an import may bring annotations, and says so by this event alone
    "TASKS_DELETED",
    "PROJECT_UPDATED",  # the labels may have changed; `connect` causes this event, too, to see it arrive
)
"""Events after which a training may be due."""

_CONNECTED = "CO"
_TAG = re.compile("<[^>]*>")
_BLOCKED = ("reserved network address", "must not resolve to local or private network")
_BLOCKED_REMEDY = (
    "connect with --no-inbound, so that Label Studio need not call labelloop; or start Label Studio with "
    "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false (both), or give labelloop an address that is not "
    "private: --backend-url, --webhook-url"
)
_REMEDIES = (
    (_BLOCKED[0], _BLOCKED_REMEDY),
    (_BLOCKED[1], _BLOCKED_REMEDY),
    (
        "Enter a valid URL",
        "Label Studio refuses webhook addresses whose host has no dot (http://trigger:9091): give the host a name "
        "with a dot (a network alias such as trigger.labelloop) or its IP address, and pass it as --webhook-url",
    ),
    (
        "authentication parameters",
        "the function has another LABELLOOP_BASIC_AUTH_USER or LABELLOOP_BASIC_AUTH_PASSWORD than this command",
    ),
    (
        "resolve hostname",
        "pass --backend-url with a name that the machine of Label Studio knows (inside Docker: host.docker.internal)",
    ),
    (
        "connect to ML backend",
        "Label Studio itself must reach this address within 1 s: pass --backend-url with the one it can reach "
        "(inside Docker: http://host.docker.internal:PORT, with `labelloop up --host 0.0.0.0`)",
    ),
    ("permission", "the user of LABEL_STUDIO_API_KEY must be allowed to change the project"),
)


@dataclass(frozen=True, slots=True)
class Wiring:
    """The backends and webhooks of one project in Label Studio, by ascending id."""

    backends: tuple[dict[str, Any], ...]
    webhooks: tuple[dict[str, Any], ...]

    @property
    def backend(self) -> dict[str, Any] | None:
        """The backend of labelloop; None if there is none."""
        return next((backend for backend in self.backends if backend["title"] == TITLE), None)

    def doubles(self) -> list[dict[str, Any]]:
        """Other backends of labelloop at the same address: Label Studio on SQLite may have made one twice."""
        ours = self.backend
        return [
            other
            for other in self.backends
            if ours and other["id"] != ours["id"] and (other["title"], other["url"]) == (TITLE, ours["url"])
        ]

    def webhook(self, url: str) -> dict[str, Any] | None:
        """The webhook of labelloop: the one with that address, else one with labelloop's secret header."""
        ours = [webhook for webhook in self.webhooks if webhook["url"] == url or SECRET_HEADER in webhook["headers"]]
        return min(ours, key=lambda webhook: webhook["url"] != url, default=None)

    def superfluous(self, backend_urls: set[str], webhook: dict[str, Any]) -> list[dict[str, Any]]:
        """Webhooks to remove: those that Label Studio made for these backends, older ones of labelloop, and doubles."""
        automatic = {f"{url.rstrip('/')}/webhook" for url in backend_urls} | {webhook["url"]}
        return [
            other
            for other in self.webhooks
            if other["id"] != webhook["id"] and (other["url"] in automatic or SECRET_HEADER in other["headers"])
        ]


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses at which Label Studio reaches labelloop."""

    backend: str
    webhook: str


def read_wiring(label_studio: LabelStudio, project_id: int) -> Wiring:
    """Ask Label Studio, which then calls /health and /setup of the project's backends. Raises LabelStudioError."""
    asked = {"project": str(project_id)}
    backends = label_studio.get_json("/api/ml/", asked)
    webhooks = label_studio.get_json("/api/webhooks/", asked)
    return Wiring(
        tuple(sorted(backends, key=lambda backend: backend["id"])),
        tuple(sorted(webhooks, key=lambda webhook: webhook["id"])),
    )


def remove_wiring(label_studio: LabelStudio, project_id: int, note: Callable[[Finding], object]) -> None:
    """Remove labelloop's backends and webhooks, noting each. Raises LabelStudioError."""
    wiring = read_wiring(label_studio, project_id)
    backends = [backend for backend in wiring.backends if backend["title"] == TITLE]
    automatic = {f"{backend['url'].rstrip('/')}/webhook" for backend in backends}
    for webhook in wiring.webhooks:
        if SECRET_HEADER in webhook["headers"] or webhook["url"] in automatic:
            label_studio.request_json("DELETE", f"/api/webhooks/{webhook['id']}/")
            note(Finding("changed", "webhook", f"removed the webhook {webhook['url']}"))
    for backend in backends:
        label_studio.request_json("DELETE", f"/api/ml/{backend['id']}")
        note(Finding("changed", "backend", f"removed the backend at {backend['url']}"))


def choose_addresses(settings: Settings, wiring: Wiring, backend_url: str | None, webhook_url: str | None) -> Addresses:
    """The addresses that a person gave, else those that work already, else those of the functions.

    Either function may be the backend. If only a backend address is given, webhooks go there too: predict hands them on
    to train_trigger. Raises SettingsError.
    """
    settings.require("predict_url", "train_trigger_url")
    assert settings.predict_url
    assert settings.train_trigger_url
    connected = wiring.backend if wiring.backend and wiring.backend["state"] == _CONNECTED else None
    backend = (backend_url or (connected["url"] if connected else settings.predict_url)).rstrip("/")
    own = f"{settings.train_trigger_url}/webhook"
    if webhook_url is None and backend == settings.predict_url:
        webhook_url = own
    if webhook_url is None and backend_url is None and (present := wiring.webhook(own)):
        webhook_url = present["url"]
    return Addresses(backend, webhook_url or f"{backend}/webhook")


def another_labelloop(
    settings: Settings, store: ObjectStore, project: Project, addresses: Addresses, *, given: bool
) -> Finding | None:
    """A problem if the backend that is connected is another labelloop's: our secrets would cut off its events.

    Label Studio has just called its /setup, which keeps the project in its store. `given`: a person chose the address.
    """
    own = (settings.predict_url, settings.train_trigger_url)
    if given or addresses.backend in own or read_project(store, project.uid) is not None:
        return None
    return Finding(
        "problem",
        "backend",
        f"project {project.id} is connected to another labelloop, at {addresses.backend}: its /setup left nothing in "
        f"the store {store.url}",
        "stop that one with its `labelloop disconnect`, or take the project over: `labelloop connect --project "
        f"{project.id} --backend-url {settings.predict_url}`; if both are the same labelloop, give its functions and "
        "this command the same LABELLOOP_STORE",
    )


def wanted_backend(settings: Settings, addresses: Addresses, project: Project) -> dict[str, Any]:
    """The backend as it should be: a body for /api/ml."""
    wanted: dict[str, Any] = {
        "project": project.id,
        "title": TITLE,
        "url": addresses.backend,
        "is_interactive": any(map(draws, project.controls)),
        "auth_method": "NONE",
    }
    if settings.basic_auth_password is not None:
        wanted |= {
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": settings.basic_auth_user,
            "basic_auth_pass": settings.basic_auth_password.get_secret_value(),
        }
    return wanted


def wanted_webhook(settings: Settings, addresses: Addresses, project_id: int) -> dict[str, Any]:
    """The webhook as it should be: a body for /api/webhooks."""
    secret = settings.webhook_secret
    return {
        "project": project_id,
        "url": addresses.webhook,
        "send_payload": True,
        "send_for_all_actions": False,
        "is_active": True,
        "headers": {SECRET_HEADER: secret.get_secret_value()} if secret else {},
        "actions": list(ACTIONS),
    }


def differences(present: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Names of the fields whose values differ from `wanted`, without the password, which Label Studio never shows."""
    return [
        name
        for name, value in wanted.items()
        if name != "basic_auth_pass" and _comparable(present.get(name)) != _comparable(value)
    ]


def backend_state(settings: Settings, backend: dict[str, Any]) -> Finding:
    """Whether Label Studio reached the backend when it called it just now."""
    if backend["state"] == _CONNECTED:
        version = backend.get("model_version") or "no version"
        light = backend["url"].rstrip("/") == settings.train_trigger_url
        awake = " (functions/train_trigger, which answers while predict sleeps)" if light else ""
        return Finding(
            "ok", "backend", f"Label Studio reaches the backend at {backend['url']}{awake}, which answers {version}"
        )
    reason = backend.get("error_message") or "no answer to /health within 1 s"
    return explain(
        "backend", f"Label Studio cannot use the backend at {backend['url']}: {reason}", "connect to ML backend"
    )


def first_backend(wiring: Wiring) -> Finding | None:
    """A problem if another backend comes before labelloop's: Label Studio asks the first one only."""
    first = wiring.backends[0] if wiring.backends else None
    if first is None or first["title"] == TITLE:
        return None
    message = f"Label Studio asks only the first backend for predictions: {first['title']!r} at {first['url']}"
    return Finding("problem", "backend", message, "delete that one under Settings → Model")


def second_backend(wiring: Wiring) -> Finding | None:
    """A warning if a backend is there twice."""
    if not (doubles := wiring.doubles()):
        return None
    message = f"Label Studio has {len(doubles) + 1} backends of labelloop at {doubles[0]['url']}"
    return Finding("warning", "backend", message, "`labelloop connect` removes the others")


def pushes(settings: Settings) -> bool:
    """Whether predictions of connected projects are written into Label Studio ahead."""
    return settings.push == "on" and not settings.dummy


def is_labelloops(model_version: str, project: Project) -> bool:
    """Whether a project's model_version is what `connect` or a job sets: live predictions, or those written ahead."""
    return model_version == TITLE or is_ours(model_version, [control.name for control in project.controls])


def shown_predictions(project: Project) -> Finding:
    """Whether annotators see predictions, and of which model."""
    shown, version = project.answer.get("show_collab_predictions"), project.answer.get("model_version") or ""
    if shown and version == TITLE:
        return Finding("ok", "predictions", "annotators are shown live predictions of labelloop")
    if shown and is_labelloops(version, project):
        return Finding("ok", "predictions", f"annotators are shown the predictions of {version}, written ahead")
    if shown and version:
        return Finding(
            "warning",
            "predictions",
            f"annotators are shown predictions of {version!r}, so Label Studio does not ask labelloop while they label",
            f"choose {TITLE!r} under Settings → Annotation → Use predictions to prelabel tasks to change that",
        )
    return Finding("problem", "predictions", "annotators are shown no predictions", "run `labelloop connect`")


def explain(check: str, message: str, fallback: str = "") -> Finding:
    """A problem with a remedy, looked up by a known part of `message`, or if there is none, of `fallback`."""
    for text in (message, fallback):
        for part, remedy in _REMEDIES:
            if part in text:
                return Finding("problem", check, message, remedy)
    return Finding("problem", check, message)


def explain_error(check: str, asked: str, error: LabelStudioError) -> Finding:
    """A problem with a remedy: what was asked of Label Studio, and what it answered."""
    return explain(check, f"{asked}: {_TAG.sub('', str(error))}")


def _comparable(value: Any) -> Any:
    if isinstance(value, list):
        return sorted(value)
    return value.rstrip("/") if isinstance(value, str) else value
