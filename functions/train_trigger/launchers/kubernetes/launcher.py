"""Jobs as Kubernetes Jobs, each made from one PodTemplate with image, resources, settings and secrets."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from functions.train_trigger.launchers import JobStatus
from functions.train_trigger.launchers.kubernetes.api import KubernetesApi, KubernetesRefusal
from functions.train_trigger.launchers.kubernetes.objects import container_of, ended, job_from, request_of
from functions.train_trigger.launchers.kubernetes.pods import (
    only_others_run,
    status_of,
    why_failed,
    with_events,
    without_pod,
)
from shared.errors import LaunchError
from shared.launcher_url import LauncherUrl
from shared.settings import Settings
from shared.state.runs import TrainRequest

logger = logging.getLogger(__name__)

RIGHTS = (
    ("batch", "jobs", "create"),
    ("batch", "jobs", "get"),
    ("batch", "jobs", "delete"),
    ("", "pods", "list"),
    ("", "events", "list"),
)
"""API group, resource and verb of the rights that the launcher needs, besides reading its PodTemplate."""


_ALIVE = ("Pending", "Running")
"""Phases of a pod that has not ended."""


def open_launcher(url: LauncherUrl, settings: Settings, environ: Mapping[str, str]) -> "KubernetesLauncher":  # noqa: ARG001
    """A launcher for the PodTemplate that the URL names. Raises SettingsError if no cluster is configured."""
    namespace, template = url.parts
    return KubernetesLauncher(KubernetesApi.connect(environ), namespace, template)


class KubernetesLauncher:
    """A reference is `kubernetes:<namespace>/<name of the Job>`. A name is given once, so no launch happens twice."""

    def __init__(
        self,
        api: KubernetesApi,
        namespace: str,
        template: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._template = template
        self._now = now
        self._logged: dict[str, str] = {}  # job → the reason for waiting that was logged last

    def launch(self, request: TrainRequest, *, attempt: int) -> str:
        """Create the Job, or answer the one that is there already with the same request. Raises LaunchError."""
        job = job_from(self._read_template(), request, attempt)
        name = job["metadata"]["name"]
        what = f"Job {self._namespace}/{name}"
        try:
            self._api.create(_jobs(self._namespace), what, job)
        except KubernetesRefusal as error:
            if error.status != 409:
                raise
            found = self._api.get(f"{_jobs(self._namespace)}/{name}", what)
            if "deletionTimestamp" in found["metadata"]:
                raise LaunchError(f"{what} of an earlier launch is still being deleted; it is tried again") from error
            if request_of(found) != request_of(job):
                raise LaunchError(f"{what} is there already, for another request: delete it") from error
        return f"kubernetes:{self._namespace}/{name}"

    def status(self, job: str) -> JobStatus:
        """`queued` also while Kueue suspends the Job. Logs why a pod cannot start. Raises LaunchError."""
        namespace, name = _parse(job)
        try:
            found = self._api.get(f"{_jobs(namespace)}/{name}", f"Job {namespace}/{name}")
        except KubernetesRefusal as error:
            if error.status == 404:
                return JobStatus("gone")
            raise
        how = ended(found)
        if how == "finished":
            return JobStatus(how)
        if how is None and found["spec"].get("suspend"):
            return JobStatus("queued", "the Job is suspended: it waits for quota in its queue")
        pods = self._list(namespace, "pods", name, labelSelector=f"job-name={name}")
        if how == "failed":
            return JobStatus(how, why_failed(pods))
        status = status_of(pods, self._now())
        if "deletionTimestamp" in found["metadata"]:  # somebody stopped it: it starts no pod any more
            return JobStatus("running") if pods and status.state in ("running", "queued") else JobStatus("gone")
        if status.state == "queued":
            status = self._waiting(namespace, name, status, pods)
            self._say_why(job, status.why)
        return status

    def tidy(self) -> None:
        """Delete Jobs whose training ended while another container, such as a mesh's proxy, keeps the machine.

        Their logs are deleted with them. A Job that ended as a whole stays for a day, with its log. Raises LaunchError.
        """
        pods = self._list(self._namespace, "pods", "of every run", labelSelector="labelloop/run")
        working = {_job_of(pod) for pod in pods if pod["status"].get("phase") in _ALIVE and not only_others_run(pod)}
        for name in sorted({_job_of(pod) for pod in pods if only_others_run(pod)} - working):
            logger.warning(
                f"the training of Job {self._namespace}/{name} ended, other containers of its pod run on: deleted",
                extra={"event": "job_tidied", "job": name},
            )
            self.stop(f"kubernetes:{self._namespace}/{name}")

    def stop(self, job: str) -> None:
        """Delete the Job: first its pod, which gets SIGTERM and its whole grace period, then the Job itself.

        By the API's default the pod would stay. Raises LaunchError.
        """
        namespace, name = _parse(job)
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
        try:
            self._api.delete(f"{_jobs(namespace)}/{name}", f"Job {namespace}/{name}", options)
        except KubernetesRefusal as error:
            if error.status != 404:
                raise

    def logs(self, job: str) -> str:
        """The kubectl command that shows the log."""
        namespace, name = _parse(job)
        return f"kubectl logs --namespace {namespace} job/{name}"

    def check(self) -> str:
        """Check every right, and let the API server validate a Job without creating it. Raises LaunchError."""
        missing = [f"{verb} {resource}" for group, resource, verb in RIGHTS if not self._may(group, resource, verb)]
        if missing:
            raise LaunchError(
                f"the Kubernetes API server at {self._api.host} does not let labelloop {', '.join(missing)} in "
                f"namespace {self._namespace}: bind the Role of infra/kubernetes to its service account"
            )
        template = self._read_template()
        job = job_from(template, TrainRequest(store="file:///nowhere", project_uid="0.0", run_id="check"), 1)
        named = f"PodTemplate {self._namespace}/{self._template}"
        self._api.create(_jobs(self._namespace), f"a Job of {named}", job, dryRun="All")
        image = container_of(template).get("image")
        return f"{named} makes Jobs of {image} at {self._api.host}"

    def _read_template(self) -> dict[str, Any]:
        path = f"/api/v1/namespaces/{self._namespace}/podtemplates/{self._template}"
        return self._api.get(path, f"PodTemplate {self._namespace}/{self._template}")

    def _list(self, namespace: str, resource: str, job: str, **selector: str) -> list[dict[str, Any]]:
        found = self._api.get(f"/api/v1/namespaces/{namespace}/{resource}", f"{resource} of Job {job}", **selector)
        items: list[dict[str, Any]] = found["items"]
        return items

    def _may(self, group: str, resource: str, verb: str) -> bool:
        attributes = {"namespace": self._namespace, "group": group, "resource": resource, "verb": verb}
        review = self._api.create(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            "a review of its own rights",
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            },
        )
        return bool(review["status"]["allowed"])

    def _waiting(self, namespace: str, name: str, status: JobStatus, pods: list[dict[str, Any]]) -> JobStatus:
        """The status with what events say: those of the pod, or of the Job if there is no pod."""
        if not pods:
            return without_pod(self._events(namespace, name, "Job", name, ",type=Warning"), name)
        pod = pods[-1]
        return with_events(status, pod, self._events(namespace, name, "Pod", pod["metadata"]["name"]), self._now())

    def _events(self, namespace: str, job: str, kind: str, name: str, more: str = "") -> list[dict[str, Any]]:
        selector = f"involvedObject.kind={kind},involvedObject.name={name}{more}"
        return self._list(namespace, "events", job, fieldSelector=selector)

    def _say_why(self, job: str, why: str) -> None:
        """Log why a job waits, if that has changed."""
        if why and self._logged.get(job) != why:
            self._logged[job] = why
            logger.warning(f"{job} waits: {why}", extra={"event": "job_waits", "job": job})


def _jobs(namespace: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def _job_of(pod: dict[str, Any]) -> str:
    """The name of a pod's Job."""
    return str(pod["metadata"]["labels"]["job-name"])


def _parse(job: str) -> tuple[str, str]:
    scheme, _, rest = job.partition(":")
    namespace, _, name = rest.partition("/")
    if scheme != "kubernetes" or not namespace or not name:
        raise LaunchError(f"{job!r} is no job of the Kubernetes launcher")
    return namespace, name
