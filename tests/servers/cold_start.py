"""What a serverless runtime is to predict: asleep it has no process; a request starts one and is held meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from infra.local.processes import LOOPBACK, Child, choose_port
from tests.fakes.predict_parts import predict_process
from tests.servers.web_server import Handler, web_server

_HOP_BY_HOP = ("host", "connection", "content-length", "accept-encoding")
_SECONDS = 120.0


class ColdStart:
    """Starts predict `seconds` after the first request that finds none: machine, image and driver take that long."""

    def __init__(self, folder: Path, seconds: float, variables: dict[str, str]) -> None:
        self._folder = folder
        self._seconds = seconds
        self._variables = variables
        self._port = choose_port()
        self._starting = threading.Lock()
        self._process: Child | None = None
        self.starts = 0
        self.url = ""

    @property
    def awake(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.exit_code is None

    def kill(self) -> None:
        """The machine is taken away: SIGKILL."""
        assert self._process is not None
        self._process.stop(grace=0)

    def answer(self, handler: Handler) -> None:
        """Hand a request on to the process, once there is one."""
        with self._starting:
            if not self.awake:
                if handler.web.closing.wait(self._seconds):
                    return
                self.starts += 1
                self._process = predict_process(self._folder, self._port, **self._variables)
                self._process.wait_until_healthy(f"{self._own}/health", _SECONDS, lambda _: None)
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in _HOP_BY_HOP}
        try:
            reply = requests.request(
                handler.command, self._own + handler.path, data=handler.body, headers=headers, timeout=_SECONDS
            )
        except requests.RequestException:
            handler.reply(502)
            return
        handler.reply(reply.status_code, reply.content, Content_Type=reply.headers.get("Content-Type", ""))

    @property
    def _own(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.stop()


@contextmanager
def cold_start(folder: Path, seconds: float, **variables: str) -> Iterator[ColdStart]:
    """A predict that scales to zero, at `url`."""
    runtime = ColdStart(folder, seconds, variables)
    try:
        with web_server(lambda handler: runtime.answer(handler)) as web:  # a plain function: it becomes a method
            runtime.url = web.url
            yield runtime
    finally:
        runtime.close()
