"""Calls from labelloop's own programs to its functions, with the credentials that Label Studio has."""

from typing import Any, Literal
from urllib.parse import urlsplit

import requests

from shared.settings import Settings
from shared.web.access import SECRET_HEADER

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Names of this machine: requests to them ignore proxies of the environment, which must not see credentials."""
ASLEEP = (429, 502, 503, 504)
"""HTTP statuses that the platform answers while a function that scales to zero has no instance."""


def straight_session() -> requests.Session:
    """A session for local servers: it ignores proxies of the environment and the credentials of ~/.netrc."""
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
    """The response of a function at `url`, of any status. Raises requests.RequestException.

    `body` is sent as JSON; `timeout` is in seconds. Redirects are not followed; credentials without a setting are not
    sent. `straight`: ignore proxies, as for this machine.
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
