"""Jobs as processes of this machine: detached, so that they outlive the function that started them."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from functions.train_trigger.launchers import JobStatus
from shared.errors import LaunchError
from shared.launcher_url import LauncherUrl
from shared.runs import TrainRequest
from shared.settings import Settings

logger = logging.getLogger(__name__)


def open_launcher(url: LauncherUrl, settings: Settings, environ: Mapping[str, str]) -> "LocalLauncher":  # noqa: ARG001
    """Jobs that inherit `environ` and log below LABELLOOP_WORK_DIR."""
    return LocalLauncher(Path(settings.work_dir) / "logs", environ)


class LocalLauncher:
    """Starts `command` (the training job) in a session of its own, output to `<logs>/<run_id>-<attempt>.log`.

    A reference is `local:<host>:<pid>:<start>:<name of the log>`: process ids are used again, a process id with its
    start time is not.
    """

    def __init__(
        self, logs: Path, environ: Mapping[str, str], command: Sequence[str] = (sys.executable, "-m", "jobs.train")
    ) -> None:
        self._logs = logs
        self._environ = environ
        self._command = tuple(command)
        self._host = socket.gethostname()
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def launch(self, request: TrainRequest, *, attempt: int) -> str:
        """Start one attempt. Raises LaunchError if the interpreter or the log's folder cannot be used."""
        log = self._logs / f"{request.run_id}-{attempt}.log"
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                process = subprocess.Popen(  # noqa: S603
                    self._command,
                    env={**self._environ, "TRAIN_REQUEST": request.model_dump_json()},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise LaunchError(f"cannot start {self._command[0]} with its log at {log}: {error}") from error
        job = f"local:{self._host}:{process.pid}:{_stat(process.pid)[1]}:{log.name}"
        self._children[job] = process
        threading.Thread(target=self._reap, args=(job, process, log), name=f"reap-{process.pid}", daemon=True).start()
        return job

    def status(self, job: str) -> JobStatus:
        """`finished` and `failed` are known of own children only; of others `gone`. Raises LaunchError."""
        child = self._children.get(job)
        if child is not None:
            code = child.poll()
            return "running" if code is None else "finished" if code == 0 else "failed"
        return "running" if _lives(*self._process_of(job)) else "gone"

    def stop(self, job: str) -> None:
        """SIGTERM to the job's process group. Raises LaunchError."""
        pid, start = self._process_of(job)
        if not _lives(pid, start):
            return
        try:
            os.killpg(pid, signal.SIGTERM)
        except ProcessLookupError:
            return  # it ended in between
        except PermissionError as error:
            raise LaunchError(f"not allowed to stop process {pid}: {error}") from error

    def logs(self, job: str) -> str:
        """The file that the job writes to."""
        scheme, *_, name = job.split(":")
        if scheme != "local" or not name.endswith(".log"):
            raise LaunchError(f"{job!r} is no job of the local launcher")
        return str(self._logs / name)

    def check(self) -> str:
        """Whether the interpreter is there and logs can be written. Raises LaunchError."""
        there = next(folder for folder in (self._logs, *self._logs.parents) if folder.exists())
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            raise LaunchError(f"jobs cannot log at {self._logs}: {there} cannot be written; set LABELLOOP_WORK_DIR")
        if shutil.which(self._command[0]) is None:
            raise LaunchError(f"jobs cannot start: {self._command[0]} is no program of this machine")
        return f"jobs run as processes of this machine and log at {self._logs}"

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
    with contextlib.suppress(PermissionError):  # somebody else's process has it: it lives
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
