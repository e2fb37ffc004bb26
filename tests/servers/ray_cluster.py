"""A real Ray cluster of one machine, with its dashboard and a token, for as long as a `with` block lasts."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from infra.local.processes import choose_port

SECRET = "hush-0f1e2d3c4b5a"
_START_TIMEOUT = 120.0  # seconds


@dataclass(frozen=True, slots=True)
class RayCluster:
    """Where its dashboard listens, and who may use it."""

    address: str
    token: str

    def get(self, path: str) -> Any:
        """What the dashboard answers, for what a test looks at behind the launcher's back."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.get(f"http://{self.address}{path}", headers=headers, timeout=30)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """Start a head with one processor and no GPU, whose environment can run our jobs and holds a secret."""
    dashboard, clients = choose_port(), choose_port()
    cluster = RayCluster(f"127.0.0.1:{dashboard}", secrets.token_hex(16))
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: it holds Unix sockets, whose names may have 107 bytes
    programs = Path(sys.executable).parent
    command = [
        str(programs / "ray"),
        *("start", "--head", "--block", "--disable-usage-stats", "--num-cpus=1", "--num-gpus=0"),
        *("--node-ip-address=127.0.0.1", "--port=0", "--min-worker-port=0", "--max-worker-port=0"),
        *("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        *("--dashboard-agent-listen-port=0", f"--ray-client-server-port={clients}"),
        *("--object-store-memory=80000000", f"--temp-dir={folder}"),
    ]
    settings = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": cluster.token,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "LABEL_STUDIO_API_KEY": SECRET,
    }
    log = folder / "ray.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=settings, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    try:
        _wait_until_ready(cluster, process, log)
        yield cluster
        assert process.poll() is None, f"Ray ended:\n{log.read_text()[-3000:]}"
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(cluster: RayCluster, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            if cluster.get("/api/v0/nodes?detail=1")["data"]["result"]["result"]:
                return
        except requests.RequestException:
            pass  # not yet
        assert process.poll() is None, f"Ray ended:\n{log.read_text()[-3000:]}"
        assert time.monotonic() < end, f"Ray did not start:\n{log.read_text()[-3000:]}"
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its jobs have sessions of their own, so each process is ended by its id."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for relative in family:
        try:
            relative.kill()
        except psutil.NoSuchProcess:
            continue
    end = time.monotonic() + 30
    while any(_is_alive(relative) for relative in family) and time.monotonic() < end:
        time.sleep(0.05)


def _is_alive(process: psutil.Process) -> bool:
    """psutil's own `wait_procs` was seen to raise FileNotFoundError for one that ended in this moment (pidfd_open)."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
