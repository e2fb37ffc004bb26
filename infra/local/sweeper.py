"""Calls train_trigger's /sweep periodically, as a cloud's scheduler does."""

import threading

import requests

from infra.local.processes import Say
from shared.settings import Settings
from shared.web.peer import call

_TIMEOUT = 120.0  # seconds; a sweep checks every project


def sweep_until(ended: threading.Event, settings: Settings, say: Say) -> None:
    """Sweep now and every `settings.sweep_interval` seconds until `ended`; `say` the first of failures in a row."""
    url, failing = f"{settings.train_trigger_url}/sweep", False
    while not ended.is_set():
        try:
            answer = call("POST", url, settings, "secret", timeout=_TIMEOUT, straight=True)
            problem = None if answer.ok else f"it answered {answer.status_code} {answer.text[:200]}"
        except requests.RequestException as error:
            problem = type(error).__name__
        if problem and not failing and not ended.is_set():
            say(f"the sweep of train_trigger failed ({problem}); trying again")
        failing = bool(problem)
        ended.wait(settings.sweep_interval)
