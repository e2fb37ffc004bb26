"""compose.yaml, run as processes: the real programs with its variables, names and ports, and Label Studio connected."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from infra.local.label_studio import VENV, install, migrated_database
from infra.local.processes import Child
from tests.infra.compose_services import addresses, network, read_compose, read_env
from tests.servers.seaweedfs import weed
from tests.servers.trigger_process import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE = REPOSITORY / "infra" / "compose"
ASK = """
import json, sys, requests
method, url, headers, body = json.load(sys.stdin)
answer = requests.request(method, url, headers=headers, json=body, timeout=30)
print(json.dumps([answer.status_code, answer.text]))
"""
CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="Tree"/>'
    "</RectangleLabels></View>"
)
START_SECONDS = 180.0


class Box:
    """The services, running."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        shutil.copy(COMPOSE / "make-env.sh", folder)
        subprocess.run([folder / "make-env.sh"], check=True, capture_output=True)
        self.secrets = read_env(folder / ".env")
        self.services = read_compose(COMPOSE / "compose.yaml", variables=self.secrets)["services"]
        self._folder = folder
        self._stack = stack
        self._addresses = addresses(self.services)
        self._enter = stack.enter_context(network(self.services, folder))

    def start(self, name: str, command: list[str], more: dict[str, str]) -> Child:
        """Start a service's program in the box with the variables of compose.yaml."""
        child = Child(name, [*self._enter, *command], self._folder / f"{name}.log", environ=self._environ(name, more))
        self._stack.callback(child.stop, grace=1)
        return child

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`docker compose run` of the labelloop command."""
        command = [*self._enter, sys.executable, "-m", "infra.cli.main", *arguments]
        return subprocess.run(
            command, env=self._environ(name, {}), cwd=self._folder, capture_output=True, text=True, timeout=120
        )

    def ask(self, method: str, url: str, headers: dict[str, str] | None = None, body: Any = None) -> tuple[int, str]:
        """Ask from inside the box: status and text; 0 if nobody answers."""
        asked = subprocess.run(
            [*self._enter, sys.executable, "-c", ASK],
            input=json.dumps([method, url, headers, body]),
            capture_output=True,
            text=True,
        )
        status, text = json.loads(asked.stdout) if asked.returncode == 0 else (0, asked.stderr)
        return status, text

    def wait(self, child: Child, url: str) -> None:
        """Return when `url` answers 200."""
        eventually(lambda: self.ask("GET", url)[0] == 200 or child.exit_code is not None, f"{url}\n{child.log}")
        assert child.exit_code is None, child.last_lines()

    def _environ(self, name: str, more: dict[str, str]) -> dict[str, str]:
        folder = self._folder / f"{name}-tmp"  # its /tmp
        folder.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(folder),
            "TMPDIR": str(folder),
            **self.services[name].get("environment", {}),
            **more,
        }

    def start_function(self, name: str) -> Child:
        """Start predict or train-trigger."""
        folder = self._folder / f"{name}-tmp"
        program, *arguments = self.services[name]["command"]
        assert program == "functions-framework"
        command = [
            sys.executable,
            "-m",
            "functions_framework",
            *(a.replace("/app", str(REPOSITORY)) for a in arguments),
        ]
        places = {"LABELLOOP_WORK_DIR": str(folder / "work"), "LABELLOOP_CACHE_DIR": str(folder / "cache")}
        return self.start(name, command, {"HOST": self._addresses[name], "PORT": "8080", **places})

    def start_label_studio(self) -> Child:
        """Start Label Studio as its image does: without a word on the command line, data in a folder of its own."""
        install(say=lambda _: None)
        data = self._folder / "label-studio-data"
        data.mkdir()
        shutil.copyfile(migrated_database(VENV), data / "label_studio.sqlite3")
        command = [
            str(VENV / "bin" / "python"),
            str(VENV / "bin" / "label-studio"),
            "--no-browser",
            "--internal-host",
            self._addresses["label-studio"],
        ]
        return self.start("label-studio", command, {"LABEL_STUDIO_BASE_DATA_DIR": str(data)})

    def start_seaweedfs(self) -> Child:
        """Start SeaweedFS with the image's entry point taken away."""
        data = self._folder / "store"
        data.mkdir()
        given = self.services["seaweedfs"]["command"]
        return self.start("seaweedfs", [weed(), *(a.replace("-dir=/data", f"-dir={data}") for a in given)], {})


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with ExitStack() as stack:
        try:
            running = Box(tmp_path, stack)
        except OSError as error:
            pytest.skip(f"this machine lets us make no network: {error}")
        yield running


def test_the_box_works_with_new_secrets_and_nothing_else(box: Box) -> None:
    label_studio = box.start_label_studio()
    box.wait(box.start_seaweedfs(), "http://seaweedfs:8333/healthz")
    for name in ("predict", "train-trigger"):
        box.wait(box.start_function(name), f"http://{name}.labelloop.internal:8080/health")
    sweeper = box.start(
        "sweeper", [sys.executable, *box.services["sweeper"]["command"][1:]], {"LABELLOOP_SWEEP_INTERVAL": "1"}
    )
    box.wait(label_studio, "http://label-studio:8080/health")
    token = {"Authorization": f"Token {box.secrets['LABEL_STUDIO_API_KEY']}"}
    status, text = box.ask(
        "POST", "http://label-studio:8080/api/projects/", token, {"title": "trees", "label_config": CONFIG}
    )
    assert status == 201, text
    project = str(json.loads(text)["id"])

    connected = box.run("labelloop", "connect", "--project", project)

    assert connected.returncode == 0, connected.stdout + connected.stderr
    assert box.run("labelloop", "doctor", "--project", project).returncode == 0
    secret = {"X-Labelloop-Secret": box.secrets["LABELLOOP_WEBHOOK_SECRET"]}
    metrics = "http://train-trigger.labelloop.internal:8080/metrics"

    def sweeps() -> list[str]:
        return [line for line in box.ask("GET", metrics, secret)[1].splitlines() if "reconciles_total{" in line]

    before = sweeps()
    eventually(lambda: sweeps() != before, "the sweeper's next look at the project")
    sweeper.stop()
    assert sweeper.exit_code == 0, sweeper.last_lines()
