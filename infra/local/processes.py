"""Child processes in sessions of their own, and helpers to start them: free ports, a lock."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import requests

from shared.errors import LabelloopError
from shared.web.peer import straight_session

Say = Callable[[str], None]
"""Shows a person one short sentence about what is going on."""

LOOPBACK = "127.0.0.1"
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - the second listens to IPv4, too
_HEALTH_TIMEOUT = 2.0  # seconds for one request
_POLL = 0.1  # seconds
_LAST = 15  # lines of a log that an error shows


class StartError(LabelloopError):
    """A program of the local emulation or the demo could not be installed, started or kept running."""


class Child:
    """One process with its children. The terminal's Ctrl-C does not reach its session; `stop` ends it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        environ: Mapping[str, str],
        cwd: Path | None = None,
        inherits: Sequence[int] = (),
    ) -> None:
        """Start it. `environ`: the whole environment. Output and errors are appended to `log`.

        `inherits`: open files that it keeps, by their descriptors.
        """
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603
                [str(part) for part in command],
                env=dict(environ),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=inherits,
            )

    @property
    def pid(self) -> int:
        """The id of the process and of its group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def last_lines(self) -> str:
        """The last lines of its log, for an error message."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError as error:  # it was removed
            return f"it cannot be read: {error}"
        return "\n".join(lines[-_LAST:])

    def wait_until_healthy(self, url: str, seconds: float, say: Say) -> None:
        """Wait until `url` answers. Raises StartError with the last log lines if the process ends or `seconds` pass."""
        started = time.monotonic()
        said = 0
        session = straight_session()
        while (waited := time.monotonic() - started) < seconds:
            if self.exit_code is not None:
                raise StartError(
                    f"{self.name} ended with exit code {self.exit_code} while it was starting. "
                    f"The end of its log ({self.log}):\n{self.last_lines()}"
                )
            with contextlib.suppress(requests.RequestException):
                if session.get(url, timeout=_HEALTH_TIMEOUT).ok:
                    return
            if waited >= said + 5:
                said = int(waited)
                say(f"waiting for {self.name} ({said} s)")
            time.sleep(_POLL)
        raise StartError(
            f"{self.name} did not answer {url} within {seconds:.0f} s. "
            f"The end of its log ({self.log}):\n{self.last_lines()}"
        )

    def stop(self, grace: float = 10.0) -> None:
        """Send SIGTERM to the process group, then SIGKILL, when the process has ended or after `grace` seconds.

        SIGKILL in any case, because a worker whose master is gone would hold the port until its last request is
        answered.
        """
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def interrupt_once() -> None:
    """Let the first Ctrl-C, SIGTERM or closed terminal raise KeyboardInterrupt in the main thread; ignore the next.

    For programs that then end what they started: a second one would cut that off (`timeout` sends two SIGTERM).
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(_number: int, _frame: object) -> NoReturn:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:  # also where a shell started this in the background, with SIGINT ignored
        signal.signal(number, interrupt)


def choose_port(port: int = 0) -> int:
    """`port` if it is free, any free one for 0. Raises StartError if it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise StartError(f"port {port} of {LOOPBACK} is taken ({error.strerror})") from error
        return int(probe.getsockname()[1])


def reached_at(host: str) -> str:
    """The address at which programs of this machine reach what listens on `host`, as URLs write it."""
    return LOOPBACK if host in EVERY_ADDRESS else before_port(host)


def before_port(host: str) -> str:
    """A host as it stands before `:port`: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


@contextlib.contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold a lock file: of several processes, one at a time runs the block."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
