"""Calls to the functions by labelloop itself, with the credentials that Label Studio is given."""

from typing import Any, Literal
from urllib.parse import urlsplit

import requests

from shared.settings import Settings
from shared.web.http import LOCAL, SECRET_HEADER


def call(
    method: Literal["GET", "POST"],
    url: str,
    settings: Settings,
    credentials: Literal["none", "basic", "secret"],
    *,
    timeout: float,
    body: Any = None,
) -> requests.Response:
    """The answer, whatever its status; redirects are not followed. Raises requests.RequestException.

    `timeout` in seconds. Credentials that are not set are not sent.
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
