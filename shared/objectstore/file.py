"""Objects as files below one folder of a POSIX file system. Safe between threads and between processes.

A write goes to a temporary file, is flushed to disk and renamed into place, so it is atomic for readers and crashes.
Conditions are checked under `flock`, which the kernel releases when a process dies. Locks and temporary files are in
`.labelloop/` of the folder; a temporary file of a killed process is removed after a day.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from shared.errors import AlreadyExists, NotFound, PreconditionFailed, SettingsError, StoreError, StoreRefusal
from shared.objectstore import Stored, Token, check_key
from shared.objectstore.temporary import temporary_file

_OWN = ".labelloop"
_ABANDONED = 24 * 3600.0  # seconds after which a temporary file counts as abandoned
_TRIES = 100  # of a rename; a try fails if another process removes the folder at that moment
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class FileStore:
    """The object store in a folder. `url` is `file:///absolute/folder`; the folder is made by the first write."""

    def __init__(self, url: str) -> None:
        """Raises SettingsError if the URL is not an absolute folder of this machine."""
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query or parts.fragment:
            raise SettingsError(f"LABELLOOP_STORE={url!r}: a folder is written file:///absolute/folder (# as %23)")
        self.url = url
        self._root = Path(url2pathname(parts.path))

    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        """See ObjectStore.get."""
        with _translated(self._path(key)) as path:
            stored = _read(path)
        if stored is None:
            raise NotFound(f"{self.url} holds no {key}")
        return None if stored.token == if_changed_from else stored

    def create(self, key: str, data: bytes) -> Token:
        """See ObjectStore.create."""
        self._write(key, lambda file: file.write(data), self._must_be_absent)
        return _token(data)

    def replace(self, key: str, data: bytes, token: Token) -> Token:
        """See ObjectStore.replace."""

        def unchanged(key: str, path: Path) -> None:
            stored = _read(path)
            if stored is None or stored.token != token:
                raise PreconditionFailed(f"{key} in {self.url} {'is gone' if stored is None else 'was changed'}")

        self._write(key, lambda file: file.write(data), unchanged)
        return _token(data)

    def put(self, key: str, data: bytes) -> Token:
        """See ObjectStore.put."""
        self._write(key, lambda file: file.write(data))
        return _token(data)

    def upload(self, key: str, path: Path) -> None:
        """See ObjectStore.upload."""
        with _translated(path), path.open("rb") as source:
            self._must_be_absent(key, self._path(key))  # avoids a useless copy; checked again under the lock
            self._write(key, lambda file: shutil.copyfileobj(source, file, 1 << 20), self._must_be_absent)

    def download(self, key: str, path: Path) -> None:
        """See ObjectStore.download."""
        with _translated(path):
            try:
                source = self._path(key).open("rb")
            except _ABSENT as error:
                raise NotFound(f"{self.url} holds no {key}") from error
            with source, temporary_file(path.parent, f".{path.name}.") as file:
                shutil.copyfileobj(source, file, 1 << 20)
                file.flush()
                os.replace(file.name, path)

    def delete(self, key: str) -> None:
        """See ObjectStore.delete."""
        with _translated(self._path(key)) as path, suppress(*_ABSENT), self._lock(key):
            path.unlink()
            _sync_folder(path.parent)
            _remove_empty(path.parent, self._root)

    def list(self, prefix: str) -> Iterator[str]:
        """See ObjectStore.list."""
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)
        with _translated(self._root / folder):
            yield from (key for key in _walk(self._root / folder, f"{folder}/" if folder else "", prefix))

    def folders(self, folder: str) -> Iterator[str]:
        """See ObjectStore.folders."""
        path = self._path(folder)
        with _translated(path):
            try:
                with os.scandir(path) as entries:
                    names = sorted(entry.name for entry in entries if entry.is_dir())
            except _ABSENT:
                return
        yield from names

    def now(self) -> datetime:
        """See ObjectStore.now. This machine's clock, which all processes that use the folder share."""
        return datetime.now(UTC)

    def _path(self, key: str) -> Path:
        if check_key(key).split("/", 1)[0] == _OWN:
            raise StoreRefusal(f"{key!r}: {self.url} uses {_OWN} for its locks")
        return self._root / key

    def _must_be_absent(self, key: str, path: Path) -> None:
        if path.exists():
            raise AlreadyExists(f"{self.url} already holds {key}")

    def _write(
        self, key: str, fill: Callable[[BinaryIO], object], check: Callable[[str, Path], None] | None = None
    ) -> None:
        """Fill a temporary file and rename it into place, unless `check`, called under the key's lock, raises."""
        with _translated(self._path(key)) as path:
            temporary = self._root / _OWN / "temporary"
            _make_folder(temporary)
            _remove_abandoned(temporary)
            with temporary_file(temporary) as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
                with self._lock(key):
                    if check:
                        check(key, path)
                    _put_in_place(Path(file.name), path)

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        """Exclude other writers of the key. 256 lock files serve all keys, so some keys share one."""
        locks = self._root / _OWN / "locks"
        _make_folder(locks)
        with (locks / hashlib.sha256(key.encode()).hexdigest()[:2]).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield  # closing the file releases the lock


def _token(data: bytes) -> Token:
    return Token(hashlib.sha256(data).hexdigest())


def _read(path: Path) -> Stored | None:
    try:
        data = path.read_bytes()
    except _ABSENT:
        return None
    return Stored(data, _token(data))


def _walk(folder: Path, base: str, prefix: str) -> Iterator[str]:
    """Keys below a folder that start with `prefix`, ascending. Files that are deleted meanwhile are left out."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name + "/" if entry.is_dir() else entry.name for entry in entries)
    except _ABSENT:
        return
    for name in names:
        key = base + name
        if not key.startswith(prefix) or key == f"{_OWN}/":
            continue
        if name.endswith("/"):
            yield from _walk(folder / name, key, prefix)
        else:
            yield key


def _remove_abandoned(folder: Path) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.stat().st_mtime < time.time() - _ABANDONED:
                    os.unlink(entry.path)


def _put_in_place(file: Path, path: Path) -> None:
    """Rename a file. Retried if the folder is removed meanwhile, because its last other key was deleted."""
    for left in reversed(range(_TRIES)):
        try:
            _make_folder(path.parent)
            os.replace(file, path)
        except (FileNotFoundError, FileExistsError):  # mkdir says the latter of a folder that goes at that moment
            if not left:
                raise
            continue
        with suppress(FileNotFoundError):  # the key was deleted already, with its folder
            _sync_folder(path.parent)
        return


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove the folder and its parents up to `root`, as far as they are empty: `folders` must not list them."""
    while folder != root:
        try:
            folder.rmdir()
        except OSError:  # not empty
            return
        folder = folder.parent


def _make_folder(folder: Path) -> None:
    """Like `mkdir -p`, with each new entry flushed to disk."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_ADVICE = {
    errno.EACCES: "let this process read and write there, or set LABELLOOP_STORE to another folder",
    errno.EPERM: "let this process read and write there, or set LABELLOOP_STORE to another folder",
    errno.EROFS: "set LABELLOOP_STORE to a folder that can be written",
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room in the quota of that disk",
    errno.ENAMETOOLONG: "a control or file name is too long for this file system",
}
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)
"""Errors that a retry does not change. A full disk may get room again."""


@contextmanager
def _translated(path: Path) -> Iterator[Path]:
    """Yields the path; turns an OSError of the `with` block into a StoreError or StoreRefusal with advice."""
    try:
        yield path
    except OSError as error:
        reason = error.strerror or type(error).__name__
        advice = _ADVICE.get(error.errno or 0)
        kind = StoreRefusal if error.errno in _REFUSALS else StoreError
        raise kind(f"{error.filename or path}: {reason}" + (f"; {advice}" if advice else "")) from error
