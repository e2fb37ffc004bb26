"""The command of the sweep's CronJob, really run against a server: the secret goes in a header and nowhere else."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.infra.kubernetes_manifests import MANIFESTS, pods, read


class Sweeps(BaseHTTPRequestHandler):
    """Answers what the server's `status` says, and keeps what was asked."""

    def do_POST(self) -> None:
        self.server.asked.append((self.path, self.headers["X-Labelloop-Secret"]))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Not to the test's output."""


@pytest.fixture
def train_trigger() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Sweeps) as server:
        server.status, server.asked = 200, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(("status", "succeeds"), [(200, True), (302, False), (401, False)])
def test_the_cron_job_asks_train_trigger_and_fails_when_refused(train_trigger, status, succeeds):
    train_trigger.status = status
    (container,) = [found.container for found in pods(read((MANIFESTS / "base" / "sweep.yaml").read_text()))]
    python, *command = [*container["command"], *container["args"]]
    assert python == "python"
    address = f"http://127.0.0.1:{train_trigger.server_port}"
    environ = {"PATH": os.defpath, "TRAIN_TRIGGER_URL": address, "LABELLOOP_WEBHOOK_SECRET": "made-up"}
    answer = subprocess.run([sys.executable, *command], env=environ, capture_output=True, text=True, check=False)
    assert train_trigger.asked == [("/sweep", "made-up")]
    assert (answer.returncode == 0) is succeeds
    assert "made-up" not in answer.stderr + str(command)
