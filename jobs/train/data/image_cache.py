"""Cache of fetched images, by their address: in a folder shared by the jobs of a machine, optionally in the store too.

A cached image that may have changed is requested again with the version (ETag or similar) that its server gave, so that
an unchanged one is not sent again.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

from shared.errors import NotFound, StoreError
from shared.media.fetch import Fetched, Version
from shared.objectstore import ObjectStore
from shared.objectstore.temporary import temporary_file

logger = logging.getLogger(__name__)

_PART = 16  # a sixteenth of the allowed bytes may be added before the folder is measured again
_ABANDONED = 24 * 3600.0  # seconds after which a temporary file is left from a killed process
_HIDDEN = "."
_LONGEST_HEAD = 8192  # bytes


class Kept(NamedTuple):
    """A cached file and its version."""

    version: Version
    data: bytes


class Place(Protocol):
    """Where images are kept. Its failures are logged, not raised: images can be fetched instead."""

    def get(self, key: str) -> Kept | None:
        """The cached file; None if it is not there or damaged."""

    def put(self, key: str, kept: Kept) -> None:
        """Store the file, if there is room."""


class Source(Protocol):
    """Fetches an image from its address."""

    def fetch_newer(self, value: object, *, task_id: int | None, deadline: float, known: Version | None) -> Fetched:
        """The image, or no data if it still has the version `known`. Raises ImageError."""


class ImageCache:
    """A Fetcher that asks its places before its source. Thread-safe."""

    def __init__(self, source: Source, places: Sequence[Place], *, scope: str) -> None:
        """`places`: fastest first. `scope`: installation and project, as part of every key."""
        self._source = source
        self._places = places
        self._scope = scope

    def key(self, value: str) -> str:
        """The key of the image at the address `value`: a SHA-256."""
        return hashlib.sha256(f"{self._scope}\n{value}".encode("utf-8", "surrogatepass")).hexdigest()

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        """See Fetcher.fetch."""
        if not isinstance(value, str):
            return self._fetched(value, task_id, deadline, None).data or b""
        key = self.key(value)
        held = ((place, kept) for place in self._places if (kept := place.get(key)) is not None)
        found_in, known = next(held, (None, None))
        if known is None or not known.version.fixed:
            fetched = self._fetched(value, task_id, deadline, known.version if known else None)
            if fetched.data is not None:
                if fetched.version is not None:
                    self.keep(key, Kept(fetched.version, fetched.data))
                return fetched.data
        assert known is not None  # only a known version can be unchanged
        for place in self._places:
            if place is found_in:
                break
            place.put(key, known)
        return known.data

    def held(self, value: str) -> Iterator[bytes]:
        """What the places hold of an address, whether it is still like this at its source or not."""
        key = self.key(value)
        for place in self._places:
            if (kept := place.get(key)) is not None:
                yield kept.data

    def keep(self, key: str, kept: Kept) -> None:
        """Store it in all places."""
        for place in self._places:
            place.put(key, kept)

    def _fetched(self, value: object, task_id: int | None, deadline: float, known: Version | None) -> Fetched:
        return self._source.fetch_newer(value, task_id=task_id, deadline=deadline, known=known)


class Folder:
    """A Place on this machine, limited in bytes. Safe with several threads and processes."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """`max_bytes`: and never more than half of what the disk would have free without the folder."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._added = max_bytes  # so that the first `put` measures the folder

    def get(self, key: str) -> Kept | None:
        """See Place.get."""
        path = self._folder / key
        try:
            with path.open("rb") as file:  # read in two steps, so that a large video is not copied
                kept = _checked(file.readline(_LONGEST_HEAD), file.read())
            if kept is None:
                path.unlink(missing_ok=True)
            else:
                os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            _failed(f"{self._folder}: {error.strerror}")
            return None
        return kept

    def put(self, key: str, kept: Kept) -> None:
        """See Place.put."""
        head = _head(kept)
        size = len(head) + len(kept.data)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._added += size
            if self._added * _PART > self._max_bytes:
                self._added = size
                self._make_room(size)
            if shutil.disk_usage(self._folder).free < 2 * size or size > self._max_bytes:
                return
            with temporary_file(self._folder, _HIDDEN) as file:
                file.write(head)
                file.write(kept.data)
                file.flush()
                os.replace(file.name, self._folder / key)
        except OSError as error:
            _failed(f"{self._folder}: {error.strerror}")

    def _make_room(self, size: int) -> None:
        """Remove the least recently used files until `size` bytes fit. Other processes may do so at the same time."""
        files = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                try:
                    stat = entry.stat()
                except FileNotFoundError:
                    continue
                files.append((stat.st_mtime, stat.st_size, entry.name))
        total = sum(size for _, size, _ in files)
        allowed = min(self._max_bytes, (total + shutil.disk_usage(self._folder).free) // 2)
        allowed -= max(allowed // _PART, size)  # bytes that may be added before the next call
        for modified, size, name in sorted(files):
            in_use = name.startswith(_HIDDEN) and modified > time.time() - _ABANDONED
            if not in_use and (name.startswith(_HIDDEN) or total > allowed):
                (self._folder / name).unlink(missing_ok=True)
                total -= size


class InStore:
    """A Place in the store, below one folder. `shared.state.pruning` removes images that no task names any more."""

    def __init__(self, store: ObjectStore, folder: str) -> None:
        self._store = store
        self._folder = folder

    def get(self, key: str) -> Kept | None:
        """See Place.get."""
        try:
            stored = self._store.get(f"{self._folder}/{key}")
        except NotFound:
            return None
        except StoreError as error:
            _failed(str(error))
            return None
        head, end, data = stored.data.partition(b"\n") if stored else (b"", b"", b"")
        return _checked(head + end, data)

    def put(self, key: str, kept: Kept) -> None:
        """See Place.put."""
        try:
            self._store.put(f"{self._folder}/{key}", _head(kept) + kept.data)
        except StoreError as error:
            _failed(str(error))


def _head(kept: Kept) -> bytes:
    """The JSON line before the bytes: version and SHA-256."""
    return json.dumps(asdict(kept.version) | {"sha256": hashlib.sha256(kept.data).hexdigest()}).encode() + b"\n"


def _checked(head: bytes, data: bytes) -> Kept | None:
    """The file, or None if head or bytes are damaged."""
    try:
        fields = json.loads(head)
        sha256 = fields.pop("sha256")
        version = Version(**fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return Kept(version, data) if sha256 == hashlib.sha256(data).hexdigest() else None


@lru_cache(maxsize=64)
def _failed(why: str) -> None:
    """Log a failure, once for each reason."""
    logger.warning(f"images are not kept for later runs: {why}", extra={"event": "image_cache_failed"})
