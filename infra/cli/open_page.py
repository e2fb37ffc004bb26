"""`labelloop open`: the page of train_trigger in this machine's browser."""

import webbrowser
from urllib.parse import urlencode

import requests

from infra.cli.environment import trigger_url
from shared.errors import LaunchError
from shared.settings import Settings
from shared.web.peer import call

_TIMEOUT = 30.0  # seconds; the function may have to start


def page_address(settings: Settings, uid: str | None) -> str:
    """The address of the page, or of one project on it. Raises SettingsError without TRAIN_TRIGGER_URL."""
    return f"{trigger_url(settings)}/ui" + (f"/project?{urlencode({'project': uid})}" if uid else "")


def open_page(settings: Settings, address: str) -> bool:
    """Open it, if train_trigger answers. False if there is no browser here. Raises LaunchError."""
    url = f"{settings.train_trigger_url}/health"
    try:
        status = call("GET", url, settings, "none", timeout=_TIMEOUT).status_code
    except requests.RequestException as error:
        raise LaunchError(
            f"functions/train_trigger is not reachable at TRAIN_TRIGGER_URL={settings.train_trigger_url} "
            f"({type(error).__name__}): start it (`labelloop up` does on this machine) or set its address"
        ) from error
    if status != requests.codes.ok:
        raise LaunchError(
            f"functions/train_trigger at {settings.train_trigger_url} answered {status}: its log says why"
        )
    return webbrowser.open(address)
