"""What the launcher writes into Kubernetes' objects and reads out of them. Pure: dictionaries in, values out."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from shared.errors import LaunchError
from shared.runs import TrainRequest

Object = Mapping[str, Any]

CONTAINER = "train"
_KEPT_FOR = 86_400  # seconds that an ended Job keeps its log
_DEAD_AFTER = timedelta(seconds=60)
_OF_OTHER_TOOLS = ("kubectl.kubernetes.io/", "argocd.argoproj.io/")  # they follow what they applied themselves


def job_from(template: Object, request: TrainRequest, attempt: int) -> dict[str, Any]:
    """The Job of one attempt: the PodTemplate's pod with TRAIN_REQUEST, run once. Raises LaunchError.

    Labels and annotations of the PodTemplate go to the Job: kueue.x-k8s.io/queue-name there makes Kueue queue it.
    """
    pod = template["template"]
    container = container_of(template)
    env = [entry for entry in container.get("env", ()) if entry["name"] != "TRAIN_REQUEST"]
    told = {**container, "env": [*env, {"name": "TRAIN_REQUEST", "value": request.model_dump_json()}]}
    containers = [told if one is container else one for one in pod["spec"]["containers"]]
    labels = {
        "app.kubernetes.io/name": "labelloop",
        "app.kubernetes.io/component": "train",
        "app.kubernetes.io/managed-by": "labelloop",
    }
    ours = {
        "labelloop/project": request.project_uid,
        "labelloop/run": request.run_id,
        "labelloop/attempt": str(attempt),
    }
    of_pod = pod.get("metadata") or {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"labelloop-{request.run_id}-{attempt}",
            "labels": {**labels, **_copied(template["metadata"].get("labels")), **ours},
            "annotations": _copied(template["metadata"].get("annotations")),
        },
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _KEPT_FOR,
            "template": {
                "metadata": {**of_pod, "labels": {**labels, **(of_pod.get("labels") or {}), **ours}},
                "spec": {**pod["spec"], "containers": containers, "restartPolicy": "Never"},
            },
        },
    }


def container_of(template: Object) -> dict[str, Any]:
    """The one that trains. Raises LaunchError if there is none."""
    containers: list[dict[str, Any]] = template["template"]["spec"]["containers"]
    for container in containers:
        if container["name"] == CONTAINER:
            return container
    names = ", ".join(container["name"] for container in containers)
    name = template["metadata"]["name"]
    raise LaunchError(f"PodTemplate {name} has the containers {names}: name the one that trains {CONTAINER!r}")


def request_of(job: Object) -> str | None:
    """The TRAIN_REQUEST that a Job holds."""
    for container in job["spec"]["template"]["spec"]["containers"]:
        for entry in container.get("env", ()):
            if entry["name"] == "TRAIN_REQUEST":
                return str(entry.get("value"))
    return None


def ended(job: Object) -> Literal["finished", "failed"] | None:
    """How a Job ended; None before."""
    states = {entry["type"] for entry in job["status"].get("conditions") or () if entry["status"] == "True"}
    return "finished" if "Complete" in states else "failed" if "Failed" in states else None


def state_of(pods: Iterable[Object], now: datetime) -> Literal["queued", "running", "failed"]:
    """How the pods of a Job stand that has not ended; none yet: queued.

    A pod that is long behind its grace period is on a machine that is gone: it never ends by itself.
    """
    phases = [None if _is_dead(pod, now) else pod["status"]["phase"] for pod in pods]
    if "Running" in phases:
        return "running"
    if "Pending" in phases or not phases:
        return "queued"
    return "failed" if None in phases else "running"  # it ended: the Job is about to say how


def why_pending(pods: Iterable[Object]) -> str:
    """What the scheduler, or the machine that cannot start a container, says; empty: nothing yet."""
    for status in (pod["status"] for pod in pods):
        for condition in status.get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return str(condition.get("message") or condition.get("reason") or "")
        for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            waiting = container["state"].get("waiting") or {}
            if waiting.get("message"):  # ImagePullBackOff and its like; a container that is about to start has none
                return f"{waiting.get('reason')}: {waiting['message']}"
    return ""


def why_no_pod(events: Iterable[Object], job: str) -> str:
    """The newest of what the Job's controller says; each of its tries gave the pod another name, which is left out."""
    newest = max(events, key=lambda event: str(event.get("lastTimestamp") or ""), default=None)
    return re.sub(rf"\b{re.escape(job)}-\w{{5}}\b", job, newest["message"]) if newest else ""


def _copied(values: Mapping[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (values or {}).items() if not key.startswith(_OF_OTHER_TOOLS)}


def _is_dead(pod: Object, now: datetime) -> bool:
    deleted = pod["metadata"].get("deletionTimestamp")  # when its grace period ends
    return deleted is not None and now > datetime.fromisoformat(deleted) + _DEAD_AFTER
