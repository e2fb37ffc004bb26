"""Local cache of weights: files by digest, verified before every use, limited in bytes.

Several processes may share the folder: a file gets its name only once it is complete and verified.
"""

import logging
import os
import shutil
from pathlib import Path

from functions.predict.ports import NotNow
from shared.digest import sha256_of
from shared.errors import NotFound
from shared.state.registry import Registry
from shared.state.versions import WEIGHTS, Manifest

logger = logging.getLogger(__name__)

_ABANDONED = 24 * 3600.0
"""Seconds after which a partial download counts as abandoned."""


class WeightsCache:
    """The cache in a folder: `<cache_dir>/weights`."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def path(self, registry: Registry, control: str, manifest: Manifest) -> Path:
        """The verified local file of a version's weights, downloaded if needed.

        Raises ModelError if the file in the store differs from its digest in the manifest; StoreError or NotNow if it
        cannot be downloaded or stored now. A missing file is NotNow: a copy of the store may be in progress.
        """
        entry = manifest.file(WEIGHTS)
        cached = self._folder / f"{entry.sha256}.pt"
        try:
            if not self._verified(cached, entry.sha256):
                self._folder.mkdir(parents=True, exist_ok=True)
                registry.download_file(control, entry, cached)
            os.utime(cached)
            self._evict(keep=cached)
        except NotFound as error:
            raise NotNow(f"the weights of {control!r} v{manifest.version} are not in the store") from error
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
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            files.append((stat.st_mtime, stat.st_size, path))
        newest = max((mtime for mtime, _, _ in files), default=0.0)
        total = sum(size for _, size, _ in files)
        for mtime, size, path in sorted(files):
            abandoned = path.suffix != ".pt" and newest - mtime > _ABANDONED
            too_much = path.suffix == ".pt" and path != keep and total > self._max_bytes
            if abandoned or too_much:
                if path.is_dir():  # a download that was killed
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
                total -= size
                logger.info(
                    "removed weights from the cache", extra={"event": "cache_evicted", "file": path.name, "bytes": size}
                )
