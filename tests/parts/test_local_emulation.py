"""The emulation without its functions: restarts that are counted, jobs that are ended, other systems."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from functions.train_trigger.launchers.local.launcher import LocalLauncher
from infra.local.emulation import Restarts, emulation
from infra.local.processes import Child, StartError, choose_port
from infra.local.running_jobs import stop_jobs_of
from shared.objectstore import open_store
from shared.settings import Settings
from shared.state import claims, launches
from shared.state.jobs import Jobs
from shared.state.runs import TrainRequest
from tests.servers.trigger_process import REPOSITORY, eventually

JOB = """
import pathlib, signal, sys
def stop(*_): pathlib.Path(sys.argv[1], "kept").touch(); sys.exit(143)
signal.signal(signal.SIGUSR1, stop); pathlib.Path(sys.argv[1], "ready").touch(); signal.pause()
"""

# Listens, and leaves that to a worker which ends at nothing but SIGKILL, as one does whose requests last.
MASTER = """
import os, pathlib, signal, socket, sys
server = socket.create_server(("127.0.0.1", 0))
worker = os.fork()
if not worker:
    signal.alarm(60)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready = pathlib.Path(sys.argv[1])
    ready.with_suffix(".new").write_text(f"{server.getsockname()[1]} {os.getpid()}")
    ready.with_suffix(".new").rename(ready)
while True: signal.pause()
"""


def test_the_sixth_restart_in_a_week_is_not_the_sixth_in_a_minute() -> None:
    restarts, day = Restarts(), 86_400.0
    assert [restarts.add(number * day) for number in range(20)] == [1] * 20
    assert [restarts.add(20 * day + number * 10) for number in range(7)] == [1, 2, 3, 4, 5, 6, 7]
    assert restarts.add(20 * day + 640) == 3, "those of the last ten minutes"


def test_where_logs_cannot_be_written_nothing_is_started(tmp_path: Path) -> None:
    (tmp_path / "labelloop-data").touch()
    with (
        pytest.raises(StartError, match="labelloop-data/logs cannot be made: Not a directory"),
        emulation(Settings(), tmp_path / "labelloop-data" / "logs", environ={}),
    ):
        pass


def test_what_a_program_said_last_may_have_been_removed(tmp_path: Path) -> None:
    child = Child("predict", [sys.executable, "-S", "-c", "print('hello')"], tmp_path / "a.log", environ=os.environ)
    try:
        eventually(lambda: "hello" in child.last_lines(), "its output")
        (tmp_path / "a.log").unlink()
        assert "cannot be read" in child.last_lines()
    finally:
        child.stop()


def test_a_worker_whose_master_was_killed_ends_with_it_and_its_port_is_free(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    child = Child("predict", [sys.executable, "-S", "-c", MASTER, str(ready)], tmp_path / "a.log", environ=os.environ)
    eventually(ready.exists, "its worker")
    port, worker = map(int, ready.read_text().split())
    os.kill(child.pid, signal.SIGKILL)
    eventually(lambda: child.exit_code is not None, "the end of the master")
    with pytest.raises(StartError, match="is taken"):
        choose_port(port)
    child.stop()
    eventually(lambda: not psutil.pid_exists(worker), "the end of the worker")
    assert choose_port(port) == port


@pytest.mark.parametrize("spoil", ["nothing", "one record", "the store"])
def test_the_jobs_of_a_store_are_ended_whatever_became_of_its_records(tmp_path: Path, spoil: str) -> None:
    store = tmp_path / "store"
    settings = Settings.model_validate(
        {
            "LABELLOOP_STORE": store.as_uri(),
            "LABELLOOP_WORK_DIR": str(tmp_path / "work"),
            "LABELLOOP_LAUNCHER": "local:",
        }
    )
    command = (sys.executable, "-S", "-c", JOB, str(tmp_path))
    launcher = LocalLauncher(tmp_path / "work" / "logs", os.environ, command)
    jobs = Jobs(open_store(settings.store), "1.1700000000")
    claim = jobs.update(claims.take, "run", lifetime=600, forced=True).held
    running, waiting, other = (
        launcher.launch(TrainRequest(store=where, project_uid=jobs.uid, run_id=run), attempt=1)
        for where, run in ((settings.store, claim.run_id), (settings.store, "waits"), ("s3://of-others", "other"))
    )
    jobs.update(launches.record_job, claim, running)
    said: list[str] = []
    try:
        eventually((tmp_path / "ready").exists, "the first job")
        if spoil == "one record":
            open_store(settings.store).put("projects/0.1700000000/jobs.json", b"{broken")
        elif spoil == "the store":
            store.rename(tmp_path / "away")
        stop_jobs_of(settings, said.append)
        assert (tmp_path / "kept").exists()
        assert launcher.status(running).state == "failed"
        assert launcher.status(waiting).state == "refused"
        assert launcher.status(other).state in ("queued", "running"), "not ours"
        assert said == ["stopping the training job; it saves a checkpoint first"]
    finally:
        launcher.stop(other)


def test_windows_is_answered_with_a_sentence(tmp_path: Path) -> None:
    pretend = "import sys; sys.modules['fcntl'] = None; sys.platform = 'win32'; import infra.cli.main"
    found = subprocess.run(
        [sys.executable, "-c", pretend], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("labelloop: this command runs on Linux and macOS. On Windows")
    assert len(found.stderr.splitlines()) == 1
