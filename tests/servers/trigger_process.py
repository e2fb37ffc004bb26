"""Starts train_trigger under functions-framework, with a stand-in for the training job.

The job is `tests/real/stub_job`: the function starts it with its own launcher and does not know the difference.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from infra.local.processes import Child, choose_port
from shared.objectstore.file import FileStore
from shared.state.base_weights import add_base_weights
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.versions import GRAPH, WEIGHTS
from shared.web.access import SECRET_HEADER

REPOSITORY = Path(__file__).resolve().parents[2]
STUB_JOB = REPOSITORY / "tests" / "real" / "stub_job"
SECRET, USER, PASSWORD = "s3cret", "labelloop", "passw0rd"
SECONDS = 60.0


def eventually(condition: Callable[..., Any], what: str = "what is awaited") -> Any:
    """The first true answer of `condition`."""
    end = time.monotonic() + SECONDS
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {SECONDS:.0f} s: {what}"
        time.sleep(0.02)
    return value


class Place:
    """A store, the folder where jobs note their starts, and functions on them."""

    def __init__(self, folder: Path, label_studio_url: str, api_key: str) -> None:
        self.folder = folder
        self.starts_folder = folder / "starts"
        self.starts_folder.mkdir(parents=True)
        self.store = FileStore(f"file://{folder}/store")
        files = {name: Path(__file__) for name in (WEIGHTS, GRAPH)}
        add_base_weights(self.store, "yolo11n.pt", "detect", ("person",), files)  # else a job begins to make them
        self._label_studio = {"LABEL_STUDIO_URL": label_studio_url, "LABEL_STUDIO_API_KEY": api_key}

    @contextmanager
    def function(self, **settings: str) -> Iterator["TriggerProcess"]:
        port = choose_port()
        environ = {
            "PATH": os.defpath,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "PYTHONPATH": f"{STUB_JOB}{os.pathsep}{REPOSITORY}",
            "STUB_JOB_FOLDER": str(self.starts_folder),
            "LABELLOOP_STORE": self.store.url,
            "LABELLOOP_WORK_DIR": str(self.folder / "work"),
            "LABELLOOP_BASIC_AUTH_PASSWORD": PASSWORD,
            "LABELLOOP_WEBHOOK_SECRET": SECRET,
            "LABELLOOP_COOL_DOWN": "0",
            "LABELLOOP_DEBOUNCE": "0.3",
            **self._label_studio,
            **settings,
        }
        source = str(REPOSITORY / "functions" / "train_trigger" / "main.py")
        command = [sys.executable, "-m", "functions_framework", "--source", source, "--target", "train_trigger"]
        log = self.folder / f"trigger-{port}.log"
        process = Child("train_trigger", command, log, environ=environ, cwd=self.folder)
        try:
            url = f"http://127.0.0.1:{port}"
            process.wait_until_healthy(f"{url}/health", SECONDS, lambda _: None)
            yield TriggerProcess(url)
        finally:
            process.stop()

    def starts(self) -> list[str]:
        """One entry a process that really started: `<run id>.<pid>`."""
        return sorted(path.stem for path in self.starts_folder.glob("*.started"))

    def finish(self) -> None:
        """Let every job end."""
        (self.starts_folder / "finish").touch()

    def finish_run(self, uid: str) -> JobsRecord:
        """Let the running job end, and the next one wait again."""
        self.finish()
        record: JobsRecord = eventually(lambda: self._released(uid), "the job releases its claim")
        (self.starts_folder / "finish").unlink()
        return record

    def running(self, uid: str) -> int:
        """Process id of the job, once it has its claim."""

        def nonce() -> str | None:
            claim = Jobs(self.store, uid).read().training
            return claim.nonce if claim is not None and claim.state == "running" else None

        return int(eventually(nonce, "the job takes its claim"))

    def _released(self, uid: str) -> JobsRecord | None:
        record = Jobs(self.store, uid).read()
        return record if record.training is None else None


class TriggerProcess:
    """A running function, asked as Label Studio and the scheduler ask it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def event(self, body: dict[str, Any]) -> requests.Response:
        return requests.post(f"{self.url}/webhook", json=body, headers={SECRET_HEADER: SECRET}, timeout=30)

    def ask(self, path: str, body: dict[str, Any]) -> requests.Response:
        return requests.post(f"{self.url}{path}", json=body, auth=(USER, PASSWORD), timeout=30)

    def sweep(self) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/sweep", headers={SECRET_HEADER: SECRET}, timeout=60)
        answer.raise_for_status()
        summary: dict[str, Any] = answer.json()
        return summary

    def count(self, metric: str) -> float:
        """Sum of a counter over all its labels."""
        text = requests.get(f"{self.url}/metrics", headers={SECRET_HEADER: SECRET}, timeout=30).text
        return sum(float(count) for count in re.findall(rf"{metric}\{{.*\}} (\S+)", text))
