"""What AWS Batch answers, as its own model has it (botocore's Stubber) and as moto's server does."""

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.stub import ANY, Stubber

from functions.train_trigger.launchers import JobState, JobStatus
from functions.train_trigger.launchers.aws_batch import AwsBatchLauncher, open_launcher
from shared.errors import LaunchError, SettingsError
from shared.evolve import evolve
from shared.launcher_url import LauncherUrl
from shared.settings import Settings
from tests.infra.launcher_targets import AWS, REQUEST, BatchTarget, moto_server

JOB = "aws-batch:eu-central-1:0f0f-1"
SPOT_LOSS = "Host EC2 (instance i-0123456789abcdef0) terminated."


@pytest.fixture
def client() -> Any:
    return AWS.client(
        "batch", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip


@pytest.fixture
def stubber(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    with moto_server() as url:
        yield url


def told(status: str, **more: Any) -> dict[str, Any]:
    job = {"jobId": "0f0f-1", "jobName": "labelloop-r-1", "jobQueue": "gpu", "startedAt": 1, "jobDefinition": "train:1"}
    return {"jobs": [job | {"status": status} | more]}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("SUBMITTED", "queued"), ("PENDING", "queued"), ("RUNNABLE", "queued"), ("STARTING", "queued"),
        ("RUNNING", "running"), ("SUCCEEDED", "finished"), ("FAILED", "failed"),
    ],
)  # fmt: skip
def test_every_status_of_batch_has_one_of_ours(client: Any, stubber: Stubber, theirs: str, ours: JobState) -> None:
    stubber.add_response("describe_jobs", told(theirs), {"jobs": ["0f0f-1"]})
    assert AwsBatchLauncher(client, "gpu", "train").status(JOB).state == ours


def test_every_status_is_known(client: Any) -> None:
    known = client.meta.service_model.shape_for("JobStatus").enum
    assert set(known) == {"SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"}


def test_a_running_job_is_terminated(client: Any, stubber: Stubber) -> None:
    launcher = AwsBatchLauncher(client, "gpu", "train")
    stubber.add_response("describe_jobs", told("RUNNING"))
    stubber.add_response("terminate_job", {}, {"jobId": "0f0f-1", "reason": "stopped by labelloop"})
    stubber.add_response("describe_jobs", told("FAILED", statusReason="stopped by labelloop"))
    assert launcher.status(JOB).state == "running"
    launcher.stop(JOB)
    assert launcher.status(JOB).state == "failed"


def test_why_a_machine_was_taken_or_cannot_be_had_is_logged_once(
    client: Any, stubber: Stubber, caplog: pytest.LogCaptureFixture
) -> None:
    launcher = AwsBatchLauncher(client, "gpu", "train")
    waits = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
    for status, reason in [("RUNNABLE", waits), ("RUNNABLE", waits), ("FAILED", SPOT_LOSS)]:
        stubber.add_response("describe_jobs", told(status, statusReason=reason))
        launcher.status(JOB)
    lines = [(record.levelno, getattr(record, "event", ""), record.getMessage()) for record in caplog.records]
    assert lines == [(logging.WARNING, "job_queued", waits), (logging.WARNING, "job_failed", SPOT_LOSS)]


MISCONFIGURED = ("COMPUTE_ENVIRONMENT_MAX_RESOURCE", "JOB_RESOURCE_REQUIREMENT", "SERVICE_ROLE_PERMISSIONS")
NO_IMAGE = "CannotPullContainerError: pull access denied for labelloop-train"


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        pytest.param(told("RUNNABLE"), JobStatus("queued"), id="nothing is said yet"),
        pytest.param(
            told("RUNNABLE", statusReason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - …"),
            JobStatus("queued", "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - …"), id="spot machines are used up",
        ),
        *(
            pytest.param(
                told("RUNNABLE", statusReason=f"MISCONFIGURATION:{code} - …"),
                JobStatus("queued", f"MISCONFIGURATION:{code} - …", stuck=True), id=code,
            )
            for code in MISCONFIGURED
        ),
        pytest.param(
            told("FAILED", startedAt=0, container={"reason": NO_IMAGE}), JobStatus("refused", NO_IMAGE),
            id="its image cannot be pulled",
        ),
        pytest.param(
            told("FAILED", startedAt=0, statusReason="Canceled by JobStateTimeLimit action"),
            JobStatus("refused", "Canceled by JobStateTimeLimit action"), id="the queue cancelled it",
        ),
        pytest.param(told("FAILED", statusReason=SPOT_LOSS), JobStatus("failed", SPOT_LOSS), id="it ran"),
    ],
)  # fmt: skip
def test_waiting_for_capacity_is_told_from_waiting_for_a_correction(
    client: Any, stubber: Stubber, job: dict[str, Any], expected: JobStatus
) -> None:
    stubber.add_response("describe_jobs", job)
    assert AwsBatchLauncher(client, "gpu", "train").status(JOB) == expected


def test_the_reasons_are_those_that_aws_documents(client: Any) -> None:
    shape = client.meta.service_model.operation_model("DescribeJobs").output_shape
    documented = shape.members["jobs"].member.members["statusReason"].documentation
    assert set(re.findall(r"MISCONFIGURATION:(\w+)", documented)) == set(MISCONFIGURED)


def test_a_launch_looks_for_its_name_then_submits_once_without_retries(client: Any, stubber: Stubber) -> None:
    name = f"labelloop-{REQUEST.run_id}-2"
    other = {"jobId": "other", "jobName": name.upper(), "status": "RUNNING"}  # Batch compares without regard to case
    withdrawn = {"jobId": "old", "jobName": name, "status": "FAILED"}  # stopped because it could not start
    named = {"jobQueue": "gpu", "filters": [{"name": "JOB_NAME", "values": [name]}]}
    stubber.add_response("list_jobs", {"jobSummaryList": [other, withdrawn]}, named)
    stubber.add_response(
        "submit_job",
        {"jobName": name, "jobId": "0f0f-1"},
        {
            "jobName": name,
            "jobQueue": "gpu",
            "jobDefinition": "train:3",
            "containerOverrides": {"environment": [{"name": "TRAIN_REQUEST", "value": REQUEST.model_dump_json()}]},
            "retryStrategy": {"attempts": 1},
        },
    )
    launcher = AwsBatchLauncher(client, "gpu", "train:3")
    assert launcher.launch(REQUEST, attempt=2) == JOB
    assert launcher.logs(JOB).endswith("/batch/home?region=eu-central-1#jobs/detail/0f0f-1")


WORKERS = evolve(REQUEST, kind="prelabel", workers=3)
CAPACITY = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"


def test_several_workers_are_one_array_job(aws: str) -> None:
    target = BatchTarget(aws)
    launcher = target.launcher()
    job = launcher.launch(WORKERS, attempt=1)
    assert launcher.launch(WORKERS, attempt=1) == job
    (made,) = target.client().describe_jobs(jobs=[job.rpartition(":")[2]])["jobs"]
    assert made["arrayProperties"]["size"] == 3
    assert launcher.status(job).state in ("queued", "running", "finished")


@pytest.mark.parametrize(
    ("parent", "first", "expected"),
    [
        pytest.param(("PENDING", {"RUNNABLE": 2, "RUNNING": 1}), None, JobStatus("running"), id="one runs"),
        pytest.param(("SUBMITTED", {}), {"jobs": []}, JobStatus("queued"), id="no job of it is there yet"),
        pytest.param(
            ("PENDING", {"RUNNABLE": 3}), told("RUNNABLE", startedAt=0, statusReason=CAPACITY),
            JobStatus("queued", CAPACITY), id="all wait",
        ),
        pytest.param(("SUCCEEDED", {"SUCCEEDED": 3}), told("SUCCEEDED"), JobStatus("finished"), id="all are done"),
        pytest.param(
            ("FAILED", {"FAILED": 1, "SUCCEEDED": 2}), told("FAILED", statusReason=SPOT_LOSS),
            JobStatus("failed", SPOT_LOSS), id="the first one's machine was taken",
        ),
        pytest.param(
            ("FAILED", {"FAILED": 3}), told("FAILED", startedAt=0, container={"reason": NO_IMAGE}),
            JobStatus("refused", NO_IMAGE), id="none of them could begin",
        ),
    ],
)  # fmt: skip
def test_how_an_array_stands(
    client: Any, stubber: Stubber, parent: tuple[str, Any], first: Any, expected: JobStatus
) -> None:
    array = {"size": 3, "statusSummary": parent[1]}
    stubber.add_response("describe_jobs", told(parent[0], startedAt=0, arrayProperties=array), {"jobs": ["0f0f-1"]})
    if first is not None:
        stubber.add_response("describe_jobs", first, {"jobs": ["0f0f-1:0"]})
    assert AwsBatchLauncher(client, "gpu", "train").status(JOB) == expected


def test_an_array_is_as_large_as_there_are_workers(client: Any, stubber: Stubber) -> None:
    stubber.add_response("list_jobs", {"jobSummaryList": []})
    name = f"labelloop-{REQUEST.run_id}-1"
    asked = {
        "jobName": name, "jobQueue": "gpu", "jobDefinition": "train", "retryStrategy": {"attempts": 1},
        "arrayProperties": {"size": 3}, "containerOverrides": ANY,
    }  # fmt: skip
    stubber.add_response("submit_job", {"jobName": name, "jobId": "0f0f-1"}, asked)
    assert AwsBatchLauncher(client, "gpu", "train").launch(WORKERS, attempt=1) == JOB


@pytest.mark.parametrize(
    ("code", "status", "remedy"),
    [
        ("AccessDeniedException", 403, "allow the function's role batch:SubmitJob"),
        ("UnrecognizedClientException", 403, "credentials are wrong or expired"),
        ("ExpiredTokenException", 403, "credentials are wrong or expired"),
        ("TooManyRequestsException", 429, "ask for a higher limit if this lasts"),
        ("ClientException", 400, "`labelloop doctor` asks both"),
        ("ServerException", 500, "it is tried again"),
    ],
)
def test_a_refusal_is_one_sentence_with_what_to_do(
    client: Any, stubber: Stubber, code: str, status: int, remedy: str
) -> None:
    stubber.add_response("list_jobs", {"jobSummaryList": []})
    stubber.add_client_error("submit_job", code, "what AWS says", status)
    with pytest.raises(LaunchError, match=remedy) as raised:
        AwsBatchLauncher(client, "gpu", "train").launch(REQUEST, attempt=1)
    assert f"AWS Batch in eu-central-1 refused SubmitJob ({code}: what AWS says)" in str(raised.value)


def test_without_network_or_credentials_the_sentence_says_so() -> None:
    client = AWS.client(
        "batch", region_name="eu-central-1", endpoint_url="http://127.0.0.1:9", aws_access_key_id="a",
        aws_secret_access_key="hush", config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    with pytest.raises(LaunchError, match="cannot be asked for DescribeJobQueues") as raised:
        AwsBatchLauncher(client, "gpu", "train").check()
    assert "hush" not in str(raised.value)


def test_queue_and_definition_are_looked_at(aws: str) -> None:
    target = BatchTarget(aws)
    expected = "queue gpu takes jobs; definition train:1 runs labelloop-train:1 with 1 GPU, at most 25200 s"
    assert target.launcher().check() == f"AWS Batch in eu-central-1: {expected}"
    with pytest.raises(LaunchError, match="no job queue 'cpu'"):
        target.launcher(queue="cpu").check()
    with pytest.raises(LaunchError, match="no active job definition 'other'"):
        target.launcher(definition="other").check()
    with pytest.raises(LaunchError, match=r"refused ListJobs .*queue 'cpu' is enabled"):
        target.launcher(queue="cpu").launch(REQUEST, attempt=1)
    target.client().update_job_queue(jobQueue="gpu", state="DISABLED")
    with pytest.raises(LaunchError, match=r"takes no jobs .*DISABLED.*: enable"):
        target.launcher().check()


def test_a_revision_is_asked_for_by_its_name_and_has_to_be_active(client: Any, stubber: Stubber) -> None:
    queue = {"jobQueueName": "gpu", "jobQueueArn": "arn", "state": "ENABLED", "priority": 1}
    definition = {"jobDefinitionName": "train", "jobDefinitionArn": "arn", "revision": 3, "type": "container"}
    for status in ("ACTIVE", "INACTIVE"):
        stubber.add_response("describe_job_queues", {"jobQueues": [queue | {"computeEnvironmentOrder": []}]})
        found = {"jobDefinitions": [definition | {"status": status}]}
        stubber.add_response("describe_job_definitions", found, {"jobDefinitions": ["train:3"]})
    launcher = AwsBatchLauncher(client, "gpu", "train:3")
    assert launcher.check().endswith("definition train:3 runs ? with no GPU, without a time limit")
    with pytest.raises(LaunchError, match="no active job definition 'train:3'"):
        launcher.check()


def test_a_region_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="AWS_DEFAULT_REGION"):
        open_launcher(LauncherUrl.parse("aws-batch://gpu/train"), Settings(), {})
