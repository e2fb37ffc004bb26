"""What Cloud Run answers, in Google's own messages over real HTTP."""

import logging
from collections.abc import Iterator

import pytest
from google.cloud import run_v2

from functions.train_trigger.launchers import JobStatus
from functions.train_trigger.launchers.cloud_run import open_launcher
from shared.errors import LaunchError, SettingsError
from shared.evolve import evolve
from shared.launcher_url import LauncherUrl
from shared.settings import Settings
from tests.infra.launcher_targets import REQUEST, CloudRunTarget
from tests.servers.cloud_run_server import JOB, CloudRun, cloud_run


@pytest.fixture
def service() -> Iterator[CloudRun]:
    with cloud_run() as service:
        yield service


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (400, "`labelloop doctor` looks at the job"),
        (403, r"give the function's service account .*run\.jobs\.runWithOverrides"),
        (404, "correct LABELLOOP_LAUNCHER, or create the job"),
        (429, "ask for more GPU quota in this region"),
        (503, "it is tried again"),
    ],
)
def test_a_refusal_is_one_sentence_with_what_to_do(service: CloudRun, code: int, remedy: str) -> None:
    service.refusal = (code, "what Google says")
    launcher = CloudRunTarget(service).launcher()
    with pytest.raises(LaunchError, match=remedy) as raised:
        launcher.launch(REQUEST, attempt=1)
    assert JOB in str(raised.value)
    assert f"({code}: " in str(raised.value)
    assert "what Google says" in str(raised.value)


def test_a_region_that_does_not_answer_is_one_sentence() -> None:
    with cloud_run() as service:
        launcher = CloudRunTarget(service).launcher()
    with pytest.raises(LaunchError, match=r"cannot be asked .*check the network"):
        launcher.check()


def test_an_execution_waits_until_its_task_runs_and_says_why(
    service: CloudRun, caplog: pytest.LogCaptureFixture
) -> None:
    target = CloudRunTarget(service)
    launcher = target.launcher()
    job = launcher.launch(REQUEST, attempt=1)
    service.executions[job.removeprefix("cloud-run:")].conditions.append(
        run_v2.Condition(type_="ResourcesAvailable", state="CONDITION_PENDING", message="no GPU is free in this zone")
    )
    assert [launcher.status(job).state, launcher.status(job).state] == ["queued", "queued"]
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "no GPU is free in this zone")
    ]
    target.begin(job)
    assert launcher.status(job).state == "running"


@pytest.mark.parametrize(
    ("counts", "ended", "status"),
    [
        ({}, False, "queued"),
        ({"running_count": 1}, False, "running"),
        ({"succeeded_count": 1}, False, "finished"),  # between the task's end and the execution's
        ({"failed_count": 1}, False, "failed"),
        ({"succeeded_count": 1}, True, "finished"),
        ({"failed_count": 1}, True, "failed"),
        ({"cancelled_count": 1}, True, "failed"),
        ({}, True, "refused"),  # no task of it ever ran
    ],
)
def test_how_an_execution_stands(service: CloudRun, counts: dict[str, int], ended: bool, status: str) -> None:
    launcher = CloudRunTarget(service).launcher()
    job = launcher.launch(REQUEST, attempt=1)
    name = job.removeprefix("cloud-run:")
    for count, value in counts.items():
        setattr(service.executions[name], count, value)
    if ended:
        service.end(name, **counts)
    assert launcher.status(job).state == status


@pytest.mark.parametrize(
    ("counts", "ended", "status"),
    [
        ({"running_count": 3}, False, "running"),
        ({"running_count": 1, "failed_count": 1, "succeeded_count": 1}, False, "running"),
        ({"succeeded_count": 1}, False, "queued"),  # the others wait for a GPU
        ({"failed_count": 1, "succeeded_count": 2}, True, "failed"),
        ({"succeeded_count": 3}, False, "finished"),
    ],
)
def test_several_workers_are_tasks_of_one_execution(
    service: CloudRun, counts: dict[str, int], ended: bool, status: str
) -> None:
    launcher = CloudRunTarget(service).launcher()
    job = launcher.launch(evolve(REQUEST, workers=3), attempt=1)
    name = job.removeprefix("cloud-run:")
    assert service.executions[name].task_count == 3
    for count, value in counts.items():
        setattr(service.executions[name], count, value)
    if ended:
        service.end(name, **counts)
    assert launcher.status(job).state == status


@pytest.mark.parametrize("reason", run_v2.Condition.CommonReason)
def test_what_has_to_be_corrected_is_told_from_what_passes(
    service: CloudRun, reason: run_v2.Condition.CommonReason
) -> None:
    launcher = CloudRunTarget(service).launcher()
    job = launcher.launch(REQUEST, attempt=1)
    condition = run_v2.Condition(type_="Completed", state="CONDITION_RECONCILING", message="as it says", reason=reason)
    service.executions[job.removeprefix("cloud-run:")].conditions.append(condition)
    passing = (
        "COMMON_REASON_UNDEFINED", "UNKNOWN", "PROGRESS_DEADLINE_EXCEEDED", "WAITING_FOR_OPERATION", "IMMEDIATE_RETRY",
        "POSTPONED_RETRY", "INTERNAL",
    )  # fmt: skip
    assert launcher.status(job) == JobStatus("queued", "as it says", stuck=reason.name not in passing)


def test_an_execution_that_was_refused_or_stopped_is_launched_anew(service: CloudRun) -> None:
    launcher = CloudRunTarget(service).launcher()
    first = launcher.launch(REQUEST, attempt=1)
    condition = run_v2.Condition(type_="Completed", state="CONDITION_FAILED", message="image not found")
    service.executions[first.removeprefix("cloud-run:")].conditions.append(condition)
    service.end(first.removeprefix("cloud-run:"))
    assert launcher.status(first) == JobStatus("refused", "image not found")
    second = launcher.launch(REQUEST, attempt=1)
    assert second != first
    launcher.stop(second)
    assert launcher.launch(REQUEST, attempt=1) not in (first, second)


def test_the_newest_executions_are_looked_through(service: CloudRun) -> None:
    launcher = CloudRunTarget(service).launcher()
    jobs = [launcher.launch(REQUEST, attempt=attempt) for attempt in (1, 2, 3)]
    assert [launcher.launch(REQUEST, attempt=attempt) for attempt in (1, 2, 3)] == jobs
    assert len(service.executions) == 3


def test_the_log_is_a_page_of_the_console(service: CloudRun) -> None:
    launcher = CloudRunTarget(service).launcher()
    job = f"cloud-run:{JOB}/executions/labelloop-train-x1y2z"
    assert launcher.logs(job) == (
        "https://console.cloud.google.com/run/jobs/executions/details/europe-west1/labelloop-train-x1y2z/logs?project=acme"
    )


def test_the_job_is_looked_at(service: CloudRun) -> None:
    launcher = CloudRunTarget(service).launcher()
    assert launcher.check().endswith("labelloop-train:1 with 1 GPU, at most 60 min")
    service.job.template.template.max_retries = 3
    with pytest.raises(LaunchError, match="set its max retries to 0"):
        launcher.check()


@pytest.mark.parametrize(("workers", "parallelism"), [(1, 0), (1, 1), (4, 0)])
def test_a_job_takes_trainings_and_as_many_workers_as_there_may_be(
    service: CloudRun, workers: int, parallelism: int
) -> None:
    launcher = CloudRunTarget(service).launcher(workers=workers)
    service.job.template.parallelism = parallelism
    launcher.check()
    launcher.launch(REQUEST, attempt=1)
    launcher.launch(evolve(REQUEST, workers=workers), attempt=2)
    assert [execution.task_count for execution in service.executions.values()] == [1, workers]


@pytest.mark.parametrize(("workers", "parallelism"), [(1, 2), (4, 1), (4, 4)])
def test_a_job_that_refuses_trainings_or_runs_workers_in_turn_is_named(
    service: CloudRun, workers: int, parallelism: int
) -> None:
    """Trainings are one task, and Cloud Run refuses an execution of fewer tasks than the job's parallelism."""
    service.job.template.parallelism = parallelism
    with pytest.raises(LaunchError, match=f"has parallelism {parallelism}: set it to 0"):
        CloudRunTarget(service).launcher(workers=workers).check()


def test_credentials_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(SettingsError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        open_launcher(LauncherUrl.parse("cloud-run://acme/europe-west1/train"), Settings(), {})
