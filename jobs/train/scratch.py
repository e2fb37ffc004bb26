"""Scratch folders of runs on this machine: each is held by the processes that use it; those that nobody holds go.

`<work_dir>/runs/<uid>/<run_id>`. A process holds its folder by a lock of the kernel (flock) on a file in it, which ends
with the process however that ends. So a later run of any project sees at once which ones killed runs left behind. The
lock is on a file and not on the folder, for which NFS asks no other machine.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

logger = logging.getLogger(__name__)

_LOCK = ".held"
_KEPT_LOGS = 200  # of the launcher local:, the newest ones


def scratch_of(work_dir: Path, uid: str, run_id: str) -> Path:
    """The folder of a run."""
    return work_dir / "runs" / quote(uid, safe="") / run_id


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a run's folder and hold it; several attempts may, one of which may be a zombie.

    Where the file system knows no locks nothing is held, and `remove_abandoned` removes nothing either.
    """
    descriptor = _hold(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def remove_abandoned(work_dir: Path, *, but: Path | None = None) -> None:
    """Remove the folders that no process holds, and old logs. `but`: of the run that is about to go on here."""
    for folder in (work_dir / "runs").glob("*/*"):
        if folder != but:
            remove(folder)
    for log in sorted((work_dir / "logs").glob("*.log"))[:-_KEPT_LOGS]:  # their names begin with the time
        log.unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Remove a folder, unless a process holds it. The lock goes last: whoever takes it has an empty folder."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    except OSError:  # the folder is gone meanwhile, or is nobody's scratch
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _same(descriptor, folder / _LOCK):
            return
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:
                path.unlink(missing_ok=True)
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()
        folder.parent.rmdir()
    except OSError as error:  # somebody holds it, or nobody can lock here, or another run's folder is beside it
        logger.debug(f"{folder}: {error}", extra={"event": "scratch_stays"})
    finally:
        os.close(descriptor)


def _hold(folder: Path) -> int:
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        except FileNotFoundError:  # somebody removed it just now
            continue
        except FileExistsError:  # it was there, and `mkdir` looked again too late
            if folder.exists():
                raise
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits for whoever removes it
        except OSError as error:
            logger.warning(f"{folder} cannot be locked: {error.strerror}", extra={"event": "scratch_not_held"})
            return descriptor
        if _same(descriptor, folder / _LOCK):
            return descriptor
        os.close(descriptor)


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
