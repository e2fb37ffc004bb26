"""Calls from labelloop's own programs to its functions, with the credentials that Label Studio has."""

from typing import Any, Literal
from urllib.parse import urlsplit

import requests

from shared.settings import Settings
from shared.web.access import SECRET_HEADER

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Hosts that are this machine: no proxy of the environment is used for them, nor sees the credentials."""
ASLEEP = (429, 502, 503, 504)
"""Statuses that the front of a function which scales to zero answers while no instance is there to answer."""


def call(
    method: Literal["GET", "POST"],
    url: str,
    settings: Settings,
    credentials: Literal["none", "basic", "secret"],
    *,
    timeout: float,
    body: Any = None,
) -> requests.Response:
    """Ask a function at `url`; answers its response, whatever the status. Raises requests.RequestException.

    `timeout` in seconds. Redirects are not followed; credentials that are not set are not sent.
    """
    password, secret = settings.basic_auth_password, settings.webhook_secret
    with requests.Session() as session:
        session.trust_env = urlsplit(url).hostname not in LOCAL
        return session.request(
            method,
            url,
            json=body,
            auth=(settings.basic_auth_user, password.get_secret_value())
            if credentials == "basic" and password
            else None,
            headers={SECRET_HEADER: secret.get_secret_value()} if credentials == "secret" and secret else None,
            timeout=timeout,
            allow_redirects=False,
        )
