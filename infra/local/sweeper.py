"""The scheduler of the local emulation: POST /sweep of train_trigger, again and again, as a cloud's scheduler would."""

import threading

import requests

from infra.local.processes import Say
from shared.settings import Settings
from shared.web.access import SECRET_HEADER

_TIMEOUT = 120.0  # seconds; a sweep looks at every project


def sweep_until(ended: threading.Event, settings: Settings, say: Say) -> None:
    """Sweep every `settings.sweep_interval` seconds until `ended`. Of failures in a row the first is said."""
    session = requests.Session()
    session.trust_env = False  # no proxy between this machine and itself
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else ""
    failing = False
    while not ended.wait(settings.sweep_interval):
        try:
            answer = session.post(
                f"{settings.train_trigger_url}/sweep",
                headers={SECRET_HEADER: secret},
                timeout=_TIMEOUT,
                allow_redirects=False,
            )
            problem = None if answer.ok else f"it answered {answer.status_code} {answer.text[:200]}"
        except requests.RequestException as error:
            problem = type(error).__name__
        if problem and not failing and not ended.is_set():
            say(f"the sweep of train_trigger failed ({problem}); it is tried again")
        failing = bool(problem)
