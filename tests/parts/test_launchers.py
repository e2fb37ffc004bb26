"""Jobs as processes of this machine; tests/real/test_launchers.py has what all launchers have in common."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from functions.train_trigger.launchers import JobStatus
from functions.train_trigger.launchers.local.launcher import LocalLauncher, gpus_of, turns_of
from shared.errors import LaunchError
from shared.evolve import evolve
from shared.state.runs import TrainRequest
from tests.servers.trigger_process import eventually

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
        assert launcher.status(job).state == "running"
        assert os.getsid(pid_of(job)) == pid_of(job) != os.getsid(0)
    finally:
        launcher.stop(job)
    eventually(lambda: launcher.status(job).state == "failed")


@pytest.mark.parametrize(("code", "status"), [("0", "finished"), ("1", "failed"), ("143", "failed")])
def test_how_a_job_ended(make: Callable[[str], LocalLauncher], code: str, status: str) -> None:
    launcher = make(code)
    job = launcher.launch(REQUEST, attempt=1)
    eventually(lambda: launcher.status(job).state == status)
    eventually(lambda: not psutil.pid_exists(pid_of(job)))  # reaped: no zombie is left behind


def request(run_id: str) -> TrainRequest:
    return evolve(REQUEST, run_id=run_id)


# Writes its run into the list, and ends when its file is there.
TAKES_TURNS = """
import json, os, sys, time
from pathlib import Path
folder, run = Path(sys.argv[1]), json.loads(os.environ["TRAIN_REQUEST"])["run_id"]
with (folder / "begun").open("a") as begun:
    print(run, os.environ.get("CUDA_VISIBLE_DEVICES"), file=begun)
while not (folder / f"end-{run}").exists():
    time.sleep(0.01)
"""


class Line:
    """Launchers of one machine, as several instances have them, and jobs that end when they are told."""

    def __init__(self, folder: Path, *turns: str) -> None:
        self.folder, self._turns = folder, turns

    def launcher(self) -> LocalLauncher:
        command = (sys.executable, "-S", "-c", TAKES_TURNS, str(self.folder))
        environ = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        return LocalLauncher(self.folder / "logs", environ, command, turns=self._turns)

    @property
    def begun(self) -> list[str]:
        log = self.folder / "begun"
        return log.read_text().splitlines() if log.exists() else []

    def end(self, run_id: str) -> None:
        (self.folder / f"end-{run_id}").touch()


def test_six_projects_start_one_training_and_five_wait_in_line_in_their_order(tmp_path: Path) -> None:
    line, runs = Line(tmp_path, ""), [f"run-{number}" for number in range(6)]
    jobs = [line.launcher().launch(request(run), attempt=1) for run in runs]
    asks = line.launcher()
    try:
        eventually(lambda: asks.status(jobs[0]).state == "running" and len(line.begun) == 1)
        said = [asks.status(job) for job in jobs[1:]]
        assert [one.state for one in said] == ["queued"] * 5
        assert said[0].why == "in this machine's line, as the next one: 1 runs at once (LABELLOOP_LOCAL_JOBS)"
        assert said[3].why.startswith("in this machine's line, behind 3 others")
        assert not any(one.stuck for one in said)
        asks.stop(jobs[2])  # somebody gives up: the others move on
        eventually(lambda: asks.status(jobs[2]).state == "refused")
        for number, run in enumerate(runs):
            if number != 2:
                eventually(lambda job=jobs[number]: asks.status(job).state == "running")
                eventually(lambda run=run: line.begun[-1:] == [f"{run} None"])
                assert sum(asks.status(job).state == "running" for job in jobs) == 1
                line.end(run)
                eventually(lambda job=jobs[number]: asks.status(job).state == "gone")
        assert line.begun == [f"run-{number} None" for number in (0, 1, 3, 4, 5)]
    finally:
        for job in jobs:
            asks.stop(job)


def test_predictions_are_written_beside_trainings_one_job_at_a_time(tmp_path: Path) -> None:
    line = Line(tmp_path, "")
    launcher, asks = line.launcher(), line.launcher()
    kinds = {"first": "prelabel", "second": "prelabel", "training": "train"}
    jobs = [launcher.launch(evolve(request(run), kind=kind), attempt=1) for run, kind in kinds.items()]
    first, second, training = jobs
    try:
        eventually(lambda: sorted(line.begun) == ["first None", "training None"])
        assert asks.status(training).state == asks.status(first).state == "running"
        waits = "in this machine's line of jobs that write predictions, as the next one: 1 runs at once"
        assert asks.status(second) == JobStatus("queued", waits)
        assert asks.jobs_of(REQUEST.store) == [training, first, second]
        line.end("first")
        eventually(lambda: line.begun[2:] == ["second None"])
        asks.tidy()
        assert asks.jobs_of(REQUEST.store) == [training, second]
    finally:
        for job in jobs:
            asks.stop(job)


def test_a_turn_ends_with_its_job_however_that_ends_and_each_has_gpus_of_its_own(tmp_path: Path) -> None:
    line = Line(tmp_path, "0,1", "2,3")
    launcher = line.launcher()
    jobs = [launcher.launch(request(f"run-{number}"), attempt=1) for number in range(3)]
    try:
        eventually(lambda: sorted(line.begun) == ["run-0 0,1", "run-1 2,3"])
        assert launcher.status(jobs[2]).state == "queued"
        os.kill(pid_of(jobs[1]), signal.SIGKILL)
        eventually(lambda: line.begun[2:] == ["run-2 2,3"])
        assert launcher.status(jobs[1]) == JobStatus("failed", f"exit code -9; its log is {launcher.logs(jobs[1])}")
    finally:
        for job in jobs:
            launcher.stop(job)


def test_trainings_that_ended_are_forgotten_whoever_started_them_and_those_that_run_are_not(tmp_path: Path) -> None:
    line = Line(tmp_path, "", "")
    jobs = [line.launcher().launch(request(f"run-{number}"), attempt=1) for number in range(2)]
    asks = line.launcher()
    try:
        eventually(lambda: len(line.begun) == 2)
        line.end("run-0")
        eventually(lambda: asks.status(jobs[0]).state == "gone")
        asks.tidy()
        (left,) = (tmp_path / "line").glob("*.job")
        assert left.read_text().startswith(jobs[1])
        assert asks.jobs_of(REQUEST.store) == [jobs[1]]
    finally:
        for job in jobs:
            asks.stop(job)


def test_an_attempt_whose_process_was_killed_in_the_line_is_launched_anew_at_its_end(tmp_path: Path) -> None:
    line = Line(tmp_path, "")
    launcher = line.launcher()
    first, killed, last = (launcher.launch(request(f"run-{number}"), attempt=1) for number in range(3))
    jobs = [first, last]
    try:
        eventually(lambda: launcher.status(first).state == "running")
        os.kill(pid_of(killed), signal.SIGKILL)
        other = line.launcher()
        for asked in (launcher, other):
            eventually(lambda asked=asked: asked.status(killed).state == "refused")
        jobs.append(again := other.launch(request("run-1"), attempt=1))
        assert other.status(again).state == "queued"
        assert other.status(killed).state == "gone"
        line.end("run-0")
        eventually(lambda: other.status(last).state == "running")
        assert other.status(again).why.startswith("in this machine's line, as the next one")
    finally:
        for job in jobs:
            launcher.stop(job)


def test_the_jobs_of_a_store_are_known_without_it(tmp_path: Path) -> None:
    line = Line(tmp_path, "")
    launcher, elsewhere = line.launcher(), evolve(REQUEST, run_id="x", store="s3://another")
    jobs = [launcher.launch(one, attempt=1) for one in (request("run-0"), request("run-1"), elsewhere)]
    try:
        eventually(lambda: launcher.status(jobs[0]).state == "running")
        assert line.launcher().jobs_of(REQUEST.store) == jobs[:2]
    finally:
        for job in jobs:
            launcher.stop(job)
    eventually(lambda: line.launcher().jobs_of(REQUEST.store) == [])


@pytest.mark.parametrize(
    ("at_once", "gpus", "turns"),
    [
        (0, (), ("",)),
        (3, (), ("", "", "")),
        (0, ("0",), ("",)),
        (0, ("0", "1"), ("0", "1")),
        (1, ("0", "1"), ("",)),  # all of them
        (2, ("0", "1", "2", "3"), ("0,1", "2,3")),
        (3, ("4", "6"), ("4", "6", "4")),
        (2, ("0",), ("0", "0")),
    ],
)
def test_jobs_that_run_at_once_share_the_gpus(at_once: int, gpus: tuple[str, ...], turns: tuple[str, ...]) -> None:
    assert turns_of(at_once, gpus) == turns


def test_gpus_are_those_of_the_environment_or_of_the_machine(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert gpus_of({}, tmp_path) == ("0", "1")
    assert gpus_of({"CUDA_VISIBLE_DEVICES": "GPU-1a, 3"}, tmp_path) == ("GPU-1a", "3")
    for hidden in ("", "-1"):
        assert gpus_of({"CUDA_VISIBLE_DEVICES": hidden}, tmp_path) == ()


def test_another_function_instance_sees_a_job_live_and_die(make: Callable[[str], LocalLauncher]) -> None:
    first, second = make("wait"), make("wait")
    job = first.launch(REQUEST, attempt=1)
    eventually(lambda: second.status(job).state == "running")
    second.stop(job)
    eventually(lambda: second.status(job).state == "gone")
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
        assert launcher.status(f"local:{os.uname().nodename}:{child}:{start}").state == "gone"
    finally:
        os.waitpid(child, 0)


def test_a_process_id_that_was_used_again_is_not_the_job(tmp_path: Path) -> None:
    launcher = LocalLauncher(tmp_path, {})
    reused = f"local:{os.uname().nodename}:{os.getpid()}:12345"
    assert launcher.status(reused).state == "gone"
    launcher.stop(reused)  # this process goes on


def test_a_killed_job_failed(make: Callable[[str], LocalLauncher]) -> None:
    launcher = make("wait")
    job = launcher.launch(REQUEST, attempt=1)
    eventually(lambda: launcher.status(job).state == "running")
    os.kill(pid_of(job), signal.SIGKILL)
    eventually(lambda: launcher.status(job).state == "failed")


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
