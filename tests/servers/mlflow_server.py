"""A real MLflow tracking server, in a virtual environment of its own that is made once: it pins many packages."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from infra.local.processes import LOOPBACK, Child, choose_port, only_one
from shared.web.peer import straight_session

VERSION = "3.17.2"
VENV = Path(__file__).resolve().parents[2] / ".cache" / f"mlflow-{VERSION}"
_START_SECONDS = 120.0  # until it must be healthy


@dataclass(frozen=True, slots=True)
class MlflowServer:
    """A running server; `get` asks it what it holds."""

    url: str

    def get(self, path: str, **query: str) -> Any:
        """The JSON of a GET below /api/2.0/."""
        return self._session().get(f"{self.url}/api/2.0/{path}", params=query, timeout=30).json()

    def runs(self, experiment: str) -> list[dict[str, Any]]:
        """All runs of an experiment, as the server answers them."""
        found = self.get("mlflow/experiments/get-by-name", experiment_name=experiment)["experiment"]
        body = {"experiment_ids": [found["experiment_id"]], "order_by": ["attributes.start_time ASC"]}
        answer = self._session().post(f"{self.url}/api/2.0/mlflow/runs/search", json=body, timeout=30)
        runs: list[dict[str, Any]] = answer.json().get("runs", [])
        return runs

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """(step, value) of a metric."""
        found = self.get("mlflow/metrics/get-history", run_id=run_id, metric_key=metric).get("metrics", [])
        return [(int(one.get("step", 0)), one["value"]) for one in found]

    def artifact(self, run_id: str, name: str) -> bytes:
        """The bytes of an artifact."""
        answer = self._session().get(f"{self.url}/get-artifact", params={"run_id": run_id, "path": name}, timeout=30)
        answer.raise_for_status()
        return answer.content

    @staticmethod
    def _session() -> requests.Session:
        return straight_session()


def install() -> None:
    """Make the virtual environment if it is missing."""
    VENV.parent.mkdir(parents=True, exist_ok=True)
    done = VENV / "installed"
    with only_one(VENV.with_name(f"{VENV.name}.lock")):
        if done.exists():
            return
        shutil.rmtree(VENV, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        pip: list[str | Path] = [
            VENV / "bin" / "python",
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
            "install",
        ]
        subprocess.run([*pip, "--no-compile", f"mlflow=={VERSION}"], check=True, stdout=subprocess.DEVNULL)
        done.touch()


@contextmanager
def mlflow_server(folder: Path, port: int = 0) -> Iterator[MlflowServer]:
    """Start a server on the loopback address that keeps its data in `folder`; end it afterwards."""
    install()
    port = choose_port(port)
    command: list[str | Path] = [
        VENV / "bin" / "python", "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.sqlite3",
        "--artifacts-destination", folder / "artifacts",
    ]  # fmt: skip
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    process = Child("MLflow", command, folder / "mlflow.log", environ=environ, cwd=folder)
    try:
        url = f"http://{LOOPBACK}:{port}"
        process.wait_until_healthy(f"{url}/health", _START_SECONDS, lambda _: None)
        yield MlflowServer(url)
    finally:
        process.stop()
