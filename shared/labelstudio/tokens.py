"""The Authorization header for Label Studio, from either kind of its API keys.

A legacy token (40 hex digits) is sent as it is. A personal access token is a JWT *refresh* token: Label Studio refuses
it as a credential, and exchanges it at `/api/token/refresh/` for an access token that is valid for 300 s.
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

_USUAL_LIFETIME = 300.0  # seconds, if an access token does not name its own
_MARGIN = 30.0  # seconds before it expires at which an access token is replaced
_FAILED = 5.0  # seconds before a failed exchange is retried, so that not every image asks Label Studio


@dataclass(eq=False, slots=True)
class _Refresh:
    """One exchange of the refresh token for an access token, running or ended."""

    access: "Future[str]" = field(default_factory=Future)
    good_until: float = math.inf  # time.monotonic(), since the clocks of two machines differ

    def over(self, refused: str | None) -> bool:
        """Whether another exchange is needed. `refused`: as in `Authorization.header`."""
        if not self.access.done():
            return False
        if time.monotonic() >= self.good_until:
            return True
        return self.access.exception() is None and refused == _bearer(self.access.result())


class Authorization:
    """Makes the Authorization header. Thread-safe: threads that ask at the same time share one exchange."""

    def __init__(self, api_key: str, exchange: Callable[[str], str], *, failed_for: float = _FAILED) -> None:
        """`exchange` turns a refresh token into an access token, in bounded time; `header` raises its errors.

        After a failed exchange `header` raises the same error for `failed_for` seconds.
        """
        self._api_key = api_key
        self._exchange = exchange
        self._failed_for = failed_for
        self._lock = threading.Lock()
        self._refresh: _Refresh | None = None
        self._access: str | None = None
        self.refreshable = bool(_claims(api_key))

    def header(self, *, refused: str | None = None, until: float = math.inf) -> str:
        """The header's value. `refused`: a value that Label Studio answered with 401; an access token is then replaced.

        Raises LabelStudioError if there is no token by `until` (time.monotonic()), and the errors of the exchange.
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
        except RuntimeError as error:  # the machine has no free thread
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
        """`text` with every token replaced by `***`."""
        for secret in (self._api_key, self._access):
            if secret:
                text = text.replace(secret, "***")
        return text


def _bearer(access: str) -> str:
    return f"Bearer {access}"


def _claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, not verified; empty for anything else."""
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
