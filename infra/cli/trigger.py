"""What `labelloop train`, `prelabel`, `stop` and `open` ask of train_trigger, and how they tell what it answers."""

import webbrowser
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import requests

from infra.cli.environment import trigger_url
from shared.errors import LaunchError
from shared.settings import Settings
from shared.web.peer import call

_REFUSALS = (requests.codes.not_found, requests.codes.conflict)  # of what was asked, not of the function
_TIMEOUT = 30.0  # seconds; the function may have to start, and claims and launches inside the request


def ask(settings: Settings, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Post to a route of train_trigger (see its `routes`); answers its JSON. Raises SettingsError, LaunchError."""
    reply = _reply(settings, path, body)
    try:
        answered = reply.json()
    except requests.JSONDecodeError:
        answered = {}
    if reply.status_code == requests.codes.unauthorized:
        raise LaunchError(
            f"functions/train_trigger at {settings.train_trigger_url} refuses our credentials: set "
            "LABELLOOP_BASIC_AUTH_USER and LABELLOOP_BASIC_AUTH_PASSWORD as the function has them"
        )
    if not reply.ok or not isinstance(answered, dict):
        reason = answered.get("error") or answered.get("reason") if isinstance(answered, dict) else None
        if reason and reply.status_code in _REFUSALS:
            raise LaunchError(str(reason))
        raise LaunchError(f"functions/train_trigger answered {reply.status_code}: {reason or reply.text[:200]}")
    return answered


def run_sentence(body: Mapping[str, Any]) -> str:
    """The answer of `/train` or `/prelabel`, for people."""
    run_id = str(body.get("job", "")).rpartition("/")[2]
    if body.get("status") == "active":
        return f"run {run_id} is active already"
    return f"run {run_id} {body.get('status')}: {body.get('reason')}"


def page_address(settings: Settings, uid: str | None) -> str:
    """The address of the page, or of one project on it. Raises SettingsError without TRAIN_TRIGGER_URL."""
    return f"{trigger_url(settings)}/ui" + (f"/project?{urlencode({'project': uid})}" if uid else "")


def open_page(settings: Settings, address: str) -> bool:
    """Open it in this machine's browser, if train_trigger answers. False without a browser. Raises LaunchError."""
    status = _reply(settings, "/health").status_code
    if status != requests.codes.ok:
        raise LaunchError(
            f"functions/train_trigger at {settings.train_trigger_url} answered {status}: its log says why"
        )
    return webbrowser.open(address)


def _reply(settings: Settings, path: str, body: dict[str, Any] | None = None) -> requests.Response:
    """Without a body, of an open route."""
    url = f"{trigger_url(settings)}{path}"
    try:
        if body is None:
            return call("GET", url, settings, "none", timeout=_TIMEOUT)
        return call("POST", url, settings, "basic", timeout=_TIMEOUT, body=body)
    except requests.RequestException as error:
        raise LaunchError(
            f"functions/train_trigger is not reachable at TRAIN_TRIGGER_URL={settings.train_trigger_url} "
            f"({type(error).__name__}): start it (`labelloop up` does on this machine) or set its address"
        ) from error
