"""A Kubernetes API that answers from memory, and pods, events and conditions as a real one shows them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.train_trigger.launchers import JobStatus
from functions.train_trigger.launchers.kubernetes.api import KubernetesRefusal
from functions.train_trigger.launchers.kubernetes.launcher import KubernetesLauncher
from shared.state.runs import TrainRequest

REQUEST = TrainRequest(store="s3://bucket/prefix", project_uid="1.1700000000", run_id="run-1")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
JOB = "kubernetes:ml/labelloop-run-1-1"


class FakeApi:
    """Answers one Job, its pods and events, as the API server's JSON has them; keeps what was deleted."""

    host = "https://cluster.example.org"

    def __init__(self, job: Mapping[str, Any], pods: Sequence[dict[str, Any]] = (), events: Sequence[Any] = ()) -> None:
        self.job = {"metadata": {}, "spec": {}, "status": {}, **job}
        self.pods, self.events = list(pods), list(events)
        self.deleted: list[tuple[str, str]] = []

    def get(self, path: str, what: str, **query: str) -> dict[str, Any]:
        if "/jobs/" in path:
            return self.job
        if path.endswith("/events"):
            kind = query["fieldSelector"].split(",")[0].removeprefix("involvedObject.kind=")
            return {"items": [event for event in self.events if event["involvedObject"]["kind"] == kind]}
        return {"items": self.pods}

    def create(self, path: str, what: str, body: Mapping[str, Any], **query: str) -> dict[str, Any]:
        raise KubernetesRefusal(self.host, f"create {what}", 409, "already exists")

    def delete(self, path: str, what: str, body: Mapping[str, Any]) -> None:
        self.deleted.append((path, body["propagationPolicy"]))


def standing(job: Mapping[str, Any], pods: Sequence[dict[str, Any]] = (), events: Sequence[Any] = ()) -> JobStatus:
    api: Any = FakeApi(job, pods, events)
    return KubernetesLauncher(api, "ml", "trainer", now=lambda: NOW).status(JOB)


def pod(phase: str, *, deleted: float | None = None, **status: Any) -> dict[str, Any]:
    """`deleted`: how many seconds ago its grace period ended."""
    metadata = {
        "name": "labelloop-run-1-1-x7k2p",
        "labels": {"job-name": "labelloop-run-1-1", "labelloop/run": "run-1"},
    }
    gone = (
        {"deletionTimestamp": f"{NOW - timedelta(seconds=deleted):%Y-%m-%dT%H:%M:%SZ}"} if deleted is not None else {}
    )
    return {"metadata": metadata | gone, "status": {"phase": phase, **status}}


def container(name: str, **state: Any) -> dict[str, Any]:
    """One of `containerStatuses`; of an API server the other two states are null, or not there."""
    of_image = {"image": "trainer:1", "imageID": ""}
    return {"name": name, **of_image, "ready": False, "restartCount": 0, "state": {"running": None, **state}}


def beside(phase: str, *, sidecar: Mapping[str, Any], **train: Any) -> dict[str, Any]:
    """A pod of the training's container and a proxy that a mesh put before it."""
    return pod(phase, containerStatuses=[container("istio-proxy", **sidecar), container("train", **train)])


def terminated(code: int, **told: str) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "startedAt": "2026-01-01T10:00:00Z", "containerID": "x", **told}}


def waiting(reason: str, message: str | None = None) -> dict[str, Any]:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


RUNNING = {"running": {"startedAt": "2026-01-01T10:00:00Z"}}


def event(reason: str, message: str, *, kind: str = "Pod", type_: str = "Warning", ago: float = 60) -> dict[str, Any]:
    return {
        "involvedObject": {"kind": kind},
        "type": type_,
        "reason": reason,
        "message": message,
        "lastTimestamp": f"{NOW - timedelta(seconds=ago):%Y-%m-%dT%H:%M:%SZ}",
    }


def condition(kind: str, status: str = "True", **fields: str) -> dict[str, str]:
    return {"type": kind, "status": status, **fields}


def template(**metadata: Any) -> dict[str, Any]:
    containers = [{"name": "proxy", "image": "p"}, {"name": "train", "image": "t"}]
    return {"metadata": {"name": "trainer", **metadata}, "template": {"spec": {"containers": containers}}}


def unscheduled(message: str) -> dict[str, Any]:
    return pod("Pending", conditions=[condition("PodScheduled", "False", reason="Unschedulable", message=message)])


def starting(**state: Any) -> dict[str, Any]:
    return pod("Pending", conditions=[condition("PodScheduled")], containerStatuses=[container("train", **state)])


NO_GPU = "0/3 nodes are available: 1 node(s) had untolerated taint, 2 Insufficient nvidia.com/gpu. "
NO_HELP = f"{NO_GPU}preemption: 0/3 nodes are available: {{}} Preemption is not helpful for scheduling{{}}."
TAKEN, IMPOSSIBLE = NO_HELP.format(1, ", 2 No preemption victims found for incoming pod"), NO_HELP.format(3, "")
CREATING = starting(**waiting("ContainerCreating"))
