"""Runs of a toy in a real MLflow: what it holds afterwards, also of a run that was killed; and without a server."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.processes import choose_port
from jobs.train.ending import DONE, INTERRUPTED
from jobs.train.experiment_tracker import BackgroundTracker
from jobs.train.mlflow import Mlflow
from shared.job_signals import Stopped
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.versions import Manifest
from tests.fakes.train_parts import UID
from tests.fakes.train_world import World
from tests.servers.mlflow_server import MlflowServer, mlflow_server
from tests.servers.web_server import Handler, web_server

EXPERIMENT = f"labelloop/{UID}"


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def world(file_store: ObjectStore, tmp_path: Path) -> World:
    return World(file_store, tmp_path)


def tracker(url: str, **settings: str) -> BackgroundTracker:
    return BackgroundTracker(Mlflow(url, Settings.from_environ(settings)), url, pause=0.05)


def test_a_run_is_there_with_its_epochs_and_files_also_after_a_kill(world: World, mlflow: MlflowServer) -> None:
    def kill(epoch: int) -> None:
        if epoch == 2:
            raise Stopped

    world.tracker = tracker(mlflow.url)
    world.trainer.on_epoch = [kill]
    assert world.new_run() == INTERRUPTED
    world.tracker.close(30)
    [killed] = mlflow.runs(EXPERIMENT)
    made = mlflow.get("mlflow/experiments/get-by-name", experiment_name=EXPERIMENT)["experiment"]
    assert {tag["key"]: tag["value"] for tag in made["tags"]}["mlflow.experimentKind"] == "custom_model_development"
    assert killed["info"]["status"] == "KILLED"

    world.tracker = tracker(mlflow.url)
    world.trainer.on_epoch = []
    assert world.next_attempt() == DONE
    world.tracker.close(30)
    [run] = mlflow.runs(EXPERIMENT)
    run_id, manifest = run["info"]["run_id"], world.registry.manifest("label", 1)
    assert run_id == killed["info"]["run_id"]
    assert (run["info"]["status"], run["info"]["run_name"]) == ("FINISHED", "label:v1")
    params = {one["key"]: one["value"] for one in run["data"]["params"]}
    assert params["epochs"] == "4"
    assert params["epochs trained with"] == "4"
    assert params["base"] == "yolo11n.pt"
    assert params["images/train"] == str(manifest.lineage["images"]["train"])
    assert not any(secret in json.dumps(run) for secret in ("0" * 40, "LABEL_STUDIO_API_KEY", "api_key"))
    tags = {one["key"]: one["value"] for one in run["data"]["tags"]}
    assert (tags["labelloop.version"], tags["labelloop.gate"]) == ("v1", "passed")
    assert tags["mlflow.note.content"] == manifest.gate.reason
    metrics = {one["key"]: one["value"] for one in run["data"]["metrics"]}
    assert metrics["version/mAP50-95"] == 0.5
    assert mlflow.history(run_id, "epoch/mAP50") == [(number, number / 100) for number in (1, 2, 3, 4)]
    assert Manifest.model_validate_json(mlflow.artifact(run_id, "manifest.json")) == manifest
    assert b"<title>label v1" in mlflow.artifact(run_id, "report.html")

    world.trainer.score = 0.1
    world.tracker = tracker(mlflow.url)
    assert world.new_run() == DONE
    world.tracker.close(30)
    *_, second = mlflow.runs(EXPERIMENT)
    assert second["info"]["run_name"] == "label:v2"
    assert {one["key"]: one["value"] for one in second["data"]["tags"]}["labelloop.gate"] == "held back"


def test_a_server_that_is_down_loses_no_run_and_is_warned_of_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://127.0.0.1:{choose_port()}"
    world.tracker = tracker(url)
    assert world.new_run() == DONE
    world.tracker.close(30)
    assert world.served() == 1
    [warning] = (record for record in caplog.records if getattr(record, "event", "") == "tracking_failed")
    assert warning.levelno == logging.WARNING
    assert f"LABELLOOP_TRACKING_URI={url}: not all of this run is written there: ConnectionError" in warning.message


@pytest.mark.parametrize("answer", [(302, b""), (401, b"who?"), (200, b"[1]"), (200, b"<html>"), (200, b"{}")])
def test_what_is_no_mlflow_or_asks_for_others_is_warned_of_once_and_gets_no_secret_elsewhere(
    world: World, caplog: pytest.LogCaptureFixture, answer: tuple[int, bytes]
) -> None:
    asked: list[str | None] = []

    def respond(handler: Handler) -> None:
        asked.append(handler.headers["Authorization"])
        handler.reply(*answer, Location=f"{elsewhere.url}/there")

    with web_server(respond) as server, web_server(lambda handler: other.append(handler.path)) as elsewhere:
        other: list[str] = []
        world.tracker = tracker(server.url, MLFLOW_TRACKING_TOKEN="s3cret")
        assert world.new_run() == DONE
        world.tracker.close(30)
    assert set(asked) == {"Bearer s3cret"}
    assert other == []
    assert sum(getattr(record, "event", "") == "tracking_failed" for record in caplog.records) == 1
    assert "s3cret" not in caplog.text
