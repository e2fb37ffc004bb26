"""Fetches images and videos of tasks, from allowed sources only, within limits of bytes and time."""

import math
import re
import time
import zlib
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, LocationParseError, NewConnectionError, ProtocolError, SSLError, TimeoutError
from urllib3.util import Timeout, parse_url

from shared.errors import ImageError, LabelStudioError, Unauthorized
from shared.labelstudio.api import LabelStudio
from shared.media.addresses import AddressRules
from shared.media.sources import Inline, Remote, SharedFile, is_upload, locate, read_shared, serves_file
from shared.network.connections import pool
from shared.network.resolver import Resolve, resolve
from shared.settings import Settings, variable

_MAX_REDIRECTS = 5
_CHUNK = 1 << 18  # bytes
_DIGITS = 18  # limit of a Content-Length's digits; Python's int() refuses more than 4300
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"User-Agent": "labelloop", "Accept": "*/*", "Accept-Encoding": "identity"}


_MAX_MARK = 1000  # characters of a version's mark; longer ones are not used


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
        self._http = pool(rules.connect, settings.fetch_concurrency)

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
                    self._raise_for_status(response.status, url, trusted, sent_there=source.trusted)
                    return Fetched(self._body(response, _host(url)), self._version(source, response))
                if response.headers.get("Content-Length") == "0":
                    response.read()  # empty, but the connection can then be reused
                url = _joined(url, response.headers.get("Location", ""))
                trusted = trusted and serves_file(self._label_studio, url)
            finally:
                response.close()  # no effect if the response was read to its end: its connection is back in the pool
        raise ImageError("refused", f"{_host(source.url)} redirects more than {_MAX_REDIRECTS} times")

    def _version(self, source: Remote, response: BaseHTTPResponse) -> Version | None:
        fixed = source.trusted and is_upload(self._label_studio, source.url)
        version = Version(_mark(response, "ETag"), _mark(response, "Last-Modified"), fixed)
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
        host = _host(url)
        for once_more in (True, False):
            left = until - time.monotonic()
            if left <= 0:
                raise _late(host)
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
                raise ImageError("unreachable", f"{host} is not reachable{_why(error)}") from error
            except TimeoutError as error:
                raise _late(host) from error
            except SSLError as error:
                raise ImageError("unreachable", f"{host} has a certificate that is not trusted") from error
            except (HTTPError, ValueError) as error:
                raise ImageError("unreachable", f"{host} is not reachable ({type(error).__name__})") from error
        raise AssertionError("the loop above returns or raises")

    def _body(self, response: BaseHTTPResponse, host: str) -> bytes:
        announced = response.headers.get("Content-Length", "")
        if announced.isdecimal() and (len(announced) > _DIGITS or int(announced) > self._max_bytes):
            raise self._too_large(host)
        parts, size = [], 0
        try:
            while part := response.read(_CHUNK):
                size += len(part)
                if size > self._max_bytes:
                    raise self._too_large(host)
                parts.append(part)
        except TimeoutError as error:
            raise _late(host) from error
        except (HTTPError, OSError) as error:  # the connection ends before Content-Length bytes or the last chunk
            raise ImageError("unreachable", f"{host} closed the connection after {size} bytes") from error
        return self._decompressed(b"".join(parts), response.headers.get("Content-Encoding", ""), host)

    def _raise_for_status(self, status: int, url: str, trusted: bool, *, sent_there: bool) -> None:
        """Raise ImageError unless the status is 200. `trusted`: Label Studio itself answered; `sent_there`: it did, or
        redirected to a signed URL of its storage.
        """
        host = _host(url)
        if status == 200:
            return
        if status in (401, 403):
            if not sent_there:
                raise ImageError("forbidden", f"{host} answers {status}: it was asked without credentials")
            hint = (
                "check LABEL_STUDIO_API_KEY"
                if trusted
                else "the credentials of Label Studio's storage may have expired"
            )
            raise ImageError("unauthorized", f"{host} answers {status}: {hint}")
        if status == 404 and trusted and "/resolve/" in url:  # Label Studio's answer to any error of signing
            raise ImageError("unreachable", f"{host} cannot resolve the storage URI: look at the project's storage")
        # Label Studio answers 500 for an upload that it does not have (any more).
        if status in (404, 410) or (status == 500 and trusted and "/data/upload/" in url):
            raise ImageError("not_found", f"{host} answers {status}: there is no such file")
        raise ImageError("unreachable", f"{host} answers {status}")

    def _decompressed(self, data: bytes, encoding: str, host: str) -> bytes:
        """The body, decompressed: some servers compress although they were asked not to. Raises ImageError."""
        encoding = encoding.strip().lower()
        if encoding in ("", "identity", "aws-chunked"):
            return data
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise ImageError("unsupported", f"{host} sends Content-Encoding {encoding[:40]!r}")
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, detected by its header
        try:
            plain = decoder.decompress(data, self._max_bytes + 1)
        except zlib.error as error:
            raise ImageError("broken", f"{host} sends a body that is not {encoding}") from error
        if len(plain) > self._max_bytes:
            raise self._too_large(host)
        if not decoder.eof:
            raise ImageError("unreachable", f"{host} sends a truncated {encoding} body")
        return plain

    def _too_large(self, host: str) -> ImageError:
        return ImageError("too_large", f"{host} sends more than {self._max_bytes} bytes ({self._limit})")


def _why(error: NewConnectionError) -> str:
    """The system's reason: refused, no route, an address family that this machine does not have …"""
    cause = error.__cause__
    return f" ({cause.strerror})" if isinstance(cause, OSError) and cause.strerror else ""


def _mark(response: BaseHTTPResponse, name: str) -> str:
    mark = response.headers.get(name, "")
    return mark if len(mark) <= _MAX_MARK and mark.isascii() else ""


def _late(host: str) -> ImageError:
    return ImageError("timeout", f"{host} did not send the image in time (LABELLOOP_FETCH_TIMEOUT)")


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise ImageError("refused", f"{_host(url)} redirects to an invalid URL") from error


def _host(url: str) -> str:
    """The host of an http(s) URL, for messages, as a signed URL's query is secret. Raises ImageError for other URLs."""
    try:
        place = parse_url(url)
    except LocationParseError as error:
        raise ImageError("unsupported", "the image's URL is invalid") from error
    if place.scheme not in ("http", "https") or not place.host or re.search(r"[\s\\]", place.host):
        raise ImageError("refused", f"only http and https are allowed for images, not {(place.scheme or '')[:20]!r}")
    return place.host
