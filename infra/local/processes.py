"""Child processes of this machine: started in a session of their own, watched, and ended as a whole."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import requests

from shared.errors import LabelloopError
from shared.web.peer import straight_session

Say = Callable[[str], None]
"""Tells a person what is going on: one short sentence at a time."""

LOOPBACK = "127.0.0.1"
_HEALTH_TIMEOUT = 2.0  # seconds for one question
_POLL = 0.1  # seconds between two looks


class StartError(LabelloopError):
    """A program of the local emulation could not be installed or did not come up."""


class Child:
    """One process. Its own session keeps the terminal's Ctrl-C away from it: it ends when `stop` says so."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        environ: Mapping[str, str],
        cwd: Path | None = None,
    ) -> None:
        """`environ` is the whole environment. Standard output and error are appended to `log`."""
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
            )

    @property
    def pid(self) -> int:
        """Process id, also of the process group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def last_lines(self, count: int = 15) -> str:
        """The end of its output, for an error message."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError as error:  # somebody removed it
            return f"it cannot be read: {error}"
        return "\n".join(lines[-count:])

    def wait_until_healthy(self, url: str, seconds: float, say: Say) -> None:
        """Return when `url` answers 200. Raises StartError, with the last log lines, if it ends or takes too long."""
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
        """SIGTERM to the whole process group, SIGKILL when the process has ended or after `grace` seconds.

        A worker whose master was killed would otherwise hold the port until its last request is answered.
        """
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def choose_port(port: int = 0) -> int:
    """`port` if it is free, for 0 any free one. Raises StartError if something listens on it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise StartError(f"port {port} of {LOOPBACK} is taken ({error.strerror}); choose another one") from error
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Two processes that need the same installation or download make it once."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
