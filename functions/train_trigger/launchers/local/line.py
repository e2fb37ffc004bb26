"""A program that waits in this machine's line of trainings for a turn, and then becomes the training.

    python -I line.py <ticket> <file descriptor of its lock> <gpus of each turn> <command …>

Tickets and turns are locked files, so they are free when their process ends, however it ends. A ticket's name begins
with the time at which it was drawn. The first in line takes the first free turn, `turn-0` … beside the tickets. Turns
are separated by `;`, each with its GPUs (`0,1`), or empty if no choice is made. The ticket is then renamed to `.job`,
and the file of the turn, whose lock the training inherits, holds that name. This program loads only the standard
library: many may wait.
"""

import fcntl
import os
import sys
import time
from pathlib import Path

TICKET, JOB, TURN = ".ticket", ".job", "turn-"
_POLL = 0.25  # seconds, of the first in line only


def is_locked(path: Path) -> bool:
    """Whether a living process has the lock of a file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def before(ticket: Path) -> list[Path]:
    """The tickets of processes that wait since before this one, oldest first."""
    tickets = sorted(ticket.parent.glob(f"*{TICKET}"))
    return [path for path in tickets if path.name < ticket.name and is_locked(path)]


def _wait_for(path: Path) -> None:
    """Wait until no process has the lock of a file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return


def _free_turn(folder: Path, turns: int) -> tuple[int, int]:
    """Wait for a turn and lock it, also for the program that this process becomes; its number and file descriptor."""
    while True:
        for number in range(turns):
            turn = os.open(folder / f"{TURN}{number}", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(turn)
            else:
                return number, turn
        time.sleep(_POLL)


def main(ticket: Path, lock: int, gpus: list[str], command: list[str]) -> None:
    """Wait for a turn, then run the command in this process. Never returns."""
    while earlier := before(ticket):
        _wait_for(earlier[-1])
    number, turn = _free_turn(ticket.parent, len(gpus))
    if gpus[number]:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number]
    job = ticket.with_suffix(JOB)
    os.truncate(turn, 0)
    os.write(turn, job.name.encode())
    os.set_inheritable(turn, True)
    ticket.rename(job)
    os.close(lock)
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(";"), sys.argv[4:])
