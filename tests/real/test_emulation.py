"""The local emulation with the real functions, answering fixed predictions: it needs neither Label Studio nor torch."""

import os
import signal
import sys
from pathlib import Path

import pytest
import requests

from functions.train_trigger.launchers.local.launcher import LocalLauncher
from infra.local.emulation import emulation
from infra.local.processes import StartError
from shared.evolve import evolve
from shared.objectstore import open_store
from shared.settings import Settings
from shared.state import claims, launches
from shared.state.jobs import Jobs
from shared.state.runs import TrainRequest
from shared.web.access import SECRET_HEADER
from tests.servers.trigger_process import eventually


def _settings(folder: Path, **variables: str) -> Settings:
    return Settings.from_environ(
        {
            "HOST": "127.0.0.1",
            "LABEL_STUDIO_URL": "http://127.0.0.1:9",  # nobody is there
            "LABEL_STUDIO_API_KEY": "token",
            "LABELLOOP_STORE": (folder / "store").as_uri(),
            "LABELLOOP_WORK_DIR": str(folder / "work"),
            "LABELLOOP_DUMMY": "true",
            "LABELLOOP_SWEEP_INTERVAL": "0.2",
            **variables,
        }
    )


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=2).ok
    except requests.RequestException:
        return False


def test_both_functions_answer_with_credentials_of_their_own_and_are_swept(tmp_path: Path) -> None:
    with emulation(_settings(tmp_path), tmp_path / "logs", environ=os.environ) as running:
        settings = running.settings
        assert settings.basic_auth_password is not None
        assert settings.webhook_secret is not None
        for url in (running.predict_url, running.train_trigger_url):
            assert requests.get(f"{url}/health", timeout=5).status_code == 200
            assert requests.get(f"{url}/versions", timeout=5).status_code == 401
            basic = (settings.basic_auth_user, settings.basic_auth_password.get_secret_value())
            assert requests.get(f"{url}/versions", auth=basic, timeout=5).status_code == 200
        secret = {SECRET_HEADER: settings.webhook_secret.get_secret_value()}
        swept = 'labelloop_http_requests_total{route="/sweep",status="200"}'
        eventually(
            lambda: swept in requests.get(f"{running.train_trigger_url}/metrics", headers=secret, timeout=5).text
        )
    assert not _answers(running.predict_url)
    assert not _answers(running.train_trigger_url)


def test_functions_that_listen_on_one_address_are_called_there(tmp_path: Path) -> None:
    settings = _settings(tmp_path, HOST="127.0.0.2", LABELLOOP_WEBHOOK_SECRET="s")
    swept = 'labelloop_http_requests_total{route="/sweep",status="200"}'
    with emulation(settings, tmp_path / "logs", environ=os.environ) as running:
        assert _answers(running.predict_url)
        url = f"{running.train_trigger_url}/metrics"
        eventually(lambda: swept in requests.get(url, headers={SECRET_HEADER: "s"}, timeout=5).text)


def test_a_function_that_dies_is_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    with emulation(_settings(tmp_path), tmp_path / "logs", environ=os.environ, say=said.append) as running:
        first = running.process("predict").pid
        os.killpg(first, signal.SIGKILL)
        eventually(lambda: running.process("predict").pid != first and _answers(running.predict_url))
        running.check()
    assert "predict ended with exit code -9; starting it again (1 of 5)" in said


def test_a_function_that_cannot_start_says_why(tmp_path: Path) -> None:
    settings = evolve(_settings(tmp_path), store="ftp://bucket")
    with (
        pytest.raises(StartError, match=r"ended with exit code(.|\n)*LABELLOOP_STORE"),
        emulation(settings, tmp_path / "logs", environ=os.environ),
    ):
        pass


def test_variables_of_the_shell_do_not_reach_the_functions(tmp_path: Path) -> None:
    shell = {**os.environ, "LABELLOOP_STORE": "nonsense://", "LABELLOOP_MISSPELT": "1", "HOST": "my-machine"}
    with emulation(_settings(tmp_path), tmp_path / "logs", environ=shell) as running:
        assert _answers(running.predict_url)


def test_running_jobs_are_told_to_stop_and_waited_for(tmp_path: Path) -> None:
    settings = _settings(tmp_path, LABELLOOP_SWEEP_INTERVAL="600")
    kept, ready = tmp_path / "kept", tmp_path / "ready"
    program = (
        "import pathlib, signal, sys, time\n"
        "def stop(*_): time.sleep(0.5); pathlib.Path(sys.argv[1]).write_text('checkpoint'); sys.exit(143)\n"
        "signal.signal(signal.SIGUSR1, stop); pathlib.Path(sys.argv[2]).touch(); time.sleep(60)\n"
    )
    launcher = LocalLauncher(
        tmp_path / "work" / "logs", os.environ, (sys.executable, "-c", program, str(kept), str(ready))
    )
    with emulation(settings, tmp_path / "logs", environ=os.environ):
        uid = "1.1700000000"
        jobs = Jobs(open_store(settings.store), uid)
        claim = jobs.update(claims.take, "run", lifetime=600, forced=True).held
        request = TrainRequest(store=settings.store, project_uid=uid, run_id=claim.run_id)
        jobs.update(launches.record_job, claim, job := launcher.launch(request, attempt=1))
        elsewhere = Jobs(open_store(settings.store), "0.1700000000")  # a machine that shares the store
        theirs = elsewhere.update(claims.take, "run", lifetime=600, forced=True).held
        elsewhere.update(launches.record_job, theirs, "local:another-machine:1:1")
        eventually(ready.exists)
    assert kept.read_text() == "checkpoint"
    assert launcher.status(job).state == "failed"  # it ended, not with 0
