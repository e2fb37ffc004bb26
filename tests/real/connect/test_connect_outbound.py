"""A Label Studio that calls no private address: connect says so, and up serves it without being called."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli.connect import connect
from infra.cli.environment import Invocation
from infra.cli.main import app
from infra.demo.samples import base_weights
from infra.local.label_studio import LabelStudioServer, label_studio
from infra.local.processes import choose_port
from shared.labelstudio.api import LabelStudio
from shared.objectstore import ObjectStore, open_store
from shared.settings import Settings
from shared.state.jobs import Jobs
from shared.state.projects import projects, read_project
from tests.servers.connected_projects import CONFIG, backends, make_project, only_problem, quiet, upload_image, webhooks
from tests.servers.trigger_process import eventually


@pytest.fixture(scope="module")
def blocking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """A Label Studio that calls no private address, as it is if nobody sets a switch."""
    switches = {"ML_BLOCK_LOCAL_IP": "true", "SSRF_PROTECTION_ENABLED": "true"}
    with label_studio(tmp_path_factory.mktemp("blocking"), environ=switches, say=quiet) as running:
        yield running


def test_a_label_studio_that_blocks_private_addresses(
    settings: Settings, store: ObjectStore, blocking: LabelStudioServer
) -> None:
    private_addresses_are_refused(settings, store, blocking)


def test_one_of_both_switches_is_not_enough(settings: Settings, store: ObjectStore, tmp_path: Path) -> None:
    with label_studio(tmp_path, environ={"SSRF_PROTECTION_ENABLED": "true"}, say=quiet) as half:
        private_addresses_are_refused(settings, store, half)


def private_addresses_are_refused(settings: Settings, store: ObjectStore, blocking: LabelStudioServer) -> None:
    client = LabelStudio(blocking.url, blocking.token, timeout=30)
    project = make_project(client)

    own = only_problem(connect(client, settings, project, store=store))
    public = only_problem(
        connect(client, settings, project, store=store, webhook_url="http://192.0.43.10/webhook")  # not private
    )

    for problem, check in ((own, "webhook"), (public, "backend")):
        assert problem.check == check
        assert "reserved network address" in problem.message
        for remedy in ("--no-inbound", "ML_BLOCK_LOCAL_IP=false", "SSRF_PROTECTION_ENABLED=false"):
            assert remedy in problem.remedy
    assert backends(client, project) == []
    assert webhooks(client, project) == []


def test_up_alone_serves_a_project_of_a_label_studio_that_calls_nobody(
    blocking: LabelStudioServer, tmp_path: Path
) -> None:
    client = LabelStudio(blocking.url, blocking.token, timeout=30)
    project, weights = make_project(client), base_weights()
    upload_image(blocking, project)
    environ = {name: value for name, value in os.environ.items() if "LABEL" not in name} | {
        "LABEL_STUDIO_URL": blocking.url,
        "LABEL_STUDIO_API_KEY": blocking.personal_access_token(),
        "LABELLOOP_BASE_WEIGHTS": str(weights),
        "LABELLOOP_SWEEP_INTERVAL": "1",
    }
    ports = [f"--{name}-port={choose_port()}" for name in ("predict", "train-trigger")]
    command = [sys.executable, "-m", "infra.cli.main", "up", "--project", str(project), *ports]

    def labelloop(*arguments: str) -> Any:
        answer = CliRunner().invoke(app, [*arguments, "--json"], obj=Invocation(environ, tmp_path))
        assert answer.exit_code == 0, answer.output
        return json.loads(answer.stdout)

    def predicted() -> list[int]:
        tasks = client.get_json("/api/tasks", {"project": str(project), "fields": "all"})["tasks"]
        return [len(task["predictions"]) for task in tasks]

    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as up:
        overdue = threading.Timer(180, up.kill)
        overdue.start()
        try:
            assert up.stdout is not None
            assert any("stops everything" in line for line in up.stdout)
            eventually(lambda: predicted() == [1], "the job predicts what is there")
            upload_image(blocking, project)
            eventually(lambda: predicted() == [1, 1], "the sweep finds an import that no event announced")
            config = CONFIG.replace("</Rect", '<Label value="Rock"/></Rect')
            client.request_json("PATCH", f"/api/projects/{project}/", {"label_config": config})
            store = open_store((tmp_path / "labelloop-data" / "store").as_uri())
            (uid,) = projects(store)
            eventually(lambda: config in str(read_project(store, uid)), "and a change of the labeling config")
            eventually(lambda: Jobs(store, uid).read().prelabel is None, "the job ends")
            found = labelloop("doctor", "--project", str(project))["findings"]
        finally:
            up.send_signal(signal.SIGINT)
            assert up.wait(60) == 0
            overdue.cancel()

    assert client.get_json(f"/api/projects/{project}/")["model_version"] == f"label:base-{weights.stem}"
    assert (backends(client, project), webhooks(client, project)) == ([], [])
    levels = {finding["check"]: finding["level"] for finding in found}
    assert (levels["connection"], levels["push"], levels["predictions"]) == ("ok", "ok", "ok")
    assert not {"backend", "webhook", "predict"} & levels.keys()
    assert labelloop("status")["projects"][0]["connection"] == "outbound"
    labelloop("disconnect", "--project", str(project))
    assert labelloop("status")["projects"][0]["connection"] == "none"
    assert client.get_json(f"/api/projects/{project}/")["model_version"] == ""
