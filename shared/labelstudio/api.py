"""A light client of Label Studio's API: takes tokens of both kinds and follows no redirect.

It uses urllib3 instead of requests: requests takes proxies and the credentials of ~/.netrc from the environment, its
sessions are not made for many threads, and no deadline bounds a whole answer.
"""

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, ProtocolError
from urllib3.util import Timeout, Url, parse_url

from shared.errors import BadRequest, LabelStudioError, NotLabelStudio, SettingsError
from shared.labelstudio import filters
from shared.labelstudio.answers import about_project, date_of, json_of, raise_for_status, unreachable
from shared.labelstudio.requests import ProjectCounters
from shared.labelstudio.tokens import Authorization
from shared.network.connections import MakeSocket, connect_to, pool
from shared.network.resolver import Resolve, Resolver, resolve

_FILTER_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"  # the only format that the data manager's filters parse

_IDLE = 1.0
"""Seconds that a connection is kept without use: shorter than servers do (gunicorn: 2), since POST is not repeated."""

BY_SCORE = "Uncertainty sampling"
"""A project's `sampling` by which tasks are handed out by the scores of the predictions that are shown, lowest first.

As long as there are none, at random."""


@dataclass(frozen=True, slots=True)
class ProjectState:
    """A project's counters, and a moment at or before their counting."""

    counters: ProjectCounters
    read_at: datetime  # aware UTC, Label Studio's clock

    def require(self, uid: str) -> None:
        """Raise SettingsError if it is another project's, which has the same id in another Label Studio."""
        if self.counters.uid != uid:
            raise SettingsError(
                f"LABEL_STUDIO_URL answers project {self.counters.uid}, the run is for {uid}: set the address of the "
                "Label Studio that this project belongs to"
            )


class LabelStudio:
    """One Label Studio, asked with one token. Thread-safe."""

    def __init__(self, url: str, api_key: str, *, timeout: float = 10.0, resolve: Resolve = resolve) -> None:
        """Does not connect yet. `url` may have a path prefix.

        `timeout` in seconds bounds each call with the look-up of the host's name and the renewal of the token.
        `resolve` finds the addresses of the host (tests give their own).
        """
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._place = parse_url(self.url)
        self._authorization = Authorization(api_key, self._exchange)
        self._resolver = Resolver(resolve)
        self._http = pool(self._connect, kept=8, idle=_IDLE)

    def get_json(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The JSON at `path` ("/api/projects/1").

        Raises Unauthorized (401, and 403 to a GET), ProjectGone (Label Studio's own 404 below /api/projects/ or to a
        query for a project) and LabelStudioError for everything else.
        """
        return self.request_json("GET", path, params=params)

    def request_json(self, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None) -> Any:
        """The JSON that any method answers; None for an answer without body. Raises as `get_json`."""
        return json_of(self._send(method, path, body, params), f"{method} {self.url}{path}")

    def check_identity(self) -> None:
        """Ask without the token whether this is a Label Studio, so that no other server is sent the token.

        `/api/version/` is answered to everybody. Raises LabelStudioError.
        """
        path = "/api/version/"
        response = self._request("GET", path, time.monotonic() + self._timeout)
        if response.status >= 300 and response.status // 100 != 4:
            raise_for_status(response, f"GET {self.url}{path}", False, self._authorization.redact)
        try:
            answer = response.json() if response.status == 200 else None
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not any(str(key).startswith("label-studio") for key in answer):
            raise NotLabelStudio(
                f"LABEL_STUDIO_URL={self.url} is no Label Studio: GET {path} answers {response.status}, and not the "
                "versions that Label Studio tells everybody; the token was not sent there"
            )

    def project(self, project_id: int) -> ProjectState:
        """Counters of a project. Raises ProjectGone, Unauthorized, LabelStudioError."""
        path = f"/api/projects/{project_id}"
        started = time.monotonic()
        response = self._send("GET", path, None, None)
        elapsed = time.monotonic() - started
        try:
            counters = ProjectCounters.parse(json.dumps(json_of(response, f"GET {self.url}{path}")).encode())
        except BadRequest as error:
            raise LabelStudioError(f"{self.url}{path} does not answer a project: {error}") from error
        # The Date is written when the answer leaves, after the counters were read: what happens in between must count
        # as later than `read_at`, or nobody would ever see it.
        return ProjectState(counters, date_of(response) - timedelta(seconds=elapsed))

    def changed_tasks(self, project_id: int, since: datetime) -> int:
        """Number of tasks with annotations that were updated after `since` (aware). Raises as `project`.

        Label Studio's data manager counts them, so the answer is small for any number of tasks. It does not count
        skipped annotations as annotations.
        """
        moment = since.astimezone(UTC).strftime(_FILTER_TIME)
        return self._count(
            project_id, filters.condition("updated_at", "greater", moment, "Datetime"), filters.ANNOTATED
        )

    def unannotated_tasks(self, project_id: int, above: int) -> int:
        """Number of tasks without annotations whose id is above `above`. Raises as `project`."""
        return self._count(project_id, filters.above(above), filters.NOT_ANNOTATED)

    def tasks_with_label(self, project_id: int, tag: str, label: str) -> int:
        """Number of tasks whose annotations hold a region of a tag (by name), and this label. Raises as `project`.

        Label Studio looks for both in the text of the results, so it has to read all of them, and may take a label for
        another one that differs in case only (SQLite).
        """

        def contains(text: str) -> filters.Condition:
            return filters.condition("annotations_results", "contains", text, "String")

        drawn = contains(f'"from_name": {json.dumps(tag)}')
        spellings = {json.dumps(label), json.dumps(label, ensure_ascii=False)}  # SQLite's, PostgreSQL's
        return max(self._count(project_id, drawn, contains(spelt)) for spelt in spellings)

    def drawn_labels(self, project_id: int) -> dict[str, list[str]]:
        """Name of a tag → labels that annotations hold, by Label Studio's own summary. Raises as `project`.

        Its counts are too low (seen with 1.23.2: of the first annotations of a tag only the last region counts), so
        they are not answered, and a label may be missing.
        """
        answer = self.get_json(f"/api/projects/{project_id}/summary/")
        drawn = answer.get("created_labels") if isinstance(answer, dict) else None
        found = drawn.items() if isinstance(drawn, dict) else ()
        return {tag: [str(label) for label in labels] for tag, labels in found if isinstance(labels, dict)}

    def _count(self, project_id: int, *conditions: filters.Condition) -> int:
        """Number of tasks that meet all conditions of the data manager."""
        params = {
            "project": str(project_id),
            "query": filters.query(conditions),
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

    def path_below(self, url: str) -> str | None:
        """The path of an absolute URL without the path prefix ("/data/upload/…").

        None if it is not owned: of another scheme, host or port, or not below the prefix.
        """
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
        """Value of the Authorization header, for URLs that this Label Studio owns only.

        `refused`: a value that was answered by 401, so that it is renewed. `until`: a time.monotonic() value; None: as
        long as a call may take. Raises Unauthorized, LabelStudioError.
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
        raise_for_status(
            response, f"{method} {self.url}{path}", about_project(path, params), self._authorization.redact
        )
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
                    raise unreachable(self.url, self._timeout, error) from error
                again = False
            except (HTTPError, OSError) as error:
                raise unreachable(self.url, self._timeout, error) from error

    def _exchange(self, refresh_token: str) -> str:
        path = "/api/token/refresh/"
        response = self._request("POST", path, time.monotonic() + self._timeout, {"refresh": refresh_token})
        raise_for_status(response, f"POST {self.url}{path}", False, self._authorization.redact)
        answer = json_of(response, f"POST {self.url}{path}")
        access = answer.get("access") if isinstance(answer, dict) else None
        if not isinstance(access, str) or not access:
            raise LabelStudioError(f"{self.url}{path} answers no access token")
        return access


def _origin(place: Url) -> tuple[str, str, int]:
    scheme = (place.scheme or "").lower()
    return scheme, (place.host or "").lower().rstrip("."), place.port or (443 if scheme == "https" else 80)
