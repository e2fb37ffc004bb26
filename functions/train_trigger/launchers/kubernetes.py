"""Jobs as Kubernetes Jobs, each made of one PodTemplate that holds image, resources, settings and secrets."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from functions.train_trigger.launchers import JobStatus
from functions.train_trigger.launchers.kubernetes_api import KubernetesApi, KubernetesRefusal
from functions.train_trigger.launchers.kubernetes_objects import (
    container_of,
    ended,
    job_from,
    request_of,
    state_of,
    why_no_pod,
    why_pending,
)
from shared.errors import LaunchError
from shared.launcher_url import LauncherUrl
from shared.runs import TrainRequest
from shared.settings import Settings

logger = logging.getLogger(__name__)

RIGHTS = (
    ("batch", "jobs", "create"),
    ("batch", "jobs", "get"),
    ("batch", "jobs", "delete"),
    ("", "pods", "list"),
    ("", "events", "list"),
)
"""API group, resource and verb of what the launcher does in its namespace, besides reading its PodTemplate."""


def open_launcher(url: LauncherUrl, settings: Settings, environ: Mapping[str, str]) -> "KubernetesLauncher":  # noqa: ARG001
    """Jobs of the PodTemplate that the URL names. Raises SettingsError if no cluster is configured."""
    namespace, template = url.parts
    return KubernetesLauncher(KubernetesApi.connect(environ), namespace, template)


class KubernetesLauncher:
    """A reference is `kubernetes:<namespace>/<name of the Job>`; the name is given once, so no launch ever doubles."""

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
        self._said: dict[str, str] = {}  # job → why it waits, as the log has it already

    def launch(self, request: TrainRequest, *, attempt: int) -> str:
        """Create the Job; one that is there already with the same request is the same. Raises LaunchError."""
        job = job_from(self._read_template(), request, attempt)
        name = job["metadata"]["name"]
        what = f"Job {self._namespace}/{name}"
        try:
            self._api.create(_jobs(self._namespace), what, job)
        except KubernetesRefusal as error:
            if error.status != 409:
                raise
            if request_of(self._api.get(f"{_jobs(self._namespace)}/{name}", what)) != request_of(job):
                raise LaunchError(f"{what} is there already, for another request: delete it") from error
        return f"kubernetes:{self._namespace}/{name}"

    def status(self, job: str) -> JobStatus:
        """`queued` also while Kueue suspends the Job; why a pod cannot start is logged. Raises LaunchError."""
        namespace, name = _parse(job)
        try:
            found = self._api.get(f"{_jobs(namespace)}/{name}", f"Job {namespace}/{name}")
        except KubernetesRefusal as error:
            if error.status == 404:
                return "gone"
            raise
        if (how := ended(found)) is not None:
            return how
        if found["spec"].get("suspend"):
            return "queued"
        pods = self._list(namespace, "pods", name, labelSelector=f"job-name={name}")
        state = state_of(pods, self._now())
        if "deletionTimestamp" in found["metadata"]:  # somebody stopped it: it starts no pod any more
            return "running" if pods and state != "failed" else "gone"
        if state == "queued":
            self._say_why(job, why_pending(pods) if pods else self._why_no_pod(namespace, name))
        return state

    def stop(self, job: str) -> None:
        """Delete the Job: its pod gets SIGTERM and its whole grace period, and the Job goes after it.

        The default of the API would leave the pod behind. Raises LaunchError.
        """
        namespace, name = _parse(job)
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
        try:
            self._api.delete(f"{_jobs(namespace)}/{name}", f"Job {namespace}/{name}", options)
        except KubernetesRefusal as error:
            if error.status != 404:
                raise

    def logs(self, job: str) -> str:
        """The command that shows them."""
        namespace, name = _parse(job)
        return f"kubectl logs --namespace {namespace} job/{name}"

    def check(self) -> str:
        """Ask for every right, and let the API server judge a Job without creating it. Raises LaunchError."""
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

    def _why_no_pod(self, namespace: str, name: str) -> str:
        """What the Job's controller says, for example about a quota."""
        selector = f"involvedObject.kind=Job,involvedObject.name={name},type=Warning"
        return why_no_pod(self._list(namespace, "events", name, fieldSelector=selector), name)

    def _say_why(self, job: str, why: str) -> None:
        """Once a reason, not at every sweep."""
        if why and self._said.get(job) != why:
            self._said[job] = why
            logger.warning(f"{job} waits: {why}", extra={"event": "job_waits", "job": job})


def _jobs(namespace: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def _parse(job: str) -> tuple[str, str]:
    scheme, _, rest = job.partition(":")
    namespace, _, name = rest.partition("/")
    if scheme != "kubernetes" or not namespace or not name:
        raise LaunchError(f"{job!r} is no job of the Kubernetes launcher")
    return namespace, name
