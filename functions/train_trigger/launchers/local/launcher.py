"""Jobs as processes of this machine: a few at once, detached, so that they outlive the function that started them."""

import contextlib
import fcntl
import glob
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from functions.train_trigger.launchers import JobStatus
from functions.train_trigger.launchers.local import line as local_line
from functions.train_trigger.launchers.local.line import JOB, TICKET, TURN, before, is_locked
from shared.errors import LaunchError
from shared.launcher_url import LauncherUrl
from shared.settings import Settings
from shared.state.jobs_record import PRELABEL
from shared.state.runs import TrainRequest

logger = logging.getLogger(__name__)


def open_launcher(url: LauncherUrl, settings: Settings, environ: Mapping[str, str]) -> "LocalLauncher":  # noqa: ARG001
    """A launcher whose jobs inherit `environ` and log below LABELLOOP_WORK_DIR."""
    gpus = gpus_of(environ) if settings.device == "auto" else ()
    turns = turns_of(settings.local_jobs, gpus)
    return LocalLauncher(Path(settings.work_dir) / "logs", environ, turns=turns)


def gpus_of(environ: Mapping[str, str], devices: Path = Path("/dev")) -> tuple[str, ...]:
    """The NVIDIA GPUs that a job would see, as CUDA_VISIBLE_DEVICES names them."""
    if (visible := environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return tuple(name for part in visible.split(",") if (name := part.strip()) not in ("", "-1"))
    return tuple(str(number) for number, _ in enumerate(devices.glob("nvidia[0-9]*")))


def turns_of(at_once: int, gpus: Sequence[str]) -> tuple[str, ...]:
    """For each job that may run at once its GPUs, shared evenly; "": no choice is made.

    `at_once` 0: as many jobs as GPUs, at least one.
    """
    count = at_once or len(gpus) or 1
    if count == 1 or not gpus:
        return ("",) * count
    share = max(len(gpus) // count, 1)
    starts = (number * share % len(gpus) for number in range(count))
    return tuple(",".join(gpus[start : start + share]) for start in starts)


class LocalLauncher:
    """Starts `command` (the training job) in a session of its own; its output goes to `<logs>/<run_id>-<attempt>.log`.

    A reference is `local:<host>:<pid>:<start>:<name of the log>`: process ids repeat, a process id with its start time
    does not. A job first waits in this machine's line, which is a folder beside the logs (`launchers.local.line`). Jobs
    that write predictions ahead have a line of their own, with one turn: neither kind waits hours for the other.
    """

    def __init__(
        self,
        logs: Path,
        environ: Mapping[str, str],
        command: Sequence[str] = (sys.executable, "-m", "jobs.train"),
        *,
        turns: Sequence[str] = ("",),
    ) -> None:
        """`turns`: for each job that may run at once its GPUs, or ""."""
        self._logs = logs
        self._line, self._line_ahead = logs.parent / "line", logs.parent / "line-ahead"
        self._turns = tuple(turns)
        self._environ = environ
        self._command = tuple(command)
        self._host = socket.gethostname()
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def launch(self, request: TrainRequest, *, attempt: int) -> str:
        """Start the job's process, which waits in line. Raises LaunchError if program or folders cannot be used."""
        log = self._logs / f"{request.run_id}-{attempt}.log"
        line, turns = self._line, self._turns
        if request.kind == PRELABEL:
            line, turns = self._line_ahead, self._turns[:1]
        self._check_command()
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._forget_places(log.name)
            ticket, lock = self._ticket(line, log.name)
            with lock, log.open("ab") as output:
                waiting = (sys.executable, "-I", local_line.__file__, ticket, str(lock.fileno()), ";".join(turns))
                process = subprocess.Popen(  # noqa: S603
                    (*waiting, *self._command),
                    env={**self._environ, "TRAIN_REQUEST": request.model_dump_json()},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(lock.fileno(),),
                )
                job = f"local:{self._host}:{process.pid}:{_stat(process.pid)[1]}:{log.name}"
                lock.write(f"{job}\n{request.store}\n".encode())
        except OSError as error:
            raise LaunchError(f"cannot start {self._command[0]} with its log at {log}: {error}") from error
        self._children[job] = process
        threading.Thread(target=self._reap, args=(job, process, log), name=f"reap-{process.pid}", daemon=True).start()
        return job

    def status(self, job: str) -> JobStatus:
        """`finished` or `failed` if this process started the job, else `gone` once it has ended. Raises LaunchError."""
        pid, start = self._process_of(job)
        child = self._children.get(job)
        code = child.poll() if child else None
        lives = code is None if child else _lives(pid, start)
        if ticket := self._ticket_of(job):
            if lives:
                return JobStatus("queued", self._place(ticket))
            return JobStatus("refused", f"it ended while it waited in line; its log is {self.logs(job)}")
        if lives:
            return JobStatus("running")
        if code:
            return JobStatus("failed", f"exit code {code}; its log is {self.logs(job)}")
        return JobStatus("gone" if code is None else "finished")

    def jobs_of(self, store: str) -> list[str]:
        """References of this machine's jobs that wait or run for a store, whichever process started them."""
        waiting = [path for path in self._in_line(f"*{TICKET}") if is_locked(path)]
        found = []
        for path in (*self._running(), *waiting):
            with contextlib.suppress(FileNotFoundError):  # its turn comes just now: the next call finds it
                job, *stores = path.read_text().splitlines() or [""]
                if stores == [store]:
                    found.append(job)
        return found

    def tidy(self) -> None:
        """Remove the files of jobs that ended. Raises LaunchError."""
        jobs = set(self._in_line(f"*{JOB}"))  # before the turns are read: a job's turn is there before its file
        try:
            for job in jobs.difference(self._running()):
                job.unlink(missing_ok=True)
        except OSError as error:
            raise LaunchError(f"jobs that ended are still in the line at {self._line}: {error}") from error

    def stop(self, job: str, number: int = signal.SIGTERM) -> None:
        """A signal (`shared.job_signals`) to the job's process group. Raises LaunchError."""
        pid, start = self._process_of(job)
        if not _lives(pid, start):
            return
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            return  # it ended in between
        except PermissionError as error:
            raise LaunchError(f"not allowed to stop process {pid}: {error}") from error

    def logs(self, job: str) -> str:
        """The path of the job's log."""
        scheme, *_, name = job.split(":")
        if scheme != "local" or not name.endswith(".log"):
            raise LaunchError(f"{job!r} is no job of the local launcher")
        return str(self._logs / name)

    def check(self) -> str:
        """Check that the program exists and logs can be written; starts nothing. Raises LaunchError."""
        there = next(folder for folder in (self._logs, *self._logs.parents) if folder.exists())
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            raise LaunchError(f"jobs cannot log at {self._logs}: {there} cannot be written; set LABELLOOP_WORK_DIR")
        self._check_command()
        return f"jobs run as processes of this machine, {len(self._turns)} at once, and log at {self._logs}"

    def _check_command(self) -> None:
        if shutil.which(self._command[0]) is None:
            raise LaunchError(f"jobs cannot start: {self._command[0]} is no program of this machine")

    def _in_line(self, pattern: str) -> list[Path]:
        """Files in both lines, oldest first in each."""
        return [path for line in (self._line, self._line_ahead) for path in sorted(line.glob(pattern))]

    def _ticket(self, line: Path, log: str) -> tuple[Path, IO[bytes]]:
        """A new ticket at the end of a line, and its file, which is locked as long as a process has it open."""
        line.mkdir(parents=True, exist_ok=True)
        ticket = line / f"{time.time_ns():020}-{log}{TICKET}"
        lock = ticket.with_suffix(".new").open("wb", buffering=0)
        fcntl.flock(lock, fcntl.LOCK_EX)
        ticket.with_suffix(".new").rename(ticket)  # nobody ever sees one without its lock
        return ticket, lock

    def _ticket_of(self, job: str) -> Path | None:
        """The ticket of a job that waits, or that ended before its turn; None if it had its turn."""
        for ticket in self._in_line(f"*-{glob.escape(job.rpartition(':')[2])}{TICKET}"):
            with contextlib.suppress(FileNotFoundError):  # its turn comes
                if ticket.read_text().startswith(f"{job}\n"):
                    return ticket
        return None

    def _place(self, ticket: Path) -> str:
        ahead, at_once = len(before(ticket)), len(self._turns)
        place = f"behind {ahead} other{'' if ahead == 1 else 's'}" if ahead else "as the next one"
        if ticket.parent == self._line_ahead:
            return f"in this machine's line of jobs that write predictions, {place}: 1 runs at once"
        runs = "1 runs" if at_once == 1 else f"{at_once} run"
        return f"in this machine's line, {place}: {runs} at once (LABELLOOP_LOCAL_JOBS)"

    def _running(self) -> list[Path]:
        """The `.job` files of jobs that have a turn now."""
        turns = ((turn, turn.read_text()) for turn in self._in_line(f"{TURN}*") if is_locked(turn))
        return [turn.parent / name for turn, name in turns if name]

    def _forget_places(self, log: str) -> None:
        """Remove tickets that processes of the same attempt left in the line when they ended."""
        for ticket in self._in_line(f"*-{glob.escape(log)}{TICKET}"):
            if not is_locked(ticket):
                ticket.unlink(missing_ok=True)

    def _process_of(self, job: str) -> tuple[int, str]:
        scheme, host, pid, start = (*job.split(":"), "", "", "", "")[:4]
        if scheme != "local" or not pid.isdecimal():
            raise LaunchError(f"{job!r} is no job of the local launcher")
        if host != self._host:
            raise LaunchError(f"{job!r} was started on {host}, this is {self._host}")
        return int(pid), start

    def _reap(self, job: str, process: subprocess.Popen[bytes], log: Path) -> None:
        code = process.wait()
        logger.info("a job ended", extra={"event": "job_ended", "job": job, "exit_code": code, "log": str(log)})


def _lives(pid: int, start: str) -> bool:
    if start != "-":
        state, found = _stat(pid)
        return found == start and state not in ("Z", "X")
    with contextlib.suppress(PermissionError):  # a process of another user: it lives
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def _stat(pid: int) -> tuple[str, str]:
    """State (`Z`: ended, not reaped) and start time in clock ticks since boot: proc(5), fields 3 and 22.

    ("", "-") if there is no such process, or no /proc.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", "-"
    fields = stat.rpartition(")")[2].split()  # the name before may hold anything
    return fields[0], fields[19]
