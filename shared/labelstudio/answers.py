"""What Label Studio's HTTP answers mean: their JSON, their date, and their errors in words that say what to set."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import LocationParseError, NewConnectionError, SSLError, TimeoutError
from urllib3.util import parse_url

from shared.errors import LabelStudioError, ProjectGone, Unauthorized

_LONGEST_QUOTE = 300  # characters of Label Studio's own words in an error
_ITS_WORDS = {"status_code", "version", "detail"}
"""Keys of every error of Label Studio's API (`custom_exception_handler` in its core/utils/common.py). The 404 of a
proxy, or of an installation below another path, says nothing about a project."""


def json_of(response: BaseHTTPResponse, asked: str) -> Any:
    """The JSON of an answer; None if it has no body. `asked`: method and URL. Raises LabelStudioError."""
    if not response.data:
        return None
    try:
        return response.json()
    except RecursionError as error:
        raise LabelStudioError(f"{asked} answers a value that is nested too deep to be read") from error
    except ValueError as error:
        raise LabelStudioError(
            f"{asked} did not answer JSON: is LABEL_STUDIO_URL the address of Label Studio itself?"
        ) from error


def date_of(response: BaseHTTPResponse) -> datetime:
    """When Label Studio answered, by its own clock (UTC); by this machine's if the answer has no usable Date."""
    try:
        date = parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError):
        return datetime.now(UTC)
    return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)


def about_project(path: str, params: Mapping[str, str] | None) -> bool:
    """Whether a 404 of Label Studio to this request means that the project is gone."""
    return path.startswith("/api/projects/") or "project" in (params or {})


def raise_for_status(response: BaseHTTPResponse, asked: str, of_project: bool, redact: Callable[[str], str]) -> None:
    """Raise the error of an answer that is none of 200 to 299.

    `asked`: method and URL. `of_project`: see `about_project`. `redact` takes tokens out of what is quoted. Raises
    Unauthorized (401, and 403 to a GET), ProjectGone, and LabelStudioError for everything else.
    """
    status = response.status
    if 200 <= status < 300:
        return
    body = _error_body(response)
    said = _quote(body, redact)
    if status == 401 or (status == 403 and asked.startswith("GET ")):
        raise Unauthorized(
            f"{asked} answers {status}{said}: check LABEL_STUDIO_API_KEY and what its user may see", status=status
        )
    if status == 404 and not body.keys() >= _ITS_WORDS:
        raise LabelStudioError(
            f"{asked} answers 404{said}, and not as Label Studio does: something before it answers in its place, "
            "or LABEL_STUDIO_URL is not its address, with its path prefix if it has one"
        )
    if status == 404 and of_project:
        raise ProjectGone(f"{asked} answers 404{said}", status=status)
    if 300 <= status < 400:
        place = _place(response.headers.get("Location", ""), asked)
        raise LabelStudioError(
            f"{asked} answers a redirect to {place}: set LABEL_STUDIO_URL to the address that answers itself",
            status=status,
        )
    raise LabelStudioError(f"{asked} answers {status}{said}", status=status)


def unreachable(url: str, timeout: float, error: Exception) -> LabelStudioError:
    """The error for a request that got no answer. `timeout` in seconds."""
    if isinstance(error, SSLError):
        return LabelStudioError(
            f"LABEL_STUDIO_URL={url}: its certificate is not trusted; "
            "SSL_CERT_FILE may name a file with the authority that signed it"
        )
    if isinstance(error, TimeoutError) and not isinstance(error, NewConnectionError):
        return LabelStudioError(f"Label Studio at {url} did not answer within {timeout:g} s")
    return LabelStudioError(
        f"Label Studio at {url} is not reachable from here ({type(error).__name__}): "
        "is it running, and is LABEL_STUDIO_URL an address that this machine can reach?"
    )


def _place(location: str, asked: str) -> str:
    """Where a redirect leads: scheme, host and port, and the path prefix if the same is asked for below one.

    Nothing else of it, since that may hold secrets. `asked`: method and URL.
    """
    url = asked.partition(" ")[2]
    try:
        place, asked_path = parse_url(urljoin(url, location)), parse_url(url).path or ""
    except (LocationParseError, ValueError):
        return "what is no address"
    path, (_, api, rest) = place.path or "", asked_path.rpartition("/api/")
    prefix = path.removesuffix(api + rest) if api and path.endswith(api + rest) else ""
    return f"{place.scheme}://{place.netloc}{prefix}"


def _error_body(response: BaseHTTPResponse) -> dict[str, Any]:
    """The JSON object that came with an error; empty if none did."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _quote(body: Mapping[str, Any], redact: Callable[[str], str]) -> str:
    """Label Studio's own words about an error, without tokens and tracebacks; empty if it sent none."""
    words = [str(body[key]) for key in ("detail", "validation_errors") if body.get(key)]
    return f" ({redact('; '.join(words))[:_LONGEST_QUOTE]})" if words else ""
