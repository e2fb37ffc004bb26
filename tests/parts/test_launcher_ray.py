"""What Ray's dashboard says of jobs that wait or never began, in its own models over real HTTP."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ray.dashboard.modules.job.common import JobErrorType, JobInfo
from ray.dashboard.modules.job.common import JobStatus as RayState

from functions.train_trigger.launchers import JobState, JobStatus
from functions.train_trigger.launchers.ray import RayLauncher
from tests.infra.launcher_targets import REQUEST
from tests.servers.web_server import Handler, web_server

ID = f"{REQUEST.run_id}-1"
WAITS = "Job has not started yet. It may be waiting for resources (CPUs, GPUs, memory) to become available."
BEGAN = (
    JobErrorType.JOB_SUPERVISOR_ACTOR_DIED, JobErrorType.JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE,
    JobErrorType.JOB_ENTRYPOINT_COMMAND_ERROR,
)  # fmt: skip
"""All others say that the command never ran."""


class Dashboard:
    """Jobs by their ids, which it takes once, and nodes by their GPUs."""

    def __init__(self, *gpus: int) -> None:
        self.gpus = gpus
        self.jobs: dict[str, JobInfo] = {}
        self.deleted: list[str] = []

    def answer(self, handler: Handler) -> None:
        job = handler.path.rpartition("/")[2]
        if handler.path.startswith("/api/v0/nodes"):
            nodes = [{"state": "ALIVE", "resources_total": {"CPU": 4, "GPU": count}} for count in self.gpus]
            self._reply(handler, {"data": {"result": {"result": nodes}}})
        elif handler.command == "POST":
            asked = json.loads(handler.body)["submission_id"]
            taken = asked in self.jobs
            self.jobs.setdefault(asked, JobInfo(RayState.PENDING, "python", message=WAITS))
            handler.reply(500, b"it was already submitted") if taken else self._reply(handler, {"submission_id": asked})
        elif job not in self.jobs:
            handler.reply(404, b"no such job")
        elif handler.command == "DELETE":
            self.deleted.append(job)
            del self.jobs[job]
            self._reply(handler, {"deleted": True})
        else:
            self._reply(handler, self.jobs[job].to_json())

    def _reply(self, handler: Handler, body: Any) -> None:
        handler.reply(200, json.dumps(body, default=str).encode(), Content_Type="application/json")


@contextmanager
def ray(*gpus: int, reserved: int = 1) -> Iterator[tuple[Dashboard, RayLauncher]]:
    dashboard = Dashboard(*gpus)
    with web_server(lambda handler: dashboard.answer(handler)) as web:
        yield dashboard, RayLauncher(f"{web.host}:{web.port}", gpus=reserved)


@pytest.mark.parametrize(
    ("gpus", "reserved", "stuck"),
    [
        pytest.param((0, 1), 1, False, id="its GPU is taken"),
        pytest.param((2, 2), 4, True, id="no node is large enough"),
        pytest.param((), 1, True, id="no node at all"),
        pytest.param((0,), 0, False, id="it needs none"),
    ],
)
def test_waiting_for_capacity_is_told_from_waiting_for_a_correction(
    gpus: tuple[int, ...], reserved: int, stuck: bool
) -> None:
    with ray(*gpus, reserved=reserved) as (_, launcher):
        status = launcher.status(launcher.launch(REQUEST, attempt=1))
    assert (status.state, status.stuck, status.why.endswith(WAITS)) == ("queued", stuck, True)


@pytest.mark.parametrize("error", JobErrorType)
def test_a_job_whose_command_never_ran_was_refused(error: JobErrorType) -> None:
    """So a wait that outlasts RAY_JOB_START_TIMEOUT_SECONDS (15 min) is no failure of the run."""
    expected: JobState = "failed" if error in BEGAN else "refused"
    with ray(1) as (dashboard, launcher):
        job = launcher.launch(REQUEST, attempt=1)
        told = "Job supervisor actor failed to start within 900.0 seconds.\nand 20,000 characters of a log"
        dashboard.jobs[ID] = JobInfo(RayState.FAILED, "python", message=told, error_type=error)
        assert launcher.status(job) == JobStatus(expected, told.partition("\n")[0])


def test_the_cluster_gets_its_token_and_no_password_that_the_environment_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    dashboard = Dashboard(1)
    with web_server(lambda handler: dashboard.answer(handler)) as web:
        launcher = RayLauncher(f"{web.host}:{web.port}", gpus=1, token="t0ken")
        launcher.status(launcher.launch(REQUEST, attempt=1))
        assert set(web.tokens) == {"Bearer t0ken"}


@pytest.mark.parametrize("state", RayState)
def test_what_came_to_nothing_is_launched_anew_and_what_lives_is_not(state: RayState) -> None:
    with ray(1) as (dashboard, launcher):
        job = launcher.launch(REQUEST, attempt=1)
        dashboard.jobs[ID] = JobInfo(state, "python")
        assert launcher.launch(REQUEST, attempt=1) == job
        anew = state in (RayState.STOPPED, RayState.FAILED)
        assert (dashboard.deleted == [ID], dashboard.jobs[ID].message == WAITS) == (anew, anew)
