"""Fetches images and videos of tasks, from allowed sources only, within limits of bytes and time."""

import math
import time
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, SSLError, TimeoutError
from urllib3.util import Timeout

from shared.errors import ImageError, LabelStudioError, Unauthorized
from shared.labelstudio.api import LabelStudio
from shared.media.addresses import AddressRules
from shared.media.responses import host_of, joined, late, raise_for_status, read_body, reason_of, validator
from shared.media.sources import Inline, Remote, SharedFile, is_upload, locate, read_shared, serves_file
from shared.network.connections import pool
from shared.network.resolver import Resolve, resolve
from shared.settings import Settings, variable

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"User-Agent": "labelloop", "Accept": "*/*", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Version:
    """Identifies the state of a fetched file by its server's validators (RFC 9110, 8.8)."""

    etag: str = ""
    modified: str = ""  # Last-Modified
    fixed: bool = False  # the file never changes: each upload to Label Studio has a name of its own

    def headers(self) -> dict[str, str]:
        """Headers that request the file only if it has changed."""
        if self.etag:
            return {"If-None-Match": self.etag}
        return {"If-Modified-Since": self.modified} if self.modified else {}


class Fetched(NamedTuple):
    """The result of a fetch."""

    data: bytes | None  # None: the file still is the known version
    version: Version | None  # None: the server sends no validators


class Fetcher(Protocol):
    """Fetches the image or video that a task names, from its source or from a cache. Thread-safe."""

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        """The bytes of the file that a value of `task.data` names. `deadline` is a time.monotonic() value.

        Raises ImageError.
        """


class ImageFetcher:
    """Fetches from the source itself. Thread-safe; keeps connections open.

    Only Label Studio's routes for files get the token, and not after a redirect by another host.
    """

    def __init__(
        self,
        settings: Settings,
        label_studio: LabelStudio | None,
        *,
        limit: Literal["image_max_bytes", "video_max_bytes"] = "image_max_bytes",
        resolve: Resolve = resolve,
    ) -> None:
        """`limit`: the setting that limits a file's size. `resolve`: finds a host's addresses (tests replace it)."""
        self._label_studio = label_studio
        self._max_bytes: int = getattr(settings, limit)
        self._limit = variable(limit)
        self._timeout = settings.fetch_timeout if limit == "image_max_bytes" else math.inf
        self._root = settings.image_root
        origin = label_studio.origin if label_studio else None
        rules = AddressRules(settings.allowed_private_hosts, origin=origin, resolve=resolve)
        self._http = pool(rules.connect, kept=settings.fetch_concurrency, idle=math.inf)  # what breaks is asked again

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        """As `Fetcher.fetch`. Images, but not videos, are limited by LABELLOOP_FETCH_TIMEOUT too."""
        data = self.fetch_newer(value, task_id=task_id, deadline=deadline, known=None).data
        assert data is not None  # no version is known
        return data

    def fetch_newer(self, value: object, *, task_id: int | None, deadline: float, known: Version | None) -> Fetched:
        """As `fetch`; `data` is None if the file still is the `known` version."""
        source = locate(
            value,
            task_id=task_id,
            label_studio=self._label_studio,
            shared=self._root is not None,
            max_bytes=self._max_bytes,
            limit=self._limit,
        )
        if isinstance(source, Inline):
            return Fetched(source.data, None)
        if isinstance(source, SharedFile):
            assert self._root is not None
            return Fetched(read_shared(self._root, source.path, self._max_bytes, self._limit), None)
        return self._download(source, min(deadline, time.monotonic() + self._timeout), known)

    def close(self) -> None:
        """Close idle connections."""
        self._http.clear()

    def _download(self, source: Remote, until: float, known: Version | None) -> Fetched:
        url, trusted = source.url, source.trusted
        asked = known.headers() if known else {}
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._ask(url, trusted, until, asked)
            try:
                if asked and response.status == 304:
                    return Fetched(None, known)
                if response.status not in _REDIRECTS:
                    raise_for_status(response.status, url, trusted, sent_there=source.trusted)
                    return Fetched(
                        read_body(response, host_of(url), self._max_bytes, self._limit), self._version(source, response)
                    )
                if response.headers.get("Content-Length") == "0":
                    response.read()  # empty, but the connection can then be reused
                url = joined(url, response.headers.get("Location", ""))
                trusted = trusted and serves_file(self._label_studio, url)
            finally:
                response.close()  # no effect if the response was read to its end: its connection is back in the pool
        raise ImageError("refused", f"{host_of(source.url)} redirects more than {_MAX_REDIRECTS} times")

    def _version(self, source: Remote, response: BaseHTTPResponse) -> Version | None:
        fixed = source.trusted and is_upload(self._label_studio, source.url)
        version = Version(validator(response, "ETag"), validator(response, "Last-Modified"), fixed)
        return version if version != Version() else None

    def _ask(self, url: str, trusted: bool, until: float, headers: dict[str, str]) -> BaseHTTPResponse:
        """The response to one GET, with its body unread. A token that is refused is replaced once."""
        if not trusted or self._label_studio is None:
            return self._get(url, headers, until)
        try:
            first = self._label_studio.authorization(until=until)
            response = self._get(url, headers | {"Authorization": first}, until)
            if response.status != 401:
                return response
            second = self._label_studio.authorization(refused=first, until=until)
            if second != first:
                response.close()
                response = self._get(url, headers | {"Authorization": second}, until)
        except Unauthorized as error:
            raise ImageError("unauthorized", str(error)) from error
        except LabelStudioError as error:
            raise ImageError("unreachable", str(error)) from error
        return response

    def _get(self, url: str, headers: dict[str, str], until: float) -> BaseHTTPResponse:
        host = host_of(url)
        for once_more in (True, False):
            left = until - time.monotonic()
            if left <= 0:
                raise late(host)
            try:
                return self._http.request(
                    "GET",
                    url,
                    headers=_HEADERS | headers,
                    timeout=Timeout(total=left),
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                )
            except ProtocolError as error:  # usually an idle connection that the server has just closed
                if not once_more:
                    raise ImageError("unreachable", f"{host} closed the connection") from error
            except NewConnectionError as error:  # also a name without address; a subclass of TimeoutError
                raise ImageError("unreachable", f"{host} is not reachable{reason_of(error)}") from error
            except TimeoutError as error:
                raise late(host) from error
            except SSLError as error:
                raise ImageError("unreachable", f"{host} has a certificate that is not trusted") from error
            except (HTTPError, ValueError) as error:
                raise ImageError("unreachable", f"{host} is not reachable ({type(error).__name__})") from error
        raise AssertionError("the loop above returns or raises")
