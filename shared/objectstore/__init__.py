"""The port `ObjectStore` for everything that labelloop stores, and the table of its adapters by URL scheme.

There are three ways to write: `create` (only if absent, else AlreadyExists), `replace` (only if unchanged since the
token was read, else PreconditionFailed) and `put` (always). Reading a missing object raises NotFound.

The response to a successful write may be lost. So an adapter takes a refused write for a success if the stored bytes
equal those that it sent; bodies that must be told apart carry a serial or a nonce.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NewType, Protocol
from urllib.parse import urlsplit

from shared.errors import SettingsError, StoreRefusal

Token = NewType("Token", str)
"""Identifies one state of one object. Opaque: only to be compared, and passed to `get` and `replace`."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object's bytes, and the token of its state."""

    data: bytes
    token: Token


class ObjectStore(Protocol):
    """Keys are relative, `/`-separated, without empty, `.` or `..` parts. Times are aware, in UTC.

    Every method also raises StoreError if the store fails, and StoreRefusal if a retry does not help.
    """

    url: str

    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        """The object; None if it is unchanged since the token `if_changed_from`. Raises NotFound."""

    def create(self, key: str, data: bytes) -> Token:
        """Write only if the object does not exist. Raises AlreadyExists."""

    def replace(self, key: str, data: bytes, token: Token) -> Token:
        """Write only if the object is unchanged since `token`. Raises PreconditionFailed, also if it was deleted."""

    def put(self, key: str, data: bytes) -> Token:
        """Write unconditionally: for objects that only inform."""

    def delete(self, key: str) -> None:
        """Delete; a missing object is no error. Never conditional, as stores differ in that."""

    def list(self, prefix: str) -> Iterator[str]:
        """All keys that start with the string `prefix`, ascending."""

    def folders(self, folder: str) -> Iterator[str]:
        """Names of the folders directly below `folder/`, ascending, without listing their keys.

        Some stores still name a folder for a while after its last object was deleted.
        """

    def upload(self, key: str, path: Path) -> None:
        """Write a file of any size, only if the object does not exist, and atomically. Raises AlreadyExists."""

    def download(self, key: str, path: Path) -> None:
        """Read an object of any size into `path`, atomically by a temporary file beside it. Raises NotFound."""

    def now(self) -> datetime:
        """The store's clock, by which all processes set and check the expiry of claims."""


def check_key(key: str) -> str:
    """Return the key. Raises StoreRefusal if it could lead out of the store, or is invalid in some adapter."""
    if any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key:
        raise StoreRefusal(
            f"{key!r} is not a key of an object store: parts must not be empty, '.' or '..', or hold NUL"
        )
    return key


_ADAPTERS = {
    "file": ("shared.objectstore.file", "FileStore", None),
    "s3": ("shared.objectstore.s3", "S3Store", None),
    "gs": ("shared.objectstore.gcs", "GCSStore", "gcs"),
}
"""Scheme → (module, class, extra that installs its library)."""


def open_store(url: str, *, s3_endpoint: str | None = None) -> ObjectStore:
    """The store at a URL: `file:///var/labelloop`, `s3://bucket/prefix` or `gs://bucket/prefix`.

    `s3_endpoint` is the HTTP URL of an S3-compatible server (None: AWS). The libraries find credentials: boto3 in its
    chain (AWS_ACCESS_KEY_ID …, profile, role), Google's in its application default credentials. Raises SettingsError
    for an unknown scheme or a library that is not installed. Makes no request.
    """
    scheme = urlsplit(url).scheme
    if scheme not in _ADAPTERS:
        known = " or ".join(f"{name}://…" for name in _ADAPTERS)
        raise SettingsError(f"LABELLOOP_STORE must begin with {known}, not with {scheme[:20]!r}")
    module, name, extra = _ADAPTERS[scheme]
    try:
        adapter = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"LABELLOOP_STORE={scheme}://…: {error.name} is not installed: pip install 'labelloop[{extra}]'"
        ) from error
    store: ObjectStore = adapter(url, endpoint=s3_endpoint) if scheme == "s3" else adapter(url)
    return store
