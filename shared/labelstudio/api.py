"""A light client of Label Studio's API: tokens of both kinds, errors that say what to set, no redirect followed.

On urllib3 and not on requests: requests takes proxies and the credentials of ~/.netrc from the environment, its
sessions are not made for many threads, and no deadline bounds a whole answer.
"""

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, NewConnectionError, ProtocolError, SSLError, TimeoutError
from urllib3.util import Timeout, Url, parse_url

from shared.errors import BadRequest, LabelStudioError, ProjectGone, Unauthorized
from shared.labelstudio.requests import ProjectCounters
from shared.labelstudio.tokens import Authorization
from shared.network.connections import MakeSocket, connect_to, pool
from shared.network.resolver import Resolve, Resolver, resolve

_LONGEST_QUOTE = 300  # characters of Label Studio's own words in an error
_ITS_WORDS = {"status_code", "version", "detail"}
"""Of every error of Label Studio's API (`custom_exception_handler` in its core/utils/common.py). A proxy's 404, or that
of an installation below another path, says nothing about a project."""
_FILTER_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"  # the only format that the data manager's filters parse


@dataclass(frozen=True, slots=True)
class ProjectState:
    """A project's counters, and a moment that is surely not after they were counted."""

    counters: ProjectCounters
    read_at: datetime  # aware UTC, Label Studio's clock


class LabelStudio:
    """One Label Studio, one token. Safe to share between threads."""

    def __init__(self, url: str, api_key: str, *, timeout: float = 10.0, resolve: Resolve = resolve) -> None:
        """`url` may have a path prefix. `timeout` in seconds bounds each call, also its name and token; no network yet.

        `resolve` finds the addresses of the host (tests give their own).
        """
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._place = parse_url(self.url)
        self._authorization = Authorization(api_key, self._exchange)
        self._resolver = Resolver(resolve)
        self._http = pool(self._connect, maxsize=8)

    def get_json(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The JSON at `path` ("/api/projects/1").

        Raises Unauthorized (401, and 403 to a GET), ProjectGone (Label Studio's own 404 below /api/projects/ or to a
        query for a project) and LabelStudioError for everything else.
        """
        return self.request_json("GET", path, params=params)

    def request_json(self, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None) -> Any:
        """The JSON that any method answers; None for an answer without body. Raises as `get_json`."""
        return _json(self._send(method, path, body, params), f"{method} {path}", self.url)

    def project(self, project_id: int) -> ProjectState:
        """Counters of a project. Raises ProjectGone, Unauthorized, LabelStudioError."""
        path = f"/api/projects/{project_id}"
        started = time.monotonic()
        response = self._send("GET", path, None, None)
        elapsed = time.monotonic() - started
        try:
            counters = ProjectCounters.parse(json.dumps(_json(response, f"GET {path}", self.url)).encode())
        except BadRequest as error:
            raise LabelStudioError(f"{self.url}{path} does not answer a project: {error}") from error
        # The Date is written when the answer leaves, the counters were read before: what happens in between must
        # count as later than `read_at`, or no one would ever see it.
        return ProjectState(counters, _date(response) - timedelta(seconds=elapsed))

    def changed_tasks(self, project_id: int, since: datetime) -> int:
        """How many tasks that have annotations were updated after `since` (aware). Raises as `project`.

        Label Studio's data manager filters, so one small answer does for any number of tasks. Skipped annotations do
        not count as annotations there.
        """
        query = {
            "filters": {
                "conjunction": "and",
                "items": [
                    {
                        "filter": "filter:tasks:updated_at",
                        "operator": "greater",
                        "type": "Datetime",
                        "value": since.astimezone(UTC).strftime(_FILTER_TIME),
                    },
                    {
                        "filter": "filter:tasks:total_annotations",
                        "operator": "greater",
                        "type": "Number",
                        "value": 0,
                    },
                ],
            }
        }
        params = {
            "project": str(project_id),
            "query": json.dumps(query),
            "page_size": "1",
            "resolve_uri": "false",  # signs no URL for the one task that comes along
        }
        answer = self.get_json("/api/tasks", params)
        total = answer.get("total") if isinstance(answer, dict) else None
        if not isinstance(total, int):
            raise LabelStudioError(
                f"{self.url}/api/tasks answers no total of tasks: is this Label Studio 1.8 or newer?"
            )
        return total

    def owns(self, url: str) -> bool:
        """Whether an absolute URL has this Label Studio's scheme, host and port and lies below its path prefix."""
        return self.path_below(url) is not None

    def path_below(self, url: str) -> str | None:
        """The path of an absolute URL behind the path prefix ("/data/upload/…"), or None if it is not owned."""
        try:
            other = parse_url(url)
        except LocationParseError:
            return None
        prefix, path = (self._place.path or "").rstrip("/"), other.path or "/"
        same = _origin(other) == _origin(self._place) and path.startswith(f"{prefix}/")
        return path.removeprefix(prefix) if same else None

    @property
    def origin(self) -> tuple[str, int]:
        """Host (lower case) and port."""
        _, host, port = _origin(self._place)
        return host, port

    def authorization(self, *, refused: str | None = None, until: float | None = None) -> str:
        """Value of the Authorization header. `refused`: a value that was answered by 401.

        `until` is a time.monotonic() value; None: as long as a call may take. Raises Unauthorized, LabelStudioError.
        Whoever sends it must send it to URLs that this Label Studio owns only.
        """
        return self._authorization.header(refused=refused, until=until or time.monotonic() + self._timeout)

    def close(self) -> None:
        """Close idle connections."""
        self._http.clear()

    def _connect(self, host: str, port: int, until: float, make_socket: MakeSocket) -> socket.socket:
        return connect_to(host, self._resolver.places(host, port, until), until, make_socket)

    def _send(self, method: str, path: str, body: Any, params: Mapping[str, str] | None) -> urllib3.BaseHTTPResponse:
        until = time.monotonic() + self._timeout
        authorization = self.authorization(until=until)
        response = self._request(method, path, until, body, params, {"Authorization": authorization})
        if response.status == 401 and self._authorization.refreshable:
            renewed = self.authorization(refused=authorization, until=until)
            response = self._request(method, path, until, body, params, {"Authorization": renewed})
        self._raise_for_status(response, method, path, params)
        return response

    def _request(
        self,
        method: str,
        path: str,
        until: float,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        url = self.url + path + (f"?{urlencode(params)}" if params else "")
        sent = {"User-Agent": "labelloop", "Accept": "application/json", **(headers or {})}
        data = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        again = method == "GET"
        while True:
            timeout = Timeout(total=max(until - time.monotonic(), 0.001))
            try:
                return self._http.request(
                    method, url, body=data, headers=sent, timeout=timeout, redirect=False, retries=False
                )
            except ProtocolError as error:
                # Usually a kept connection that the server closed just now: a GET is asked once more.
                if not again:
                    raise self._unreachable(error) from error
                again = False
            except (HTTPError, OSError) as error:
                raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> LabelStudioError:
        if isinstance(error, SSLError):
            return LabelStudioError(
                f"LABEL_STUDIO_URL={self.url}: its certificate is not trusted; "
                "SSL_CERT_FILE may name a file with the authority that signed it"
            )
        if isinstance(error, TimeoutError) and not isinstance(error, NewConnectionError):
            return LabelStudioError(f"Label Studio at {self.url} did not answer within {self._timeout:g} s")
        return LabelStudioError(
            f"Label Studio at {self.url} is not reachable from here ({type(error).__name__}): "
            "is it running, and is LABEL_STUDIO_URL an address that this machine can reach?"
        )

    def _raise_for_status(
        self, response: urllib3.BaseHTTPResponse, method: str, path: str, params: Mapping[str, str] | None
    ) -> None:
        status = response.status
        if 200 <= status < 300:
            return
        body = _words(response)
        said = self._quote(body)
        asked = f"{method} {self.url}{path}"
        if status == 401 or (status == 403 and method == "GET"):
            raise Unauthorized(
                f"{asked} answers {status}{said}: check LABEL_STUDIO_API_KEY and what its user may see", status=status
            )
        if status == 404 and not body.keys() >= _ITS_WORDS:
            raise LabelStudioError(
                f"{asked} answers 404{said}, and not as Label Studio does: something before it answers in its place, "
                "or LABEL_STUDIO_URL is not its address, with its path prefix if it has one"
            )
        if status == 404 and (path.startswith("/api/projects/") or "project" in (params or {})):
            raise ProjectGone(f"{asked} answers 404{said}", status=status)
        if 300 <= status < 400:
            place = parse_url(response.headers.get("Location", ""))
            raise LabelStudioError(
                f"{asked} answers a redirect to {place.scheme or 'the same scheme'}://{place.host or 'the same host'}: "
                "set LABEL_STUDIO_URL to the address that answers itself",
                status=status,
            )
        raise LabelStudioError(f"{asked} answers {status}{said}", status=status)

    def _quote(self, body: Mapping[str, Any]) -> str:
        """Label Studio's own words about an error, without tokens and tracebacks; empty if it did not send any."""
        words = [str(body[key]) for key in ("detail", "validation_errors") if body.get(key)]
        return f" ({self._authorization.redact('; '.join(words))[:_LONGEST_QUOTE]})" if words else ""

    def _exchange(self, refresh_token: str) -> str:
        path = "/api/token/refresh/"
        response = self._request("POST", path, time.monotonic() + self._timeout, {"refresh": refresh_token})
        self._raise_for_status(response, "POST", path, None)
        answer = _json(response, f"POST {path}", self.url)
        access = answer.get("access") if isinstance(answer, dict) else None
        if not isinstance(access, str) or not access:
            raise LabelStudioError(f"{self.url}{path} answers no access token")
        return access


def _origin(place: Url) -> tuple[str, str, int]:
    scheme = (place.scheme or "").lower()
    return scheme, (place.host or "").lower().rstrip("."), place.port or (443 if scheme == "https" else 80)


def _words(response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    """The JSON object that an error came with; empty if it did not."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _json(response: urllib3.BaseHTTPResponse, asked: str, url: str) -> Any:
    if not response.data:
        return None
    try:
        return response.json()
    except RecursionError as error:
        raise LabelStudioError(f"{asked} at {url} answers a value that is nested too deep to be read") from error
    except ValueError as error:
        raise LabelStudioError(
            f"{asked} at {url} did not answer JSON: is LABEL_STUDIO_URL the address of Label Studio itself?"
        ) from error


def _date(response: urllib3.BaseHTTPResponse) -> datetime:
    """Label Studio's clock, or ours if its answer has no usable Date."""
    try:
        date = parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError):
        return datetime.now(UTC)
    return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
