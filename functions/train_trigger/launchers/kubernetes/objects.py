"""Builds and reads Kubernetes Jobs. Pure."""

from collections.abc import Mapping
from typing import Any, Literal

from shared.errors import LaunchError
from shared.state.runs import TrainRequest

Object = Mapping[str, Any]

CONTAINER = "train"
_KEPT_FOR = 86_400  # seconds that an ended Job keeps its log
_OF_OTHER_TOOLS = ("kubectl.kubernetes.io/", "argocd.argoproj.io/")  # labels by which these find their own objects


def job_from(template: Object, request: TrainRequest, attempt: int) -> dict[str, Any]:
    """The Job of one attempt: runs the PodTemplate's pod once for each worker, with TRAIN_REQUEST. Raises LaunchError.

    The Job gets the labels and annotations of the PodTemplate: with kueue.x-k8s.io/queue-name, Kueue queues it.
    """
    pod = template["template"]
    container = container_of(template)
    env = [entry for entry in container.get("env", ()) if entry["name"] != "TRAIN_REQUEST"]
    training = {**container, "env": [*env, {"name": "TRAIN_REQUEST", "value": request.model_dump_json()}]}
    containers = [training if one is container else one for one in pod["spec"]["containers"]]
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
            **_workers(request.workers),
            "ttlSecondsAfterFinished": _KEPT_FOR,
            "template": {
                "metadata": {**of_pod, "labels": {**labels, **(of_pod.get("labels") or {}), **ours}},
                "spec": {**pod["spec"], "containers": containers, "restartPolicy": "Never"},
            },
        },
    }


def container_of(template: Object) -> dict[str, Any]:
    """The container of a PodTemplate that trains. Raises LaunchError if there is none."""
    containers: list[dict[str, Any]] = template["template"]["spec"]["containers"]
    for container in containers:
        if container["name"] == CONTAINER:
            return container
    names = ", ".join(container["name"] for container in containers)
    name = template["metadata"]["name"]
    raise LaunchError(f"PodTemplate {name} has the containers {names}: name the one that trains {CONTAINER!r}")


def request_of(job: Object) -> str | None:
    """The TRAIN_REQUEST of a Job; None if it has none."""
    for container in job["spec"]["template"]["spec"]["containers"]:
        for entry in container.get("env", ()):
            if entry["name"] == "TRAIN_REQUEST":
                return str(entry.get("value"))
    return None


def ended(job: Object) -> Literal["finished", "failed"] | None:
    """How a Job ended; None while it has not."""
    states = {entry["type"] for entry in job["status"].get("conditions") or () if entry["status"] == "True"}
    return "finished" if "Complete" in states else "failed" if "Failed" in states else None


def _workers(count: int) -> dict[str, Any]:
    """Without retries by the cluster: labelloop launches the next attempt. One pod that fails ends no other one."""
    if count == 1:
        return {"backoffLimit": 0}
    return {"completionMode": "Indexed", "completions": count, "parallelism": count, "backoffLimitPerIndex": 0}


def _copied(values: Mapping[str, str] | None) -> dict[str, str]:
    return {key: value for key, value in (values or {}).items() if not key.startswith(_OF_OTHER_TOOLS)}
