"""The places where jobs run, as the launchers' suite sees them: a launcher, and what happens behind its back."""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import requests
from botocore.config import Config
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import run_v2
from moto.server import ThreadedMotoServer

from functions.train_trigger.launchers import JobState, Launcher
from functions.train_trigger.launchers.aws_batch import AwsBatchLauncher
from functions.train_trigger.launchers.cloud_run import Clients, CloudRunLauncher
from functions.train_trigger.launchers.local.launcher import LocalLauncher
from functions.train_trigger.launchers.ray import RayLauncher
from shared.state.runs import TrainRequest
from tests.servers.cloud_run_server import JOB, CloudRun
from tests.servers.ray_cluster import SECRET, RayCluster

REQUEST = TrainRequest(store="s3://models/labelloop", project_uid="1.1700000000", run_id="20260501-120000-0a1b2c3d")
AWS = boto3.Session()  # reads the models of its services once

# A job that writes what it was told into a file, and ends with the code that it finds in another one.
_JOB = """
import os, pathlib, sys, time
folder = pathlib.Path(os.environ["TOLD"])
(folder / f"told-{os.getpid()}").write_text(os.environ["TRAIN_REQUEST"])
while not (folder / "end").exists():
    time.sleep(0.02)
sys.exit(int((folder / "end").read_text()))
"""


class Target(ABC):
    """One place."""

    launches_once = True  # a repeated launch answers the same job

    @abstractmethod
    def launcher(self) -> Launcher:
        """A new one, as another instance of the function has it."""

    @abstractmethod
    def told(self) -> list[str]:
        """TRAIN_REQUEST of each job, in no order."""

    def begin(self, job: str) -> None:  # noqa: B027  (most targets run jobs by themselves)
        """Let a queued job run."""

    @abstractmethod
    def end(self, job: str, code: int) -> None:
        """Let a running job exit with a code."""

    @property
    def ends_as(self) -> dict[int, tuple[JobState, ...]]:
        """Exit code → what the launcher may say then."""
        return {0: ("finished",), 1: ("failed",)}

    @abstractmethod
    def unknown(self, job: str) -> str:
        """A well-formed reference to a job that never was, made from one."""


class _Processes(Target):
    """Real processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._script = folder / "job.py"
        self._script.write_text(_JOB)

    def told(self) -> list[str]:
        """Of the jobs that have begun."""
        return [path.read_text() for path in self._folder.glob("told-*")]

    def end(self, job: str, code: int) -> None:
        """All of this test's."""
        (self._folder / "end.new").write_text(str(code))
        (self._folder / "end.new").rename(self._folder / "end")


class LocalTarget(_Processes):
    """This machine."""

    launches_once = False  # a process has no name; the claim decides alone

    def launcher(self) -> LocalLauncher:
        """Its jobs inherit a secret."""
        environ = {**os.environ, "TOLD": str(self._folder), "LABEL_STUDIO_API_KEY": SECRET}
        command = (sys.executable, str(self._script))
        return LocalLauncher(self._folder / "logs", environ, command=command, turns=("", ""))

    @property
    def ends_as(self) -> dict[int, tuple[JobState, ...]]:
        """Of processes that another instance started nobody knows how they ended."""
        return {0: ("finished", "gone"), 1: ("failed", "gone")}

    def unknown(self, job: str) -> str:
        """The same process id with another start."""
        scheme, host, pid, _start, log = job.split(":")
        return ":".join((scheme, host, pid, "1", log))


class RayTarget(_Processes):
    """A cluster of this machine."""

    def __init__(self, cluster: RayCluster, folder: Path) -> None:
        super().__init__(folder)
        self._cluster = cluster

    def launcher(self, **changes: Any) -> RayLauncher:
        """Without GPUs."""
        entrypoint = f"TOLD={self._folder} python {self._script}"
        values: dict[str, Any] = {"gpus": 0, "token": self._cluster.token, "entrypoint": entrypoint}
        return RayLauncher(self._cluster.address, **values | changes)

    def unknown(self, job: str) -> str:
        """Another submission id."""
        return f"{job}9"


class BatchTarget(Target):
    """moto's server: its jobs succeed at once."""

    def __init__(self, url: str) -> None:
        requests.post(f"{url}/moto-api/reset", timeout=30).raise_for_status()
        answer = requests.post(f"{url}/moto-api/config", json={"batch": {"use_docker": False}}, timeout=30)
        answer.raise_for_status()
        self.url = url
        client, role = self.client(), "arn:aws:iam::123456789012:role/batch"
        self._client_of("iam").create_role(RoleName="batch", AssumeRolePolicyDocument="{}", Path="/")
        client.create_compute_environment(computeEnvironmentName="gpu", type="UNMANAGED", serviceRole=role)
        order = [{"order": 1, "computeEnvironment": "gpu"}]
        client.create_job_queue(jobQueueName="gpu", state="ENABLED", priority=1, computeEnvironmentOrder=order)
        needs = [{"type": "GPU", "value": "1"}, {"type": "VCPU", "value": "4"}, {"type": "MEMORY", "value": "16000"}]
        client.register_job_definition(
            jobDefinitionName="train",
            type="container",
            containerProperties={
                "image": "labelloop-train:1",
                "resourceRequirements": needs,
                "environment": [{"name": "LABEL_STUDIO_API_KEY", "value": SECRET}],
            },
            timeout={"attemptDurationSeconds": 25200},
        )

    def client(self) -> Any:
        """boto3's."""
        return self._client_of("batch")

    def launcher(self, queue: str = "gpu", definition: str = "train") -> AwsBatchLauncher:
        """Of the queue and definition that are there."""
        return AwsBatchLauncher(self.client(), queue, definition)

    def told(self) -> list[str]:
        """From what was submitted."""
        named = [{"name": "JOB_NAME", "values": ["labelloop-*"]}]
        ids = [job["jobId"] for job in self.client().list_jobs(jobQueue="gpu", filters=named)["jobSummaryList"]]
        jobs = self.client().describe_jobs(jobs=ids)["jobs"] if ids else []
        environments = [{env["name"]: env["value"] for env in job["container"]["environment"]} for job in jobs]
        return [environment["TRAIN_REQUEST"] for environment in environments]

    def end(self, job: str, code: int) -> None:
        """It has ended already."""

    @property
    def ends_as(self) -> dict[int, tuple[JobState, ...]]:
        """moto knows success only; RUNNING and FAILED are in test_launcher_aws_batch.py."""
        return {0: ("finished",), 1: ("finished",)}

    def unknown(self, job: str) -> str:
        """Another id."""
        return f"{job[:-4]}0000"

    def _client_of(self, service: str) -> Any:
        client: Callable[..., Any] = AWS.client
        return client(
            service,
            endpoint_url=self.url,
            region_name="eu-central-1",
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key=SECRET,
            config=Config(retries={"total_max_attempts": 1}),
        )


class CloudRunTarget(Target):
    """Google's messages over real HTTP."""

    def __init__(self, service: CloudRun) -> None:
        self.service = service

    def launcher(self, workers: int = 1) -> CloudRunLauncher:
        """With Google's own clients."""
        options = ClientOptions(api_endpoint=self.service.web.url)
        credentials: Any = AnonymousCredentials()
        how: dict[str, Any] = {"credentials": credentials, "client_options": options, "transport": "rest"}
        clients = Clients(run_v2.JobsClient(**how), run_v2.ExecutionsClient(**how))
        _, project, _, region, _, job = JOB.split("/")
        return CloudRunLauncher(clients, project, region, job, workers=workers)

    def told(self) -> list[str]:
        """From the executions' templates."""
        environments = [
            {env.name: env.value for env in execution.template.containers[0].env}
            for execution in self.service.executions.values()
        ]
        return [environment["TRAIN_REQUEST"] for environment in environments]

    def begin(self, job: str) -> None:
        """A GPU was found."""
        self.service.executions[job.removeprefix("cloud-run:")].running_count = 1

    def end(self, job: str, code: int) -> None:
        """The task is over."""
        self.service.end(job.removeprefix("cloud-run:"), **{"failed_count" if code else "succeeded_count": 1})

    def unknown(self, job: str) -> str:
        """Another execution."""
        return f"{job}x"


@contextmanager
def moto_server() -> Iterator[str]:
    """The address of an AWS that is not there."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
