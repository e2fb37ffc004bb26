"""Fetch the image or video of a task, whatever kind its value is, in bounded bytes and time, from allowed places."""

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

_LONGEST_WAY = 5  # redirects
_CHUNK = 1 << 18  # bytes
_DIGITS = 18  # of a length that anything can have; Python reads no number of more than 4300
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"User-Agent": "labelloop", "Accept": "*/*", "Accept-Encoding": "identity"}


_LONGEST_MARK = 1000  # characters of a version that are worth to be kept and sent


@dataclass(frozen=True, slots=True)
class Version:
    """Which state of a file was fetched, by its server's marks (RFC 9110, 8.8)."""

    etag: str = ""
    modified: str = ""
    fixed: bool = False  # nobody changes it: each upload to Label Studio has a name of its own

    def headers(self) -> dict[str, str]:
        """What asks for the file only if it is another one by now."""
        if self.etag:
            return {"If-None-Match": self.etag}
        return {"If-Modified-Since": self.modified} if self.modified else {}


class Fetched(NamedTuple):
    """What came."""

    data: bytes | None  # None: the file still is the known version
    version: Version | None  # None: its server does not tell one state from another


class Fetcher(Protocol):
    """What fetches the image or video that a task names, from where it is or from a cache. Thread-safe."""

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        """The bytes behind a value of `task.data`. `deadline` is a value of time.monotonic(). Raises ImageError."""


class ImageFetcher:
    """Thread-safe; keeps connections. The token goes to Label Studio's file routes, not after a foreign redirect."""

    def __init__(
        self,
        settings: Settings,
        label_studio: LabelStudio | None,
        *,
        limit: Literal["image_max_bytes", "video_max_bytes"] = "image_max_bytes",
        resolve: Resolve = resolve,
    ) -> None:
        """`limit`: the setting that bounds a file. `resolve` finds the addresses of a host (tests give their own)."""
        self._label_studio = label_studio
        self._max_bytes: int = getattr(settings, limit)
        self._limit = variable(limit)
        self._timeout = settings.fetch_timeout if limit == "image_max_bytes" else math.inf
        self._root = settings.image_root
        origin = label_studio.origin if label_studio else None
        rules = AddressRules(settings.allowed_private_hosts, origin=origin, resolve=resolve)
        self._http = pool(rules.connect, settings.fetch_concurrency)

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        """The bytes of the image that `value` (what `task.data` holds) names.

        `deadline` is a value of time.monotonic(); LABELLOOP_FETCH_TIMEOUT may end it sooner, but not a video. Raises
        ImageError.
        """
        data = self.fetch_newer(value, task_id=task_id, deadline=deadline, known=None).data
        assert data is not None  # nothing is known
        return data

    def fetch_newer(self, value: object, *, task_id: int | None, deadline: float, known: Version | None) -> Fetched:
        """As `fetch`; no bytes if they still are those of the `known` version."""
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
        for _ in range(_LONGEST_WAY + 1):
            response = self._ask(url, trusted, until, asked)
            try:
                if asked and response.status == 304:
                    return Fetched(None, known)
                if response.status not in _REDIRECTS:
                    self._raise_for_status(response.status, url, trusted, sent_there=source.trusted)
                    return Fetched(self._body(response, _host(url)), self._version(source, response))
                if response.headers.get("Content-Length") == "0":
                    response.read()  # nothing, but then the connection can be kept
                url = _joined(url, response.headers.get("Location", ""))
                trusted = trusted and serves_file(self._label_studio, url)
            finally:
                response.close()  # a connection whose answer was read to its end is back in the pool by now
        raise ImageError("refused", f"{_host(source.url)} redirects more than {_LONGEST_WAY} times")

    def _version(self, source: Remote, response: BaseHTTPResponse) -> Version | None:
        fixed = source.trusted and is_upload(self._label_studio, source.url)
        version = Version(_mark(response, "ETag"), _mark(response, "Last-Modified"), fixed)
        return version if version != Version() else None

    def _ask(self, url: str, trusted: bool, until: float, headers: dict[str, str]) -> BaseHTTPResponse:
        """The answer to one GET, its body unread."""
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
            except ProtocolError as error:  # usually a kept connection that the server closed just now
                if not once_more:
                    raise ImageError("unreachable", f"{host} breaks the connection off") from error
            except NewConnectionError as error:  # also a name without address; before TimeoutError, whose kind it is
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
            raise ImageError("unreachable", f"{host} sent {size} bytes and then broke off") from error
        return self._decompressed(b"".join(parts), response.headers.get("Content-Encoding", ""), host)

    def _raise_for_status(self, status: int, url: str, trusted: bool, *, sent_there: bool) -> None:
        """`trusted`: Label Studio answers; `sent_there`: it does, or it signed the URL of a storage."""
        host = _host(url)
        if status == 200:
            return
        if status in (401, 403):
            if not sent_there:
                raise ImageError("forbidden", f"{host} answers {status}: it was asked without credentials")
            hint = "check LABEL_STUDIO_API_KEY" if trusted else "the credentials of Label Studio's storage may be over"
            raise ImageError("unauthorized", f"{host} answers {status}: {hint}")
        if status == 404 and trusted and "/resolve/" in url:  # whatever goes wrong while it signs
            raise ImageError("unreachable", f"{host} cannot resolve the storage URI: look at the project's storage")
        # Label Studio answers 500 for an uploaded file that it does not know (any more).
        if status in (404, 410) or (status == 500 and trusted and "/data/upload/" in url):
            raise ImageError("not_found", f"{host} answers {status}: the image is not there")
        raise ImageError("unreachable", f"{host} answers {status}")

    def _decompressed(self, data: bytes, encoding: str, host: str) -> bytes:
        """Some servers compress although they were asked not to."""
        encoding = encoding.strip().lower()
        if encoding in ("", "identity", "aws-chunked"):
            return data
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise ImageError("unsupported", f"{host} sends Content-Encoding {encoding[:40]!r}")
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by its own header
        try:
            plain = decoder.decompress(data, self._max_bytes + 1)
        except zlib.error as error:
            raise ImageError("broken", f"{host} sends a body that is not {encoding}") from error
        if len(plain) > self._max_bytes:
            raise self._too_large(host)
        if not decoder.eof:
            raise ImageError("unreachable", f"{host} sends a {encoding} body that ends too soon")
        return plain

    def _too_large(self, host: str) -> ImageError:
        return ImageError("too_large", f"{host} sends more than {self._max_bytes} bytes ({self._limit})")


def _why(error: NewConnectionError) -> str:
    """What the system says: refused, no route, an address family that this machine does not have …"""
    cause = error.__cause__
    return f" ({cause.strerror})" if isinstance(cause, OSError) and cause.strerror else ""


def _mark(response: BaseHTTPResponse, name: str) -> str:
    mark = response.headers.get(name, "")
    return mark if len(mark) <= _LONGEST_MARK and mark.isascii() else ""


def _late(host: str) -> ImageError:
    return ImageError("timeout", f"{host} did not send the image in time (LABELLOOP_FETCH_TIMEOUT)")


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise ImageError("refused", f"{_host(url)} redirects to what is no URL") from error


def _host(url: str) -> str:
    """The host for messages: path and query of signed URLs hold secrets. Raises ImageError for other than http(s)."""
    try:
        place = parse_url(url)
    except LocationParseError as error:
        raise ImageError("unsupported", "the image's URL cannot be understood") from error
    if place.scheme not in ("http", "https") or not place.host or re.search(r"[\s\\]", place.host):
        raise ImageError("refused", f"an image may come by http or https, not by {(place.scheme or 'nothing')[:20]!r}")
    return place.host
