"""Local cache of graphs: files by digest, verified before every use, limited in bytes.

Beside each, in a folder, lies what an engine made of it for this machine; it is removed with it.

Several processes may share the folder: a file gets its name only once it is complete and verified.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shared.digest import sha256_of
from shared.errors import NotFound
from shared.objectstore import ObjectStore
from shared.prediction.ports import NotMadeYet, NotNow
from shared.state.base_weights import download_base_file, find_base_weights
from shared.state.registry import Registry
from shared.state.versions import GRAPH, FileEntry, Manifest

logger = logging.getLogger(__name__)

_ABANDONED = 24 * 3600.0
"""Seconds after which a partial download counts as abandoned."""
_FILE, _MADE = ".onnx", ".compiled"


def graph_of(manifest: Manifest) -> FileEntry:
    """The file that serves a version. Raises NotNow where it was published without one."""
    if manifest.graph is None:
        raise NotNow(
            f"v{manifest.version} of {manifest.control!r} was published without {GRAPH} by an older labelloop: a job "
            "makes it and publishes the version again"
        )
    return manifest.graph


class WeightsCache:
    """The cache in a folder: `<cache_dir>/weights`."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def path(self, registry: Registry, control: str, manifest: Manifest) -> Path:
        """The verified local file of a version's graph, downloaded if needed.

        Raises ModelError if the file in the store differs from its digest in the manifest; StoreError or NotNow if it
        cannot be downloaded or stored now. A missing file is NotNow: a copy of the store may be in progress.
        """
        entry = graph_of(manifest)
        try:
            return self._path(entry, lambda path: registry.download_file(control, entry, path))
        except NotFound as error:
            raise NotNow(f"the graph of {control!r} v{manifest.version} is not in the store") from error

    def base_path(self, store: ObjectStore, weights: str) -> Path:
        """A verified local file of the graph of base weights, by their file or name.

        Raises NotMadeYet, ModelError if the file differs from its digest, StoreError, NotNow.
        """
        record = find_base_weights(store, weights)
        if record is None:
            raise NotMadeYet(
                f"the base weights {Path(weights).name!r} are not in the store: nothing is predicted before a first "
                f"version, until a job has made them, or you have (labelloop base add {weights})"
            )
        entry = record.file(GRAPH)
        return self._path(entry, lambda path: download_base_file(store, record, GRAPH, path))

    def _path(self, entry: FileEntry, download: Callable[[Path], None]) -> Path:
        cached = self._folder / f"{entry.sha256}{_FILE}"
        try:
            if not self._verified(cached, entry.sha256):
                self._folder.mkdir(parents=True, exist_ok=True)
                download(cached)
            os.utime(cached, ns=(time.time_ns(), cached.stat().st_mtime_ns))  # of a file that changed nothing is kept
            self._evict(keep=cached)
        except OSError as error:
            raise NotNow(
                f"LABELLOOP_CACHE_DIR={str(self._folder.parent)!r} cannot be used: {error.strerror}"
            ) from error
        return cached

    def _verified(self, path: Path, sha256: str) -> bool:
        try:
            found = sha256_of(path)
        except FileNotFoundError:
            return False
        if found != sha256:
            logger.warning(
                "a cached file is damaged and downloaded again", extra={"event": "cache_damaged", "file": path.name}
            )
            path.unlink(missing_ok=True)
        return found == sha256

    def _evict(self, keep: Path) -> None:
        """Remove the least recently used files above the limit. Other processes may do the same at the same time."""
        files = []
        for path in self._folder.iterdir():
            if path.suffix == _MADE:
                continue
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            used = stat.st_mtime if path.is_dir() else max(stat.st_atime, stat.st_mtime)
            files.append((used, stat.st_size + _bytes_in(path.with_suffix(_MADE)), path))
        newest = max((used for used, _, _ in files), default=0.0)
        total = sum(size for _, size, _ in files)
        for used, size, path in sorted(files):
            abandoned = path.suffix != _FILE and newest - used > _ABANDONED
            too_much = path.suffix == _FILE and path != keep and total > self._max_bytes
            if abandoned or too_much:
                if path.is_dir():  # a download that was killed
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
                    shutil.rmtree(path.with_suffix(_MADE), ignore_errors=True)
                total -= size
                logger.info(
                    "removed weights from the cache", extra={"event": "cache_evicted", "file": path.name, "bytes": size}
                )


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total
