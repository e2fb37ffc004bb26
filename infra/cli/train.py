"""`labelloop train`: asks train_trigger for a run now, as the Start Training button does."""

from typing import Any

import requests

from shared.errors import LaunchError
from shared.settings import Settings
from shared.web.peer import call

_TIMEOUT = 30.0  # seconds; the function claims and launches inside the request


def start_training(settings: Settings, uid: str) -> dict[str, Any]:
    """Ask for a run without regard to thresholds; if a run is active, the answer is about that one.

    Answers the function's JSON, in which `job` is `<uid>/<run_id>`. Raises SettingsError, LaunchError.
    """
    settings.require("train_trigger_url")
    url = f"{settings.train_trigger_url}/train"
    try:
        reply = call("POST", url, settings, "basic", timeout=_TIMEOUT, body={"project": uid})
    except requests.RequestException as error:
        raise LaunchError(
            f"functions/train_trigger is not reachable at TRAIN_TRIGGER_URL={settings.train_trigger_url} "
            f"({type(error).__name__}): start it (`labelloop up` does on this machine) or set its address"
        ) from error
    try:
        body = reply.json()
    except requests.JSONDecodeError:
        body = {}
    if reply.status_code == requests.codes.unauthorized:
        raise LaunchError(
            f"functions/train_trigger at {settings.train_trigger_url} refuses our credentials: set "
            "LABELLOOP_BASIC_AUTH_USER and LABELLOOP_BASIC_AUTH_PASSWORD as the function has them"
        )
    if not reply.ok or not isinstance(body, dict):
        reason = body.get("error") or body.get("reason") if isinstance(body, dict) else None
        raise LaunchError(f"functions/train_trigger answered {reply.status_code}: {reason or reply.text[:200]}")
    return body
