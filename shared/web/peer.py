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


def straight_session() -> requests.Session:
    """Takes no proxy and no credentials (~/.netrc) from the environment: for servers of this machine or its network."""
    session = requests.Session()
    session.trust_env = False
    return session


def call(
    method: Literal["GET", "POST"],
    url: str,
    settings: Settings,
    credentials: Literal["none", "basic", "secret"],
    *,
    timeout: float,
    body: Any = None,
    straight: bool = False,
) -> requests.Response:
    """Ask a function at `url`; answers its response, whatever the status. Raises requests.RequestException.

    `timeout` in seconds. Redirects are not followed; credentials that are not set are not sent. `straight`: never by a
    proxy, as on this machine.
    """
    password, secret = settings.basic_auth_password, settings.webhook_secret
    straight = straight or urlsplit(url).hostname in LOCAL
    with straight_session() if straight else requests.Session() as session:
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
