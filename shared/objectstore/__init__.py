"""One port for everything that labelloop stores, and the table from a URL's scheme to the adapter behind it.

The port has three ways to write, with three refusals: `create` (only if absent, else AlreadyExists), `replace`
(only if unchanged since the token was read, else PreconditionFailed) and `put` (always). A read of nothing is NotFound.

A network may lose the answer to a write that succeeded. So an adapter may count a refused write as its own when the
stored bytes equal the bytes it sent; bodies that must not be confused carry a serial or a nonce.
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
"""Names one state of one object. Opaque: compare it for equality, hand it back to `get` and `replace`."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it was read."""

    data: bytes
    token: Token


class ObjectStore(Protocol):
    """Keys are relative, `/`-separated, without empty, `.` or `..` parts. All times are aware UTC."""

    url: str

    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        """The object, or None if it still is what `if_changed_from` names. Raises NotFound."""

    def create(self, key: str, data: bytes) -> Token:
        """Write only if nothing is there. Raises AlreadyExists."""

    def replace(self, key: str, data: bytes, token: Token) -> Token:
        """Write only if the object still is what `token` names. Raises PreconditionFailed (also when it is gone)."""

    def put(self, key: str, data: bytes) -> Token:
        """Write in any case: for objects that inform only."""

    def delete(self, key: str) -> None:
        """Remove; nothing there is no error. Never conditional: stores disagree about that."""

    def list(self, prefix: str) -> Iterator[str]:
        """Every key that starts with `prefix` (plain string prefix), in ascending order."""

    def folders(self, folder: str) -> Iterator[str]:
        """Names of the folders right below `folder/`, ascending, without going through their keys.

        Some stores go on naming a folder for a while after its last object was deleted.
        """

    def upload(self, key: str, path: Path) -> None:
        """Write a file of any size, only if nothing is there. Raises AlreadyExists. Never leaves half an object."""

    def download(self, key: str, path: Path) -> None:
        """Read an object of any size into `path`, by way of a temporary file beside it. Raises NotFound."""

    def now(self) -> datetime:
        """The store's clock: one clock for all who claim and expire."""


def check_key(key: str) -> str:
    """The key itself. Raises StoreRefusal if it could lead out of the store, or name nothing in one of the adapters."""
    if any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key:
        raise StoreRefusal(f"{key!r} is no key of an object store: parts must not be empty, '.' or '..', nor hold NUL")
    return key


_ADAPTERS = {
    "file": ("shared.objectstore.file", "FileStore", None),
    "s3": ("shared.objectstore.s3", "S3Store", None),
    "gs": ("shared.objectstore.gcs", "GCSStore", "gcs"),
}
"""Scheme → module, class, extra that brings its library."""


def open_store(url: str, *, s3_endpoint: str | None = None) -> ObjectStore:
    """The store behind a URL: `file:///var/labelloop`, `s3://bucket/prefix` or `gs://bucket/prefix`.

    `s3_endpoint` is the HTTP address of an S3-compatible server (None: AWS). Credentials come from the library's own
    chain: boto3's (AWS_ACCESS_KEY_ID …, profile, role), Google's application default ones. Raises SettingsError for a
    URL without adapter, or whose library is not installed; touches no network.
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
