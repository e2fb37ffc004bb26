"""Classifies the image value of a task: inline bytes, a file below the shared root, or a URL with or without token."""

import base64
import binascii
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, unquote_to_bytes, urlsplit

from shared.errors import ImageError
from shared.labelstudio.api import LabelStudio

STORAGE_SCHEMES = ("s3", "gs", "azure-blob")
_FILE_ROUTE = re.compile(r"/(data/upload/|data/local-files/|storage-data/uploaded/|(tasks|projects)/\d+/resolve/)")
"""Label Studio's routes for files. Only they get the token: a task must not make labelloop call the API with it."""
_UPLOADS = ("/data/upload/", "/storage-data/uploaded/")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,30}):", re.IGNORECASE)
_UNESCAPED_AT_ONCE = 1 << 13  # characters that are unquoted at a time
_SPACES = b" \t\n\f\r"
"""Browsers ignore them in base64 (https://infra.spec.whatwg.org/#forgiving-base64-decode)."""
_DATA_URI = re.compile(r"data:image/[\w.+-]+(;[\w.+-]+=[\w.+-]+)*;base64,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Inline:
    """The image itself, from a `data:` value."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A path relative to the folder that is shared with Label Studio; unchecked."""

    path: str


@dataclass(frozen=True, slots=True)
class Remote:
    """An absolute http(s) URL. `trusted`: it is one of Label Studio's routes for files and may get the token."""

    url: str
    trusted: bool


def locate(
    value: object, *, task_id: int | None, label_studio: LabelStudio | None, shared: bool, max_bytes: int, limit: str
) -> Inline | SharedFile | Remote:
    """The source that a value names. `shared`: there is a shared folder. `limit`: the setting of `max_bytes`.

    Raises ImageError. Uses neither network nor disk.
    """
    if not isinstance(value, str):
        raise ImageError("unsupported", f"the image value is a {type(value).__name__}, not a text")
    text = value.strip()
    found = _SCHEME.match(text)
    scheme = found.group(1).lower() if found else ""
    if scheme == "data":
        return Inline(_inline(text, max_bytes, limit))
    if scheme in STORAGE_SCHEMES:
        return _resolved_by_label_studio(text, scheme, task_id, label_studio)
    if scheme in ("http", "https"):
        return Remote(text, serves_file(label_studio, text))
    if scheme or not text.startswith("/") or text.startswith("//"):
        raise ImageError(
            "unsupported",
            f"image values like {scheme + ':' if scheme else text[:20]!r} are not supported: use an upload of Label "
            "Studio, http(s), a storage URI or data:image",
        )
    return _path_of_label_studio(text, label_studio, shared)


def serves_file(label_studio: LabelStudio | None, url: str) -> bool:
    """Whether a URL is one of Label Studio's routes for files, without `..` that could lead out of it."""
    path = label_studio.path_below(url) if label_studio else None
    if path is None or _FILE_ROUTE.match(path) is None:
        return False
    return ".." not in unquote(path).replace("\\", "/").split("/")


def is_upload(label_studio: LabelStudio | None, url: str) -> bool:
    """Whether a URL is a file uploaded to Label Studio; its content never changes."""
    path = label_studio.path_below(url) if label_studio else None
    return path is not None and path.startswith(_UPLOADS)


def read_shared(root: str, path: str, max_bytes: int, limit: str) -> bytes:
    """The bytes of a regular file below `root`, with symbolic links resolved. Raises ImageError."""
    folder = Path(root).resolve()
    try:
        file = (folder / path.lstrip("/")).resolve()
        if not file.is_relative_to(folder):
            raise ImageError("refused", "the local file lies outside LABELLOOP_IMAGE_ROOT")
        # O_NONBLOCK: opening a named pipe must not wait for a writer. O_NOFOLLOW: the path is resolved already.
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise ImageError("refused", "the local file is not a regular file")
            data = opened.read(max_bytes + 1)
    except IsADirectoryError as error:
        raise ImageError("refused", "the local file is a folder") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError("not_found", f"no file {path[:200]!r} below LABELLOOP_IMAGE_ROOT={root}") from error
    except (OSError, ValueError, RuntimeError) as error:  # also a NUL character, a loop of links
        raise ImageError("unreachable", f"a file below LABELLOOP_IMAGE_ROOT={root}: {type(error).__name__}") from error
    if len(data) > max_bytes:
        raise ImageError("too_large", f"the local file has more than {max_bytes} bytes ({limit})")
    return data


def _inline(text: str, max_bytes: int, limit: str) -> bytes:
    head = _DATA_URI.match(text)
    if head is None:
        raise ImageError("unsupported", "only data:image/…;base64,… is supported of data: values")
    if (len(text) - head.end()) // 4 * 3 > 3 * max_bytes + 3:  # percent-escapes make it up to three times as long
        raise ImageError("too_large", f"the data: value has more than {max_bytes} bytes ({limit})")
    try:
        data = base64.b64decode(_unescaped(text, head.end()).translate(None, _SPACES), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError("broken", "the data: value is not base64") from error
    if len(data) > max_bytes:
        raise ImageError("too_large", f"the data: value has more than {max_bytes} bytes ({limit})")
    return data


def _unescaped(text: str, begin: int) -> bytearray:
    """The bytes of percent-escaped text from `begin` on. In parts, since unquoting takes some 50 bytes an escape."""
    plain = bytearray()
    while begin < len(text):
        end = begin + _UNESCAPED_AT_ONCE
        if (split := text.find("%", end - 2, end)) >= 0:
            end = split
        plain += unquote_to_bytes(text[begin:end])
        begin = end
    return plain


def _resolved_by_label_studio(uri: str, scheme: str, task_id: int | None, label_studio: LabelStudio | None) -> Remote:
    """Label Studio's route for a storage URI. Our own credentials might read buckets that a task's author must not."""
    if label_studio is None:
        raise _needs_label_studio(f"{scheme}://")
    if task_id is None:
        raise ImageError("unsupported", f"an {scheme}:// image without a task id: Label Studio resolves it by the task")
    encoded = quote(base64.urlsafe_b64encode(uri.encode()).decode())
    return Remote(f"{label_studio.url}/tasks/{task_id}/resolve/?fileuri={encoded}", trusted=True)


def _path_of_label_studio(path: str, label_studio: LabelStudio | None, shared: bool) -> SharedFile | Remote:
    """The source of a path in a task. It may have Label Studio's path prefix, also if LABEL_STUDIO_URL has none."""
    route = _FILE_ROUTE.search(urlsplit(path).path)
    if route is not None:
        if shared and route.group(1) == "data/local-files/":
            wanted = parse_qs(urlsplit(path).query).get("d")
            if not wanted:
                raise ImageError("not_found", "a /data/local-files/ value without ?d=")
            return SharedFile(wanted[0])
        path = path[route.start() :]
    if label_studio is None:
        raise _needs_label_studio(path.split("?")[0][:80])
    url = label_studio.url + path
    return Remote(url, serves_file(label_studio, url))


def _needs_label_studio(what: str) -> ImageError:
    return ImageError("unauthorized", f"{what}: set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY to fetch it")
