"""Jobs as processes of this machine; tests/real/test_launchers.py has what all launchers have in common."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from functions.train_trigger.launchers.local import LocalLauncher
from shared.errors import LaunchError
from shared.runs import TrainRequest

REQUEST = TrainRequest(store="file:///nowhere", project_uid="1.1700000000", run_id="run-1")

# Writes what it was told, then does what its first argument says.
JOB = """
import os, signal, sys, time
from pathlib import Path
told, what = Path(os.environ["TOLD"]), sys.argv[1]
told.write_text(os.environ["TRAIN_REQUEST"])
print("hello from the job", flush=True)
if what == "wait":
    while True:
        time.sleep(60)
sys.exit(int(what))
"""


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return tmp_path / "told"


@pytest.fixture
def make(tmp_path: Path, told: Path) -> Callable[[str], LocalLauncher]:
    def launcher(what: str) -> LocalLauncher:
        environ = {**os.environ, "TOLD": str(told)}
        return LocalLauncher(tmp_path / "logs", environ, command=(sys.executable, "-c", JOB, what))

    return launcher


def pid_of(job: str) -> int:
    return int(job.split(":")[2])


def test_a_job_runs_in_a_session_of_its_own_with_its_request_and_log(
    make: Callable[[str], LocalLauncher], told: Path, tmp_path: Path
) -> None:
    launcher = make("wait")
    job = launcher.launch(REQUEST, attempt=2)
    try:
        log = tmp_path / "logs" / "run-1-2.log"
        eventually(lambda: "hello from the job" in log.read_text())
        assert TrainRequest.parse(told.read_text()) == REQUEST
        assert launcher.status(job) == "running"
        assert os.getsid(pid_of(job)) == pid_of(job) != os.getsid(0)
    finally:
        launcher.stop(job)
    eventually(lambda: launcher.status(job) == "failed")


@pytest.mark.parametrize(("code", "status"), [("0", "finished"), ("1", "failed"), ("143", "failed")])
def test_how_a_job_ended(make: Callable[[str], LocalLauncher], code: str, status: str) -> None:
    launcher = make(code)
    job = launcher.launch(REQUEST, attempt=1)
    eventually(lambda: launcher.status(job) == status)
    eventually(lambda: not psutil.pid_exists(pid_of(job)))  # reaped: no zombie is left behind


def test_another_function_instance_sees_a_job_live_and_die(make: Callable[[str], LocalLauncher]) -> None:
    first, second = make("wait"), make("wait")
    job = first.launch(REQUEST, attempt=1)
    assert second.status(job) == "running"
    second.stop(job)
    eventually(lambda: second.status(job) == "gone")
    second.stop(job)  # ended already: no error


def test_a_zombie_is_not_running(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        process = psutil.Process(child)
        eventually(lambda: process.status() == psutil.STATUS_ZOMBIE)
        start = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[19]
        launcher = LocalLauncher(tmp_path, {})
        assert launcher.status(f"local:{os.uname().nodename}:{child}:{start}") == "gone"
    finally:
        os.waitpid(child, 0)


def test_a_process_id_that_was_used_again_is_not_the_job(tmp_path: Path) -> None:
    launcher = LocalLauncher(tmp_path, {})
    reused = f"local:{os.uname().nodename}:{os.getpid()}:12345"
    assert launcher.status(reused) == "gone"
    launcher.stop(reused)  # this process goes on


def test_a_killed_job_failed(make: Callable[[str], LocalLauncher]) -> None:
    launcher = make("wait")
    job = launcher.launch(REQUEST, attempt=1)
    os.kill(pid_of(job), signal.SIGKILL)
    eventually(lambda: launcher.status(job) == "failed")


@pytest.mark.parametrize("job", ["", "local:", "aws:1", "local:here", "local:another-machine:1:1"])
def test_a_job_of_somebody_else_cannot_be_told(tmp_path: Path, job: str) -> None:
    with pytest.raises(LaunchError):
        LocalLauncher(tmp_path, {}).status(job)


def test_a_missing_interpreter_is_a_launch_error(tmp_path: Path) -> None:
    launcher = LocalLauncher(tmp_path / "logs", {}, command=("/nowhere/python", "-m", "jobs.train"))
    with pytest.raises(LaunchError, match="/nowhere/python"):
        launcher.launch(REQUEST, attempt=1)


def test_a_log_folder_that_cannot_be_made_is_a_launch_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LaunchError, match=r"run-1-1\.log"):
        LocalLauncher(tmp_path / "file" / "logs", {}).launch(REQUEST, attempt=1)


def test_the_log_stands_in_the_reference(make: Callable[[str], LocalLauncher], tmp_path: Path) -> None:
    job = make("0").launch(REQUEST, attempt=3)
    assert make("0").logs(job) == str(tmp_path / "logs" / "run-1-3.log")
    with pytest.raises(LaunchError, match="no job of the local launcher"):
        make("0").logs("ray:head:8265/run-1-3")


def test_a_missing_interpreter_is_found_before_a_launch(tmp_path: Path) -> None:
    assert LocalLauncher(tmp_path / "logs", {}).check().endswith(str(tmp_path / "logs"))
    with pytest.raises(LaunchError, match="/nowhere/python is no program"):
        LocalLauncher(tmp_path, {}, command=("/nowhere/python",)).check()
    (tmp_path / "file").touch()
    with pytest.raises(LaunchError, match="set LABELLOOP_WORK_DIR"):
        LocalLauncher(tmp_path / "file" / "logs", {}).check()
    assert not (tmp_path / "logs").exists(), "a check changes nothing"
