"""Jobs on AWS Batch, from one job definition (image, GPUs, timeout, secrets), in one queue (spot, on demand)."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from functions.train_trigger.launchers import JobState, JobStatus
from shared.errors import LaunchError, SettingsError
from shared.launcher_url import LauncherUrl
from shared.settings import Settings
from shared.state.runs import TrainRequest

logger = logging.getLogger(__name__)

_QUICK = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
_STATES: dict[str, JobState] = {
    "SUBMITTED": "queued",
    "PENDING": "queued",
    "RUNNABLE": "queued",
    "STARTING": "queued",
    "RUNNING": "running",
    "SUCCEEDED": "finished",
    "FAILED": "failed",
}
_MISCONFIGURED = "MISCONFIGURATION:"  # start of the reason where waiting does not help; the other kind is CAPACITY:
_NOT_ALLOWED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized")
_BUSY = ("ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded")
_NO_CREDENTIALS = (
    "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException", "InvalidSignatureException",
    "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken",
)  # fmt: skip
_OF_FIRST = ("startedAt", "statusReason", "container")  # of an array: what its first job says, if it is there by now
_RIGHTS = (
    "batch:SubmitJob (queue and definition), batch:TerminateJob, batch:ListJobs, batch:DescribeJobs, "
    "batch:DescribeJobQueues and batch:DescribeJobDefinitions"
)


def open_launcher(url: LauncherUrl, settings: Settings, environ: Mapping[str, str]) -> "AwsBatchLauncher":  # noqa: ARG001
    """A launcher with region and credentials from boto3's own chain. Raises SettingsError if no region is known."""
    queue, definition = url.parts
    try:
        client = boto3.Session().client("batch", config=_QUICK)
    except BotoCoreError as error:
        raise SettingsError(
            f"AWS Batch cannot be used: {error} Set AWS_DEFAULT_REGION to the queue's region."
        ) from error
    return AwsBatchLauncher(client, queue, definition)


class AwsBatchLauncher:
    """A reference is `aws-batch:<region>:<job id>`. `client` is boto3's client for Batch.

    Batch has no token that makes a submission idempotent. So the queue is first asked for a job of the same name; two
    submissions at the same moment find none, and the claim decides which of both jobs runs.
    """

    def __init__(self, client: Any, queue: str, definition: str) -> None:
        self._client = client
        self._region = client.meta.region_name
        self._queue = queue
        self._definition = definition
        self._logged: set[tuple[str, str]] = set()

    def launch(self, request: TrainRequest, *, attempt: int) -> str:
        """Submit the job, or answer the one that has its name already. Raises LaunchError."""
        name = f"labelloop-{request.run_id}-{attempt}"
        named = [{"name": "JOB_NAME", "values": [name]}]
        found = self._ask("ListJobs", self._client.list_jobs, jobQueue=self._queue, filters=named)["jobSummaryList"]
        same = [job["jobId"] for job in found if job["jobName"] == name and job["status"] != "FAILED"]
        if same:
            return f"aws-batch:{self._region}:{same[0]}"
        variables = [{"name": "TRAIN_REQUEST", "value": request.model_dump_json()}]
        job = self._ask(
            "SubmitJob",
            self._client.submit_job,
            jobName=name,
            jobQueue=self._queue,
            jobDefinition=self._definition,
            containerOverrides={"environment": variables},
            retryStrategy={"attempts": 1},  # labelloop launches the next attempt, with a fence of its own
            **({"arrayProperties": {"size": request.workers}} if request.workers > 1 else {}),
        )
        return f"aws-batch:{self._region}:{job['jobId']}"

    def status(self, job: str) -> JobStatus:
        """`refused` if the job failed before it ran: no image, or no instance type that is large enough.

        `gone` about a week after the end, when Batch forgets a job. Raises LaunchError.
        """
        found = self._ask("DescribeJobs", self._client.describe_jobs, jobs=[self._id_of(job)])["jobs"]
        if not found:
            return JobStatus("gone")
        described = found[0]
        if "arrayProperties" in described:
            described = self._array(described)
        state = _STATES.get(described["status"])
        if state is None:
            raise LaunchError(f"AWS Batch says {described['status']!r} of {job}, which labelloop does not know")
        if state == "failed" and not described.get("startedAt"):
            state = "refused"
        if state == "finished":
            return JobStatus(state)
        reasons = (described.get("statusReason"), described.get("container", {}).get("reason"))
        why = "; ".join(reason for reason in reasons if reason)
        self._log_why(job, state, why, described["jobName"])
        return JobStatus(state, why, stuck=state == "queued" and why.startswith(_MISCONFIGURED))

    def tidy(self) -> None:
        """Does nothing: a job that ended holds nothing."""

    def stop(self, job: str) -> None:
        """SIGTERM to the job, SIGKILL 30 s later; a job that waits is cancelled. Raises LaunchError."""
        self._ask("TerminateJob", self._client.terminate_job, jobId=self._id_of(job), reason="stopped by labelloop")

    def logs(self, job: str) -> str:
        """The job's page in the AWS console, which links its log. There is no log before the job starts."""
        region = self._region
        return f"https://{region}.console.aws.amazon.com/batch/home?region={region}#jobs/detail/{self._id_of(job)}"

    def check(self) -> str:
        """Check that queue and definition exist and take jobs; launches nothing. Raises LaunchError."""
        queues = self._ask("DescribeJobQueues", self._client.describe_job_queues, jobQueues=[self._queue])["jobQueues"]
        where = f"AWS Batch in {self._region}"
        if not queues:
            raise LaunchError(f"{where} has no job queue {self._queue!r}: correct LABELLOOP_LAUNCHER, or the region")
        queue = queues[0]
        if queue["state"] != "ENABLED" or queue.get("status", "VALID") not in ("VALID", "UPDATING"):
            reason = queue.get("statusReason") or f"{queue['state']}, {queue.get('status')}"
            raise LaunchError(f"job queue {self._queue!r} of {where} takes no jobs ({reason}): enable or repair it")
        exact = ":" in self._definition  # with a revision, or an ARN
        asked = {"jobDefinitions": [self._definition]} if exact else {"jobDefinitionName": self._definition}
        found = self._ask("DescribeJobDefinitions", self._client.describe_job_definitions, **asked)["jobDefinitions"]
        active = [definition for definition in found if definition["status"] == "ACTIVE"]
        if not active:
            raise LaunchError(f"{where} has no active job definition {self._definition!r}: correct LABELLOOP_LAUNCHER")
        return f"{where}: queue {self._queue} takes jobs; {_described(max(active, key=lambda one: one['revision']))}"

    def _array(self, parent: dict[str, Any]) -> dict[str, Any]:
        """An array job as one job: it runs while one of its jobs does; why it waits or failed is the first one's word.

        The array itself is PENDING from its first job on until the last one has ended.
        """
        counts = parent["arrayProperties"].get("statusSummary", {})
        if counts.get("RUNNING"):
            return parent | {"status": "RUNNING"}
        first = self._ask("DescribeJobs", self._client.describe_jobs, jobs=[f"{parent['jobId']}:0"])["jobs"]
        return {**parent, **{name: first[0][name] for name in _OF_FIRST if first and name in first[0]}}

    def _id_of(self, job: str) -> str:
        scheme, region, job_id = (*job.split(":"), "", "")[:3]
        if scheme != "aws-batch" or region != self._region or not job_id:
            raise LaunchError(f"{job!r} is no job of AWS Batch in {self._region}")
        return job_id

    def _log_why(self, job: str, state: JobState, why: str, name: str) -> None:
        """Log why a job waits or failed, each reason once ("Host EC2 (instance i-…) terminated." means spot loss)."""
        if why and (job, why) not in self._logged:
            self._logged.add((job, why))
            logger.warning(why, extra={"event": f"job_{state}", "job": job, "job_name": name})

    def _ask(self, operation: str, call: Callable[..., Any], **arguments: Any) -> Any:
        try:
            return call(**arguments)
        except ClientError as error:
            raise LaunchError(self._sentence(operation, error)) from error
        except BotoCoreError as error:
            raise LaunchError(
                f"AWS Batch in {self._region} cannot be asked for {operation} ({type(error).__name__}: {error}); check "
                "the network and the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, or the function's role)"
            ) from error

    def _sentence(self, operation: str, error: ClientError) -> str:
        code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        what = f"AWS Batch in {self._region} refused {operation} ({code}: {message})"
        if code in _NOT_ALLOWED:
            return f"{what}; allow the function's role {_RIGHTS}"
        if code in _NO_CREDENTIALS:
            return f"{what}; its credentials are wrong or expired: set AWS_ACCESS_KEY_ID, AWS_PROFILE, or a role"
        if code in _BUSY:
            return f"{what}; it is tried again, ask for a higher limit if this lasts"
        if code == "ClientException":
            return (
                f"{what}; see that queue {self._queue!r} is enabled and definition {self._definition!r} active: "
                "`labelloop doctor` asks both"
            )
        return f"{what}; it is tried again"


def _described(definition: dict[str, Any]) -> str:
    container = definition.get("containerProperties", {})
    gpus = [one["value"] for one in container.get("resourceRequirements", []) if one["type"] == "GPU"]
    seconds = definition.get("timeout", {}).get("attemptDurationSeconds")
    return (
        f"definition {definition['jobDefinitionName']}:{definition['revision']} runs {container.get('image', '?')} "
        f"with {gpus[0] if gpus else 'no'} GPU, " + (f"at most {seconds} s" if seconds else "without a time limit")
    )
