"""Jobs as executions of one Cloud Run Job, in which image, GPU, timeout and secrets are configured."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import requests
from google.api_core.exceptions import (
    BadRequest,
    Forbidden,
    GoogleAPICallError,
    NotFound,
    RetryError,
    TooManyRequests,
    Unauthorized,
)
from google.auth.exceptions import GoogleAuthError
from google.cloud import run_v2

from functions.train_trigger.launchers import JobState, JobStatus
from shared.errors import LaunchError, SettingsError
from shared.launcher_url import LauncherUrl
from shared.settings import Settings
from shared.state.runs import TrainRequest

logger = logging.getLogger(__name__)

T = TypeVar("T")
_TIMEOUT = 15.0  # seconds for one request
_RECENT = 50  # newest executions among which one with the same name is looked for
_REASONS = run_v2.Condition.CommonReason
_TO_CORRECT = (
    _REASONS.CONTAINER_MISSING, _REASONS.CONTAINER_PERMISSION_DENIED, _REASONS.CONTAINER_IMAGE_UNAUTHORIZED,
    _REASONS.CONTAINER_IMAGE_AUTHORIZATION_CHECK_FAILED, _REASONS.ENCRYPTION_KEY_PERMISSION_DENIED,
    _REASONS.ENCRYPTION_KEY_CHECK_FAILED, _REASONS.SECRETS_ACCESS_CHECK_FAILED, _REASONS.VPC_NETWORK_NOT_FOUND,
    _REASONS.REVISION_FAILED,
)  # fmt: skip
"""Reasons for which an execution waits until a person corrects something; all others end by themselves."""
_NAME = "LAUNCH_NAME"  # variable of the execution: run id and attempt
_RIGHTS = (
    "run.jobs.get, run.jobs.runWithOverrides, run.executions.get, run.executions.list and run.executions.cancel "
    "(roles/run.developer on the job has them)"
)


def open_launcher(url: LauncherUrl, settings: Settings, environ: Mapping[str, str]) -> "CloudRunLauncher":  # noqa: ARG001
    """A launcher with Google's application default credentials. Raises SettingsError if there are none."""
    project, region, job = url.parts
    try:
        clients = Clients(run_v2.JobsClient(transport="rest"), run_v2.ExecutionsClient(transport="rest"))
    except GoogleAuthError as error:
        raise SettingsError(
            f"Cloud Run cannot be used: {error} Give the function a service account, or set "
            "GOOGLE_APPLICATION_CREDENTIALS."
        ) from error
    return CloudRunLauncher(clients, project, region, job, workers=settings.prelabel_workers)


class Clients(NamedTuple):
    """Google's clients, for jobs and for executions."""

    jobs: run_v2.JobsClient
    executions: run_v2.ExecutionsClient


class CloudRunLauncher:
    """A reference is `cloud-run:projects/P/locations/R/jobs/J/executions/E`.

    Cloud Run names executions itself. So one with the same run id and attempt is first looked for among the newest; two
    launches at the same moment find none, and the claim decides which of both executions runs.
    """

    def __init__(self, clients: Clients, project: str, region: str, job: str, *, workers: int = 1) -> None:
        """`workers`: the most that a launch starts."""
        self._clients = clients
        self._workers = workers
        self._job = f"projects/{project}/locations/{region}/jobs/{job}"
        self._logged: set[tuple[str, str]] = set()

    def launch(self, request: TrainRequest, *, attempt: int) -> str:
        """Start an execution, or answer the one that has the same run id and attempt already. Raises LaunchError."""
        name = f"{request.run_id}-{attempt}"
        recent = run_v2.ListExecutionsRequest(parent=self._job, page_size=_RECENT)
        page = self._ask("list the executions of", self._clients.executions.list_executions, request=recent)
        for execution in next(iter(page.pages)).executions:
            variables = (env for container in execution.template.containers for env in container.env)
            if any(env.name == _NAME and env.value == name for env in variables) and not _came_to_nothing(execution):
                return f"cloud-run:{execution.name}"
        added = {"TRAIN_REQUEST": request.model_dump_json(), _NAME: name}
        overrides = run_v2.RunJobRequest.Overrides(
            task_count=request.workers,
            container_overrides=[
                run_v2.RunJobRequest.Overrides.ContainerOverride(
                    env=[run_v2.EnvVar(name=key, value=value) for key, value in added.items()]
                )
            ],
        )
        run = run_v2.RunJobRequest(name=self._job, overrides=overrides)
        operation = self._ask("run", self._clients.jobs.run_job, request=run)
        return f"cloud-run:{operation.metadata.name}"

    def status(self, job: str) -> JobStatus:
        """The state of the execution's tasks. Logs why it waits or failed, each reason once. Raises LaunchError."""
        try:
            execution = self._ask("ask for", self._clients.executions.get_execution, name=self._name_of(job))
        except LaunchError as error:
            if isinstance(error.__cause__, NotFound):
                return JobStatus("gone")
            raise
        state = _state(execution)
        if state in ("running", "finished"):
            return JobStatus(state)
        unmet = [one for one in execution.conditions if one.state != run_v2.Condition.State.CONDITION_SUCCEEDED]
        messages = [condition.message for condition in unmet if condition.message]
        for message in messages:
            if (job, message) not in self._logged:
                logger.warning(message, extra={"event": f"job_{state}", "job": job})
            self._logged.add((job, message))
        stuck = state == "queued" and any(condition.reason in _TO_CORRECT for condition in unmet)
        return JobStatus(state, "; ".join(messages), stuck)

    def tidy(self) -> None:
        """Does nothing: an execution that ended holds nothing."""

    def stop(self, job: str) -> None:
        """Cancel the execution: SIGTERM, and SIGKILL 10 s later. Raises LaunchError."""
        try:
            self._ask("cancel", self._clients.executions.cancel_execution, name=self._name_of(job))
        except LaunchError as error:
            if isinstance(error.__cause__, NotFound):
                return
            if isinstance(error.__cause__, BadRequest) and self.status(job).state not in ("queued", "running"):
                return  # an execution that has ended cannot be cancelled
            raise

    def logs(self, job: str) -> str:
        """The page of the log in Google's console."""
        _, project, _, region, _, _, _, execution = self._name_of(job).split("/")
        return (
            f"https://console.cloud.google.com/run/jobs/executions/details/{region}/{execution}/logs?project={project}"
        )

    def check(self) -> str:
        """Check that the Cloud Run Job is there, can run one task or several, and does not retry. Launches nothing.

        Raises LaunchError.
        """
        job = self._ask("ask for", self._clients.jobs.get_job, name=self._job)
        task = job.template.template
        if task.max_retries:
            raise LaunchError(f"{self._job} retries {task.max_retries} times by itself: set its max retries to 0")
        at_once = job.template.parallelism
        if at_once > 1 or 0 < at_once < self._workers:
            raise LaunchError(
                f"{self._job} has parallelism {at_once}: set it to 0, for as many tasks at a time as there are. "
                "With 1 workers run one after the other; with more Cloud Run refuses trainings, which are one task"
            )
        container = task.containers[0]
        gpus = container.resources.limits.get("nvidia.com/gpu", "no")
        minutes = task.timeout.total_seconds() / 60
        return f"Cloud Run: {self._job} runs {container.image} with {gpus} GPU, at most {minutes:.0f} min"

    def _name_of(self, job: str) -> str:
        scheme, _, name = job.partition(":")
        if scheme != "cloud-run" or not name.startswith(f"{self._job}/executions/"):
            raise LaunchError(f"{job!r} is no execution of {self._job}")
        return name

    def _ask(self, doing: str, call: Callable[..., T], **arguments: Any) -> T:
        what = f"Cloud Run refused to {doing} {self._job}"
        try:
            return call(**arguments, timeout=_TIMEOUT, retry=None)
        except (Unauthorized, Forbidden) as error:
            sentence = f"{what} ({error.code}: {error.message}); give the function's service account {_RIGHTS}"
            raise LaunchError(sentence) from error
        except NotFound as error:
            raise LaunchError(
                f"{what} (404: {error.message}); correct LABELLOOP_LAUNCHER, or create the job (docs/deploy/google.md)"
            ) from error
        except TooManyRequests as error:
            raise LaunchError(
                f"{what} (429: {error.message}); it is tried again: ask for more GPU quota in this region if it lasts"
            ) from error
        except BadRequest as error:
            raise LaunchError(f"{what} (400: {error.message}); `labelloop doctor` looks at the job") from error
        except GoogleAPICallError as error:
            raise LaunchError(f"{what} ({error.code}: {error.message}); it is tried again") from error
        except (GoogleAuthError, RetryError, requests.RequestException) as error:
            raise LaunchError(
                f"Cloud Run cannot be asked to {doing} {self._job} ({type(error).__name__}: {error}); check the "
                "network and the function's service account"
            ) from error


def _state(execution: run_v2.Execution) -> JobState:
    if execution.running_count:  # other tasks of it may have ended
        return "running"
    ended = execution.failed_count + execution.cancelled_count + execution.succeeded_count
    if ended < execution.task_count and not execution.completion_time:
        return "queued"
    if execution.failed_count or execution.cancelled_count:
        return "failed"
    return "finished" if ended else "refused"  # refused: it ended without any task, which could not be started


def _came_to_nothing(execution: run_v2.Execution) -> bool:
    """Whether the execution was refused or failed, so that its name may be launched again."""
    return _state(execution) in ("failed", "refused")
