"""The command of the sweep's CronJob, really run against a server: the secret goes in a header and nowhere else."""

import os
import subprocess
import sys

import pytest

from tests.infra.kubernetes_manifests import MANIFESTS, pods, read
from tests.servers.web_server import Handler, web_server


@pytest.mark.parametrize(("status", "succeeds"), [(200, True), (302, False), (401, False)])
def test_the_cron_job_asks_train_trigger_and_fails_when_refused(status: int, succeeds: bool) -> None:
    asked: list[tuple[str, str, str | None]] = []

    def train_trigger(handler: Handler) -> None:
        asked.append((handler.command, handler.path, handler.headers["X-Labelloop-Secret"]))
        handler.reply(status)

    (container,) = [found.container for found in pods(read((MANIFESTS / "base" / "sweep.yaml").read_text()))]
    parts: list[str] = container["command"] + container["args"]
    python, *command = parts
    assert python == "python"
    with web_server(train_trigger) as server:
        environ = {"PATH": os.defpath, "TRAIN_TRIGGER_URL": server.url, "LABELLOOP_WEBHOOK_SECRET": "made-up"}
        answer = subprocess.run([sys.executable, *command], env=environ, capture_output=True, text=True, check=False)
    assert asked == [("POST", "/sweep", "made-up")]
    assert (answer.returncode == 0) is succeeds
    assert "made-up" not in answer.stderr + str(command)
