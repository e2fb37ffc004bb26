"""The programs as processes: started again when they end, as a supervisor does; found, killed and starved by number."""

import os
import random
import resource
import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from infra.local.processes import Child

MARK = "FAULTS_WORLD"
"""Variable that every process of one world inherits: what is still there at the end is found by it."""
_PROC = Path("/proc")
_WATCH = 0.2  # seconds between two looks
_JOB_SECONDS = 60.0  # until a job has ended that was told to


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the world."""

    pid: int
    group: int
    command: str

    @property
    def is_job(self) -> bool:
        """A training job, or a process that it started."""
        return "jobs.train" in self.command


class Supervisor:
    """Keeps programs running. A restart is not counted: how often they die here is no fault of theirs."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        """Logs go to `folder`; `environ` is what programs get, with a mark."""
        self.mark = secrets.token_hex(8)
        self.environ = {**environ, MARK: self.mark}
        self.folder = folder
        self._commands: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {}
        self._children: dict[str, Child] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.restarts = 0

    def run(self, name: str, command: Sequence[str], **environ: str) -> None:
        """Start it now, and again whenever it ends."""
        with self._lock:
            self._commands[name] = (command, {**self.environ, **environ})
            self._start(name)
        if not self._thread.is_alive():
            self._thread.start()

    def child(self, name: str) -> Child:
        """The program as it is now."""
        with self._lock:
            return self._children[name]

    def log(self, name: str) -> Path:
        """What it writes."""
        return self.folder / f"{name}.log"

    def groups(self) -> set[int]:
        """Of all programs."""
        with self._lock:
            return {child.pid for child in self._children.values()}

    def processes(self) -> list[Process]:
        """Everything that carries the mark, jobs included."""
        return marked(self.mark)

    def stop(self) -> None:
        """End the programs, in the order opposite to their start, and then the jobs, as the local emulation does."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        for child in reversed(self._children.values()):
            child.stop()
        until = time.monotonic() + _JOB_SECONDS
        terminate(jobs := [process for process in self.processes() if process.is_job])
        while jobs and time.monotonic() < until:
            time.sleep(_WATCH)
            jobs = [process for process in self.processes() if process.is_job]

    def _start(self, name: str) -> None:
        command, environ = self._commands[name]
        self._children[name] = Child(name, command, self.log(name), environ=environ)

    def _watch(self) -> None:
        while not self._ended.wait(_WATCH):
            with self._lock:
                for name, child in list(self._children.items()):
                    if child.exit_code is not None:
                        child.stop()  # what it left behind would hold its port
                        self.restarts += 1
                        self._start(name)


def marked(mark: str) -> list[Process]:
    """The processes, zombies left out, whose environment carries the mark."""
    found = []
    needle = f"{MARK}={mark}".encode()
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        with suppress(OSError):  # it ended meanwhile, or is somebody else's
            if needle in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append(Process(int(folder.name), os.getpgid(int(folder.name)), command.strip()))
    return found


def kill(processes: Sequence[Process]) -> None:
    """SIGKILL; nothing that ended already is an error."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def terminate(processes: Sequence[Process]) -> None:
    """SIGTERM to their groups."""
    for group in {process.group for process in processes}:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGTERM)


def some_of(processes: Sequence[Process], rng: random.Random) -> Sequence[Process]:
    """All of them, or one: whom the kernel picks when memory is short."""
    return processes if rng.random() < 0.6 else [rng.choice(processes)]


def starve(processes: Sequence[Process], spare: int) -> Callable[[], None]:
    """No more address space than they have now and `spare` bytes; the answer gives it back."""
    before: list[tuple[int, tuple[int, int]]] = []
    for process in processes:
        with suppress(OSError, IndexError):
            pages = int((_PROC / str(process.pid) / "statm").read_text().split()[0])
            now = pages * resource.getpagesize() + spare
            old = resource.prlimit(process.pid, resource.RLIMIT_AS)
            resource.prlimit(process.pid, resource.RLIMIT_AS, (now, old[1]))
            before.append((process.pid, old))

    def give_back() -> None:
        for pid, limit in before:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_AS, limit)

    return give_back
