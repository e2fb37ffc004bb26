"""The functions that a killed `labelloop up` left running: they hold their ports, and nobody restarts them or sweeps.

Each function inherits the lock of a file that holds its process id: as long as one process of its group lives, the lock
is held and the id is theirs. Whoever runs functions shares the lock of their folder, so it is known when nobody does.
"""

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from infra.local.processes import Say

_FOLDER_LOCK = "up.lock"
_GRACE = 10.0  # seconds between SIGTERM and SIGKILL
_POLL = 0.05  # seconds


@contextmanager
def running_in(folder: Path) -> Iterator[None]:
    """Say, for as long as the block takes, that the functions of this folder have somebody who runs them."""
    with (folder / _FOLDER_LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


@contextmanager
def noted(path: Path) -> Iterator[tuple[int, IO[str]]]:
    """(file descriptor for a process to inherit, file to write its id into), for the time of its start."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # one that was killed just now may still hold it
        yield file.fileno(), file


def end_leftovers(folder: Path, say: Say) -> None:
    """End the functions of this folder if whoever started them is gone, and wait until they are."""
    if not (folder / _FOLDER_LOCK).exists():
        return
    with (folder / _FOLDER_LOCK).open("w") as lock:
        if not _locks(lock):
            return  # they are somebody's
        for path in sorted(folder.glob("*.pid")):
            with path.open() as file:
                _end(file, path.stem, say)
            path.unlink(missing_ok=True)


def _end(file: IO[str], name: str, say: Say) -> None:
    if _locks(file) or not (pid := file.read()).isdigit():
        return
    say(f"ending {name}, which a killed `labelloop up` left running")
    until = time.monotonic() + _GRACE
    number = signal.SIGTERM
    while not _locks(file):
        with suppress(ProcessLookupError):
            os.killpg(int(pid), number)
        if time.monotonic() > until:
            number = signal.SIGKILL
        time.sleep(_POLL)


def _locks(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
