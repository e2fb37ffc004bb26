"""Refuses requests that a page of another site made a browser send: they carry its credentials, but no token of ours.

A token is signed with a key that all instances of the function have, so no session is kept.
"""

import hashlib
import hmac
import time

from flask import Request

_LIFETIME = 12 * 3600  # seconds that a page with a button may stay open


class Tokens:
    """Makes and checks the tokens of forms. Each is for one action, its subject, and whoever was given it."""

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"labelloop page\0" + secret.encode()).digest()

    def make(self, request: Request, action: str) -> str:
        """The token of a form that `request` is answered with."""
        return self._signed(request, action, int(time.time()) + _LIFETIME)

    def fits(self, request: Request, action: str, token: str) -> bool:
        """Whether the token was made for this action, and not too long ago."""
        until = token.partition(".")[0]
        if not (until.isdecimal() and len(until) < 20 and int(until) >= time.time()):
            return False
        return hmac.compare_digest(self._signed(request, action, int(until)).encode(), token.encode())

    def _signed(self, request: Request, action: str, until: int) -> str:
        whom = request.headers.get("Authorization", "")
        text = "\0".join((str(until), action, whom))
        return f"{until}.{hmac.new(self._key, text.encode(errors='backslashreplace'), 'sha256').hexdigest()}"
