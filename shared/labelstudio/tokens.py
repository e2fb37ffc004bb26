"""The Authorization header for Label Studio, from either kind of its API keys.

A legacy token (40 hex digits) is sent as it is. A personal access token is a JWT *refresh* token: Label Studio refuses
it as a credential and gives, at `/api/token/refresh/`, an access token that lives 300 s.
"""

import base64
import json
import threading
import time
from collections.abc import Callable
from typing import Any

_USUAL_LIFETIME = 300.0  # seconds, if an access token does not say
_MARGIN = 30.0  # seconds before the end at which an access token is not used any more


class Authorization:
    """Thread-safe: however many threads ask at once, one of them refreshes."""

    def __init__(self, api_key: str, exchange: Callable[[str], str]) -> None:
        """`exchange` turns a refresh token into an access token; its errors come out of `header`."""
        self._api_key = api_key
        self._exchange = exchange
        self._lock = threading.Lock()
        self._access: str | None = None
        self._usable_until = 0.0  # of time.monotonic(): clocks of two machines differ, durations do not
        self.refreshable = bool(_claims(api_key))

    def header(self, *, refused: str | None = None) -> str:
        """The header's value. `refused`: a value that Label Studio answered 401 to; another one is got, if there is."""
        if not self.refreshable:
            return f"Token {self._api_key}"
        with self._lock:
            current = f"Bearer {self._access}"
            if self._access is None or time.monotonic() >= self._usable_until or refused == current:
                asked = time.monotonic()
                access = self._exchange(self._api_key)
                lifetime = _lifetime(access)
                self._usable_until = asked + lifetime - min(_MARGIN, lifetime / 2)
                self._access = access
            return f"Bearer {self._access}"

    def redact(self, text: str) -> str:
        """`text` without any token."""
        for secret in (self._api_key, self._access):
            if secret:
                text = text.replace(secret, "***")
        return text


def _claims(token: str) -> dict[str, Any]:
    """What a JWT says, unverified; empty for anything else."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}


def _lifetime(access: str) -> float:
    claims = _claims(access)
    try:
        lifetime = float(claims["exp"]) - float(claims["iat"])
    except (KeyError, TypeError, ValueError):
        return _USUAL_LIFETIME
    return lifetime if lifetime > 0 else _USUAL_LIFETIME
