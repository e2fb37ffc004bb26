"""Scratch folders of runs on this machine, `<work_dir>/runs/<uid>/<run_id>`, and their removal.

A process locks its folder (flock on a file in it); the kernel releases the lock when the process ends, even when
killed. So a later run of any project can remove the folders that nobody locks. A file is locked and not the folder,
because NFS does not share locks of folders between machines.
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
_KEPT_LOGS = 200  # newest logs of the launcher local:


def scratch_of(work_dir: Path, uid: str, run_id: str) -> Path:
    """The scratch folder of a run; not made."""
    return work_dir / "runs" / quote(uid, safe="") / run_id


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a run's folder and lock it (shared: an older attempt of the run may still be alive).

    On a file system without locks the folder is not locked, and `remove_abandoned` removes nothing.
    """
    descriptor = _locked_file(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def remove_abandoned(work_dir: Path, *, keep: Path | None = None) -> None:
    """Remove the folders that no process locks, and old logs. `keep`: the folder of the run that starts here."""
    for folder in (work_dir / "runs").glob("*/*"):
        if folder != keep:
            remove(folder)
    for log in sorted((work_dir / "logs").glob("*.log"))[:-_KEPT_LOGS]:  # names begin with the time
        log.unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Remove a folder, unless a process locks it. The lock file goes last: a new owner finds an empty folder."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    except OSError:  # the folder is gone, or this is no folder
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
    except OSError as error:  # locked; no locks here; or the project has another run's folder
        logger.debug(f"{folder}: {error}", extra={"event": "scratch_stays"})
    finally:
        os.close(descriptor)


def _locked_file(folder: Path) -> int:
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        except FileNotFoundError:  # another process removed it just now
            continue
        except FileExistsError:  # another process removed it while `mkdir` ran
            if folder.exists():
                raise
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits while another process removes it
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
