"""`labelloop train`, `prelabel` and `stop`: ask train_trigger for a run now, as Start Training does, or for its end."""

from collections.abc import Mapping
from typing import Any

import requests

from infra.cli.environment import trigger_url
from shared.errors import LaunchError
from shared.settings import Settings
from shared.web.peer import call

_REFUSALS = (requests.codes.not_found, requests.codes.conflict)  # of what was asked, not of the function
_TIMEOUT = 30.0  # seconds; the function claims and launches inside the request


def start_training(settings: Settings, uid: str) -> dict[str, Any]:
    """Ask for a run without regard to thresholds; if a run is active, the answer is about that one.

    Answers the function's JSON, in which `job` is `<uid>/<run_id>`. Raises SettingsError, LaunchError.
    """
    return _ask(settings, "/train", {"project": uid})


def write_predictions(settings: Settings, uid: str) -> dict[str, Any]:
    """Ask for the run that writes predictions ahead; if one is active, the answer is about that one.

    Answers and raises as `start_training` does.
    """
    return _ask(settings, "/prelabel", {"project": uid})


def run_sentence(body: Mapping[str, Any]) -> str:
    """The answer of `start_training` or `write_predictions`, for people."""
    run_id = str(body.get("job", "")).rpartition("/")[2]
    if body.get("status") == "active":
        return f"run {run_id} is active already"
    return f"run {run_id} {body.get('status')}: {body.get('reason')}"


def stop_runs(settings: Settings, uid: str, only: str | None) -> dict[str, Any]:
    """Ask for the end of the active runs of a project, or of `only` the "training" or the "predictions".

    Answers the function's JSON, in which `stopped` lists the runs. Raises SettingsError, LaunchError.
    """
    return _ask(settings, "/stop", {"project": uid, "only": only})


def _ask(settings: Settings, path: str, body: dict[str, Any]) -> dict[str, Any]:
    url = f"{trigger_url(settings)}{path}"
    try:
        reply = call("POST", url, settings, "basic", timeout=_TIMEOUT, body=body)
    except requests.RequestException as error:
        raise LaunchError(
            f"functions/train_trigger is not reachable at TRAIN_TRIGGER_URL={settings.train_trigger_url} "
            f"({type(error).__name__}): start it (`labelloop up` does on this machine) or set its address"
        ) from error
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
