"""What is Ray's own: GPUs, its token, the command that jobs run. On a real cluster."""

import logging
from pathlib import Path

import pytest

from functions.train_trigger.launchers.ray import RayLauncher, open_launcher
from infra.local.processes import choose_port
from shared.errors import LaunchError, SettingsError
from shared.evolve import evolve
from shared.launcher_url import LauncherUrl
from shared.settings import Settings
from shared.state.runs import TrainRequest
from tests.infra.launcher_targets import REQUEST, RayTarget
from tests.servers.ray_cluster import RayCluster
from tests.servers.trigger_process import eventually
from tests.servers.web_server import Handler, web_server


def request(run_id: str) -> TrainRequest:
    return evolve(REQUEST, run_id=run_id)


def test_a_job_that_needs_a_gpu_waits_where_there_is_none_and_doctor_says_so(
    cluster: RayCluster, tmp_path: Path
) -> None:
    launcher = RayTarget(cluster, tmp_path).launcher(gpus=1)
    with pytest.raises(LaunchError, match=r"no node with 1 GPU \(the best has 0\).*\?gpus=0"):
        launcher.check()
    job = launcher.launch(request("waits"), attempt=1)
    assert launcher.status(job).state == "queued"
    launcher.stop(job)


def test_the_job_is_the_training_job_and_its_failure_is_told(
    cluster: RayCluster, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"RAY_AUTH_TOKEN": cluster.token}
    launcher = open_launcher(LauncherUrl.parse(f"ray://{cluster.address}?gpus=0"), Settings(), environ)
    job = launcher.launch(request("has-no-label-studio"), attempt=1)
    assert (
        eventually(lambda: (now := launcher.status(job).state) not in ("queued", "running") and now, "its end")
        == "failed"
    )
    log = cluster.get("/api/jobs/has-no-label-studio-1/logs")["logs"]
    assert "labelloop training job: LABEL_STUDIO_API_KEY is set, LABEL_STUDIO_URL is not" in log, log
    told = [record for record in caplog.records if getattr(record, "event", None) == "job_failed"]
    assert (told[0].levelno, told[0].getMessage().count("\n")) == (logging.WARNING, 0)
    assert launcher.logs(job) == f"http://{cluster.address}/#/jobs/has-no-label-studio-1"


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_missing_or_wrong_token_is_one_sentence(cluster: RayCluster, token: str | None) -> None:
    launcher = RayLauncher(cluster.address, gpus=0, token=token)
    for ask in (launcher.check, lambda: launcher.launch(request("refused"), attempt=1)):
        with pytest.raises(LaunchError, match=r"refused .*set RAY_AUTH_TOKEN to the cluster's token$") as raised:
            ask()
        assert cluster.token not in str(raised.value)


def test_a_cluster_that_is_not_there_is_one_sentence() -> None:
    launcher = RayLauncher(f"127.0.0.1:{choose_port()}", gpus=1)
    with pytest.raises(LaunchError, match="no Ray dashboard answers at "):
        launcher.launch(REQUEST, attempt=1)


def test_of_a_traceback_that_ray_answers_the_last_line_is_told() -> None:
    def answer(handler: Handler) -> None:
        text = "Traceback (most recent call last):\n  File job_manager.py\nRuntimeError: no disk space\n.\n"
        handler.reply(500 if handler.command == "POST" else 404, text.encode())

    with web_server(answer) as web:
        launcher = RayLauncher(f"{web.host}:{web.port}", gpus=1)
        with pytest.raises(LaunchError, match=r"to submit .* \(500: RuntimeError: no disk space\)"):
            launcher.launch(REQUEST, attempt=1)


def test_what_is_no_dashboard_is_told() -> None:
    with web_server(lambda handler: handler.reply(200, b"<html>welcome</html>")) as web:
        launcher = RayLauncher(f"{web.host}:{web.port}", gpus=1)
        with pytest.raises(LaunchError, match="is no Ray dashboard"):
            launcher.check()


@pytest.mark.parametrize("gpus", ["one", "-1", "nan"])
def test_gpus_are_a_number(gpus: str) -> None:
    with pytest.raises(SettingsError, match="gpus"):
        open_launcher(LauncherUrl.parse(f"ray://head:8265?gpus={gpus}"), Settings(), {})
