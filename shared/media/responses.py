"""What a server's response to a request for an image or video means: its errors, its body and its validators."""

import re
import zlib
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, LocationParseError, NewConnectionError, TimeoutError
from urllib3.util import parse_url

from shared.errors import ImageError

_CHUNK = 1 << 18  # bytes
_DIGITS = 18  # limit of a Content-Length's digits; Python's int() refuses more than 4300
_MAX_VALIDATOR = 1000  # characters of an ETag or Last-Modified; longer ones are not used


def raise_for_status(status: int, url: str, trusted: bool, *, sent_there: bool) -> None:
    """Raise ImageError unless the status is 200. `trusted`: Label Studio itself answered; `sent_there`: it did, or
    redirected to a signed URL of its storage.
    """
    host = host_of(url)
    if status == 200:
        return
    if status in (401, 403):
        if not sent_there:
            raise ImageError("forbidden", f"{host} answers {status}: it was asked without credentials")
        hint = "check LABEL_STUDIO_API_KEY" if trusted else "the credentials of Label Studio's storage may have expired"
        raise ImageError("unauthorized", f"{host} answers {status}: {hint}")
    if status == 404 and trusted and "/resolve/" in url:  # Label Studio's answer to any error of signing
        raise ImageError("unreachable", f"{host} cannot resolve the storage URI: look at the project's storage")
    # Label Studio answers 500 for an upload that it does not have (any more).
    if status in (404, 410) or (status == 500 and trusted and "/data/upload/" in url):
        raise ImageError("not_found", f"{host} answers {status}: there is no such file")
    raise ImageError("unreachable", f"{host} answers {status}")


def read_body(response: BaseHTTPResponse, host: str, max_bytes: int, limit: str) -> bytes:
    """The body, at most `max_bytes`. `limit`: the setting that says so. Raises ImageError."""
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and (len(announced) > _DIGITS or int(announced) > max_bytes):
        raise _too_large(host, max_bytes, limit)
    parts, size = [], 0
    try:
        while part := response.read(_CHUNK):
            size += len(part)
            if size > max_bytes:
                raise _too_large(host, max_bytes, limit)
            parts.append(part)
    except TimeoutError as error:
        raise late(host) from error
    except (HTTPError, OSError) as error:  # the connection ends before Content-Length bytes or the last chunk
        raise ImageError("unreachable", f"{host} closed the connection after {size} bytes") from error
    return _decompressed(b"".join(parts), response.headers.get("Content-Encoding", ""), host, max_bytes, limit)


def _decompressed(data: bytes, encoding: str, host: str, max_bytes: int, limit: str) -> bytes:
    """The body, decompressed: some servers compress although they were asked not to. Raises ImageError."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity", "aws-chunked"):
        return data
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ImageError("unsupported", f"{host} sends Content-Encoding {encoding[:40]!r}")
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, detected by its header
    try:
        plain = decoder.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise ImageError("broken", f"{host} sends a body that is not {encoding}") from error
    if len(plain) > max_bytes:
        raise _too_large(host, max_bytes, limit)
    if not decoder.eof:
        raise ImageError("unreachable", f"{host} sends a truncated {encoding} body")
    return plain


def _too_large(host: str, max_bytes: int, limit: str) -> ImageError:
    return ImageError("too_large", f"{host} sends more than {max_bytes} bytes ({limit})")


def validator(response: BaseHTTPResponse, name: str) -> str:
    """The header `name` of a response, by which the file can be asked for again only if it changed; "" if unusable."""
    found = response.headers.get(name, "")
    return found if len(found) <= _MAX_VALIDATOR and found.isascii() else ""


def reason_of(error: NewConnectionError) -> str:
    """Why there is no connection, in the system's words, for the end of a message; "" if it says nothing."""
    cause = error.__cause__
    return f" ({cause.strerror})" if isinstance(cause, OSError) and cause.strerror else ""


def late(host: str) -> ImageError:
    """The error of a server that does not answer by the deadline."""
    return ImageError("timeout", f"{host} did not send the image in time (LABELLOOP_FETCH_TIMEOUT)")


def joined(url: str, location: str) -> str:
    """The URL that a redirect from `url` leads to. Raises ImageError."""
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise ImageError("refused", f"{host_of(url)} redirects to an invalid URL") from error


def host_of(url: str) -> str:
    """The host of an http(s) URL, for messages, as a signed URL's query is secret. Raises ImageError for other URLs."""
    try:
        place = parse_url(url)
    except LocationParseError as error:
        raise ImageError("unsupported", "the image's URL is invalid") from error
    if place.scheme not in ("http", "https") or not place.host or re.search(r"[\s\\]", place.host):
        raise ImageError("refused", f"only http and https are allowed for images, not {(place.scheme or '')[:20]!r}")
    return place.host
