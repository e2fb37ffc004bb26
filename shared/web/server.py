"""Threads and limits of gunicorn, the server of functions-framework, set by a function while it is loaded."""

from collections.abc import MutableMapping

from shared.errors import SettingsError

THREADS = 64
"""Default number of requests that a function answers at the same time (environment variable THREADS)."""
_MAX_REQUEST_LINE = 8190  # bytes of "GET /path HTTP/1.1": gunicorn's upper limit


def set_up_server(environ: MutableMapping[str, str]) -> int:
    """Set THREADS in `environ` if it is not set, limit request lines, and return the number of threads.

    functions-framework reads THREADS when it starts the server, after it has loaded the function. Raises SettingsError.
    """
    given = environ.setdefault("THREADS", str(THREADS))
    if not given.isdecimal() or not 1 <= len(given) <= 4 or int(given) < 1:
        raise SettingsError(f"THREADS={given[:20]} must be a number of threads, from 1 to 9999")
    _bound_request_lines()
    return int(given)


def _bound_request_lines() -> None:
    """Limit the length of a request line, which gunicorn reads before credentials can be checked.

    functions-framework sets no limit and has no option for it (functions_framework/_http/gunicorn.py).
    """
    try:
        from gunicorn.config import LimitRequestLine
    except ImportError:  # Windows, where functions-framework serves without it
        return
    LimitRequestLine.validator = staticmethod(lambda _given: _MAX_REQUEST_LINE)
