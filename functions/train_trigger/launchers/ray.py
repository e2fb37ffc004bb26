"""Jobs on a Ray cluster, by the REST API of its dashboard; settings and secrets are in the cluster's environment.

Ray's own client is not used: it needs 240 MB, has no timeouts, and asks another cluster where RAY_ADDRESS is set. The
API: https://docs.ray.io/en/latest/cluster/running-applications/job-submission/api.html
"""

import logging
from collections.abc import Mapping
from typing import Any, Literal

import requests

from functions.train_trigger.launchers import JobState, JobStatus
from shared.errors import LaunchError, SettingsError
from shared.launcher_url import LauncherUrl
from shared.settings import Settings
from shared.state.runs import TrainRequest

logger = logging.getLogger(__name__)

_TIMEOUT = 30.0  # seconds for one request; a cluster that has just started takes ten for its first job
_STATES: dict[str, JobState] = {
    "PENDING": "queued",
    "RUNNING": "running",
    "SUCCEEDED": "finished",
    "FAILED": "failed",
    "STOPPED": "failed",
}

_NEVER_BEGAN = (
    "RUNTIME_ENV_SETUP_FAILURE", "JOB_SUPERVISOR_ACTOR_START_TIMEOUT", "JOB_SUPERVISOR_ACTOR_START_FAILURE",
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE", "JOB_ENTRYPOINT_COMMAND_START_ERROR",
)  # fmt: skip
"""Values of `error_type` of a job whose command never ran."""


def open_launcher(url: LauncherUrl, settings: Settings, environ: Mapping[str, str]) -> "RayLauncher":  # noqa: ARG001
    """A launcher for one cluster. `?gpus=N`: GPUs that a job reserves (1). RAY_AUTH_TOKEN: the cluster's token."""
    (address,) = url.parts
    gpus = url.options.get("gpus", "1")
    if not gpus.isdecimal():
        raise SettingsError(f"LABELLOOP_LAUNCHER: gpus={gpus} is no number of GPUs")
    return RayLauncher(address, gpus=int(gpus), token=environ.get("RAY_AUTH_TOKEN"))


class RayLauncher:
    """A reference is `ray:<host>:<port>/<submission id>`. Ray takes an id only once, so no launch happens twice."""

    def __init__(
        self, address: str, *, gpus: int, token: str | None = None, entrypoint: str = "python -m jobs.train"
    ) -> None:
        """`entrypoint` is a shell command."""
        self._address = address
        self._gpus = gpus
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._entrypoint = entrypoint

    def launch(self, request: TrainRequest, *, attempt: int) -> str:
        """Submit the job, or answer the one that has its id already. Raises LaunchError."""
        submission = f"{request.run_id}-{attempt}"
        job = {
            "submission_id": submission,
            "entrypoint": self._entrypoint,
            "entrypoint_num_gpus": self._gpus,
            "runtime_env": {"env_vars": {"TRAIN_REQUEST": request.model_dump_json()}},
        }
        answer = self._call("POST", "/api/jobs/", job)
        if answer.ok:
            return f"ray:{self._address}/{submission}"
        known = self._call("GET", f"/api/jobs/{submission}")
        if not known.ok:
            raise self._refusal(f"to submit {submission}", answer)
        ended = self._json(known, f"to tell of {submission}")["status"] in ("STOPPED", "FAILED")
        if ended:  # before it began: its id may be used again
            self._json(self._call("DELETE", f"/api/jobs/{submission}"), f"to forget {submission}")
            self._json(self._call("POST", "/api/jobs/", job), f"to submit {submission}")
        return f"ray:{self._address}/{submission}"

    def status(self, job: str) -> JobStatus:
        """`gone` after the cluster was restarted; `refused` if the job's command never ran. Raises LaunchError.

        A job that waits is stuck if no node has as many GPUs, taken or free, as it reserves.
        """
        answer = self._call("GET", f"/api/jobs/{self._id_of(job)}")
        if answer.status_code == requests.codes.not_found:
            return JobStatus("gone")
        found = self._json(answer, f"to tell of {job}")
        state = _STATES.get(found["status"])
        if state is None:
            raise LaunchError(f"Ray says {found['status']!r} of {job}, which labelloop does not know")
        if state == "failed" and found.get("error_type") in _NEVER_BEGAN:
            state = "refused"
        why = (found.get("message") or "").partition("\n")[0]  # the other lines are 20,000 characters of its log
        if state in ("failed", "refused"):
            logger.warning(why or "the job failed", extra={"event": f"job_{state}", "job": job})
            return JobStatus(state, why)
        if state != "queued":
            return JobStatus(state)
        max_gpus = self._max_gpus()
        if max_gpus < self._gpus:
            why = f"no node has the {self._gpus} GPU that a job reserves (the best has {max_gpus:g}). {why}"
        return JobStatus(state, why, stuck=max_gpus < self._gpus)

    def tidy(self) -> None:
        """Does nothing: a job that ended holds nothing."""

    def stop(self, job: str) -> None:
        """SIGTERM to the job, SIGKILL after the cluster's RAY_JOB_STOP_WAIT_TIME_S (3) seconds. Raises LaunchError."""
        answer = self._call("POST", f"/api/jobs/{self._id_of(job)}/stop")
        if answer.status_code != requests.codes.not_found:
            self._json(answer, f"to stop {job}")

    def logs(self, job: str) -> str:
        """The job's page in Ray's dashboard."""
        return f"http://{self._address}/#/jobs/{self._id_of(job)}"

    def check(self) -> str:
        """Check that the cluster answers and has a node with the GPUs that a job reserves. Raises LaunchError."""
        version = self._json(self._call("GET", "/api/version"), "to tell its version")["ray_version"]
        max_gpus = self._max_gpus()
        where = f"Ray {version} at {self._address}"
        if max_gpus < self._gpus:
            raise LaunchError(
                f"{where} has no node with {self._gpus} GPU (the best has {max_gpus:g}), so a job waits until an "
                f"autoscaler adds one, or for ever: add one, or end LABELLOOP_LAUNCHER with ?gpus={max_gpus:g}"
            )
        return f"{where} takes jobs; each reserves {self._gpus} GPU, the best node has {max_gpus:g}"

    def _max_gpus(self) -> float:
        """The most GPUs that one node has, taken or free."""
        nodes = self._json(self._call("GET", "/api/v0/nodes?detail=1"), "to list its nodes")["data"]["result"]["result"]
        alive = (node["resources_total"].get("GPU", 0) for node in nodes if node["state"] == "ALIVE")
        return float(max(alive, default=0))

    def _id_of(self, job: str) -> str:
        place, _, submission = job.rpartition("/")
        if place != f"ray:{self._address}" or not submission:
            raise LaunchError(f"{job!r} is no job of the Ray cluster at {self._address}")
        return submission

    def _call(self, method: Literal["GET", "POST", "DELETE"], path: str, body: Any = None) -> requests.Response:
        try:
            return requests.request(
                method,
                f"http://{self._address}{path}",
                json=body,
                headers=self._headers,
                auth=_as_it_is if self._headers else None,
                timeout=_TIMEOUT,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise LaunchError(
                f"no Ray dashboard answers at {self._address} ({type(error).__name__}); start the cluster with "
                "--dashboard-host and let this function reach its port (8265)"
            ) from error

    def _json(self, answer: requests.Response, asked: str) -> Any:
        if not answer.ok:
            raise self._refusal(asked, answer)
        try:
            return answer.json()
        except ValueError as error:
            raise LaunchError(
                f"what answers at {self._address} is no Ray dashboard; correct LABELLOOP_LAUNCHER"
            ) from error

    def _refusal(self, asked: str, answer: requests.Response) -> LaunchError:
        what = f"Ray at {self._address} refused {asked} ({answer.status_code}: {_last_line(answer.text)})"
        if answer.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
            return LaunchError(f"{what}; set RAY_AUTH_TOKEN to the cluster's token")
        return LaunchError(f"{what}; the log of the dashboard says why")


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """As `auth` it keeps the token: without one, requests prefers a password of ~/.netrc."""
    return request


def _last_line(text: str) -> str:
    """The last line that says something: of a traceback, its error."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" .")]
    return lines[-1][:300] if lines else "no text"
