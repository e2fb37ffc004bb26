"""The launcher's port, against every place where jobs run: local and Ray run them really."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from functions.train_trigger.launchers import JobState
from shared.errors import LaunchError
from shared.evolve import evolve
from shared.state.runs import TrainRequest
from tests.infra.kubernetes_target import KubernetesTarget
from tests.infra.launcher_targets import (
    REQUEST,
    BatchTarget,
    CloudRunTarget,
    LocalTarget,
    RayTarget,
    Target,
    moto_server,
)
from tests.servers.cloud_run_server import cloud_run
from tests.servers.ray_cluster import SECRET
from tests.servers.trigger_process import eventually

LIVE: tuple[JobState, ...] = ("queued", "running")
FOREIGN = (
    "", "local:", "local:here:1:1:a.log", "local:here", "aws-batch:eu-central-1:", "aws-batch:us-east-1:0",
    "kubernetes:elsewhere/", "cloud-run:projects/other/locations/r/jobs/j/executions/e", "ray:elsewhere:8265/r-1",
)  # fmt: skip


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(params=["local", "aws-batch", "cloud-run", "ray", "kubernetes"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    if request.param == "local":
        yield LocalTarget(tmp_path)
    elif request.param == "aws-batch":
        yield BatchTarget(request.getfixturevalue("aws"))
    elif request.param == "ray":
        yield RayTarget(request.getfixturevalue("cluster"), tmp_path)
    elif request.param == "kubernetes":
        yield KubernetesTarget(request.getfixturevalue("kubernetes"))
    else:
        with cloud_run() as service:
            yield CloudRunTarget(service)


@pytest.fixture
def request_(request: pytest.FixtureRequest) -> TrainRequest:
    """Of a run that no other test has: Ray never forgets an id."""
    number = abs(hash(request.node.name)) % 10**8
    return evolve(REQUEST, run_id=f"20260501-120000-{number:08d}")


@contextmanager
def launched(target: Target, request: TrainRequest) -> Iterator[str]:
    """A job that began."""
    job = target.launcher().launch(request, attempt=1)
    target.begin(job)
    try:
        yield job
    finally:
        target.end(job, 0)


def test_a_launch_tells_the_job_its_request_and_a_repeated_one_starts_no_second(
    target: Target, request_: TrainRequest
) -> None:
    with launched(target, request_) as job:
        again = target.launcher().launch(request_, attempt=1)
        assert (again == job) is target.launches_once
        jobs = 1 if target.launches_once else 2
        eventually(lambda: len(target.told()) == jobs, "what the jobs were told")
        assert [TrainRequest.parse(told) for told in target.told()] == [request_] * jobs


def test_the_next_attempt_is_another_job(target: Target, request_: TrainRequest) -> None:
    with launched(target, request_) as first:
        target.end(first, 1)
        second = target.launcher().launch(request_, attempt=2)
        assert second != first
        eventually(lambda: len(target.told()) == 2, "two jobs")


@pytest.mark.parametrize("code", [0, 1])
def test_a_job_is_queued_then_runs_then_ends_for_every_instance_of_the_function(
    target: Target, request_: TrainRequest, code: int
) -> None:
    launcher, other = target.launcher(), target.launcher()
    job = launcher.launch(request_, attempt=1)
    expected = target.ends_as[code]
    seen = {launcher.status(job).state}
    target.begin(job)
    if not seen & set(expected):
        seen.add(eventually(lambda: (found := other.status(job).state) != "queued" and found, "it runs"))
    assert seen <= {*LIVE, *expected}
    target.end(job, code)
    for looking in (launcher, other):
        assert (
            eventually(lambda looking=looking: (now := looking.status(job).state) not in LIVE and now, "its end")
            in expected
        )


def test_a_job_is_stopped_and_stopping_what_has_ended_is_no_error(target: Target, request_: TrainRequest) -> None:
    with launched(target, request_) as job:
        launcher = target.launcher()
        eventually(lambda: target.told(), "its begin")
        launcher.stop(job)
        eventually(lambda: launcher.status(job).state not in LIVE, "its end")
        for again in (launcher, target.launcher()):
            again.stop(job)
            assert again.status(job).state not in LIVE


def test_a_job_that_nobody_knows_is_gone(target: Target, request_: TrainRequest) -> None:
    with launched(target, request_) as job:
        assert target.launcher().status(target.unknown(job)).state == "gone"


def test_a_reference_of_another_place_is_told_apart(target: Target) -> None:
    launcher = target.launcher()
    asks: tuple[Callable[[str], object], ...] = (launcher.status, launcher.stop)
    for job in FOREIGN:
        for ask in asks:
            with pytest.raises(LaunchError, match=r"is no |was started on"):
                ask(job)


def test_reference_and_log_show_no_secret(target: Target, request_: TrainRequest) -> None:
    launcher = target.launcher()
    with launched(target, request_) as job:
        assert request_.run_id in job + launcher.logs(job) or "://" in launcher.logs(job)
        for shown in (job, launcher.logs(job), launcher.check()):
            assert SECRET not in shown
            assert "\n" not in shown


def test_whether_launches_can_succeed_is_said_in_one_line(target: Target) -> None:
    assert len(target.launcher().check()) > 20
