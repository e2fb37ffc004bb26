"""Immutable files in the store, under their digests: of versions and of base weights."""

import tempfile
from contextlib import suppress
from pathlib import Path

from shared.digest import sha256_of
from shared.errors import AlreadyExists, ModelError, StoreError
from shared.objectstore import ObjectStore
from shared.state.versions import FileEntry

_DOWNLOADS = 2  # tries before wrong bytes count as a bad file: a transfer may damage them once


def upload_once(store: ObjectStore, folder: str, name: str, path: Path) -> FileEntry:
    """Store one immutable file below `folder` under its digest; the same bytes are stored once."""
    entry = FileEntry(name=name, sha256=sha256_of(path), size=path.stat().st_size)
    with suppress(AlreadyExists):
        store.upload(f"{folder}/{entry.sha256}/{name}", path)
    return entry


def download_verified(store: ObjectStore, key: str, entry: FileEntry, path: Path, owner: str) -> None:
    """Fetch one file; only verified bytes ever stand at `path`. `owner`: whose it is, for errors.

    Raises NotFound, StoreError (also for this disk), and ModelError if the bytes are twice not those of `entry`.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".unverified-") as folder:
            unverified, found = Path(folder) / "file", ""
            for _ in range(_DOWNLOADS):
                store.download(key, unverified)
                found = sha256_of(unverified)
                if found == entry.sha256:
                    unverified.replace(path)
                    return
            raise ModelError(f"{entry.name} of {owner} has SHA-256 {found}, its manifest says {entry.sha256}")
    except OSError as error:
        raise StoreError(f"{entry.name} of {owner} cannot be kept at {path}: {error.strerror}") from error
