"""What functions-framework's server, gunicorn, is told by a function that it has loaded: threads and limits."""

from collections.abc import MutableMapping

from shared.errors import SettingsError

THREADS = 64
"""Requests that a function answers at once, unless the variable of that name says otherwise."""
_LONGEST_LINE = 8190  # bytes of "GET /path HTTP/1.1"; the most that gunicorn can be told


def set_up_server(environ: MutableMapping[str, str]) -> int:
    """How many threads the server will have: it is started, and reads THREADS, after a function was loaded.

    Raises SettingsError.
    """
    given = environ.setdefault("THREADS", str(THREADS))
    if not given.isdecimal() or not 1 <= len(given) <= 4 or int(given) < 1:
        raise SettingsError(f"THREADS={given[:20]} must be a number of threads, from 1 to 9999")
    _bound_request_lines()
    return int(given)


def _bound_request_lines() -> None:
    """functions-framework has gunicorn read a request line of any length, before anybody could ask for credentials.

    It leaves no other way to tell it (functions_framework/_http/gunicorn.py).
    """
    try:
        from gunicorn.config import LimitRequestLine
    except ImportError:  # Windows, where functions-framework serves without it
        return
    LimitRequestLine.validator = staticmethod(lambda _given: _LONGEST_LINE)
