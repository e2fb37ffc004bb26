"""The Authorization header for Label Studio, from either kind of its API keys.

A legacy token (40 hex digits) is sent as it is. A personal access token is a JWT *refresh* token: Label Studio refuses
it as a credential and gives, at `/api/token/refresh/`, an access token that lives 300 s.
"""

import base64
import json
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from shared.errors import LabelStudioError

_USUAL_LIFETIME = 300.0  # seconds, if an access token does not say
_MARGIN = 30.0  # seconds before the end at which an access token is not used any more
_FAILED = 5.0  # seconds for which a failure is answered again: Label Studio is not asked once more for every image


@dataclass(eq=False, slots=True)
class _Refresh:
    """One exchange, under way or over."""

    access: "Future[str]" = field(default_factory=Future)
    good_until: float = math.inf  # of time.monotonic(): clocks of two machines differ, durations do not

    def over(self, refused: str | None) -> bool:
        """Whether another one is due."""
        if not self.access.done():
            return False
        if time.monotonic() >= self.good_until:
            return True
        return self.access.exception() is None and refused == _bearer(self.access.result())


class Authorization:
    """Thread-safe: however many threads ask at once, one exchange is made, and each waits for it as long as it may."""

    def __init__(self, api_key: str, exchange: Callable[[str], str], *, failed_for: float = _FAILED) -> None:
        """`exchange` turns a refresh token into an access token, in bounded time; its errors come out of `header`.

        A failure is answered again for `failed_for` seconds.
        """
        self._api_key = api_key
        self._exchange = exchange
        self._failed_for = failed_for
        self._lock = threading.Lock()
        self._refresh: _Refresh | None = None
        self._access: str | None = None
        self.refreshable = bool(_claims(api_key))

    def header(self, *, refused: str | None = None, until: float = math.inf) -> str:
        """The header's value. `refused`: a value that Label Studio answered 401 to; another one is got, if there is.

        Raises LabelStudioError if there is none by `until`, a time.monotonic() value, and what the exchange raised.
        """
        if not self.refreshable:
            return f"Token {self._api_key}"
        with self._lock:
            refresh = self._refresh
            if refresh is None or refresh.over(refused):
                refresh = self._start()
        left = max(until - time.monotonic(), 0.0)
        try:
            return _bearer(refresh.access.result(timeout=min(left, threading.TIMEOUT_MAX)))
        except TimeoutError as error:
            raise LabelStudioError("Label Studio did not give an access token in time") from error

    def _start(self) -> _Refresh:
        refresh = _Refresh()
        try:
            threading.Thread(target=self._run, args=(refresh,), name="token", daemon=True).start()
        except RuntimeError as error:  # this machine has no thread to give
            raise LabelStudioError(f"no access token can be asked for: {error}") from error
        self._refresh = refresh
        return refresh

    def _run(self, refresh: _Refresh) -> None:
        asked = time.monotonic()
        try:
            access = self._exchange(self._api_key)
        except Exception as error:  # noqa: BLE001 - raised where `header` was called
            refresh.good_until = time.monotonic() + self._failed_for
            refresh.access.set_exception(error)
            return
        lifetime = _lifetime(access)
        refresh.good_until = asked + lifetime - min(_MARGIN, lifetime / 2)
        self._access = access
        refresh.access.set_result(access)

    def redact(self, text: str) -> str:
        """`text` without any token."""
        for secret in (self._api_key, self._access):
            if secret:
                text = text.replace(secret, "***")
        return text


def _bearer(access: str) -> str:
    return f"Bearer {access}"


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
