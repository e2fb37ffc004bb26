"""What the Kubernetes launcher makes of what the real API server of the tests cannot show: Kueue, lost machines."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.train_trigger.launchers import open_launcher
from functions.train_trigger.launchers.kubernetes import KubernetesLauncher
from functions.train_trigger.launchers.kubernetes_api import KubernetesRefusal
from functions.train_trigger.launchers.kubernetes_objects import job_from, request_of, state_of, why_no_pod, why_pending
from shared.errors import LaunchError, SettingsError
from shared.runs import TrainRequest
from shared.settings import Settings

REQUEST = TrainRequest(store="s3://bucket/prefix", project_uid="1.1700000000", run_id="run-1")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
JOB = "kubernetes:ml/labelloop-run-1-1"


class FakeApi:
    """Answers one Job and its pods."""

    host = "https://cluster.example.org"

    def __init__(self, job: Mapping[str, Any], pods: list[dict[str, Any]] | None = None) -> None:
        self.job = {"metadata": {}, "spec": {}, "status": {}, **job}
        self.pods = pods or []

    def get(self, path: str, what: str, **query: str) -> dict[str, Any]:
        if "/jobs/" in path:
            return self.job
        return {"items": self.pods if path.endswith("/pods") else []}


def pod(phase: str, *, deleted: float | None = None, **status: Any) -> dict[str, Any]:
    """`deleted`: how many seconds ago its grace period ended."""
    metadata = (
        {"deletionTimestamp": f"{NOW - timedelta(seconds=deleted):%Y-%m-%dT%H:%M:%SZ}"} if deleted is not None else {}
    )
    return {"metadata": metadata, "status": {"phase": phase, **status}}


def condition(kind: str, status: str = "True", **fields: str) -> dict[str, str]:
    return {"type": kind, "status": status, **fields}


def template(**metadata: Any) -> dict[str, Any]:
    containers = [{"name": "proxy", "image": "p"}, {"name": "train", "image": "t"}]
    return {"metadata": {"name": "trainer", **metadata}, "template": {"spec": {"containers": containers}}}


@pytest.mark.parametrize(
    ("job", "pods", "status"),
    [
        ({}, [], "queued"),
        ({"spec": {"suspend": True}}, [], "queued"),
        ({"spec": {"suspend": True}}, [pod("Running", deleted=-30)], "queued"),  # Kueue takes its machine away
        ({}, [pod("Pending")], "queued"),
        ({}, [pod("Running")], "running"),
        ({}, [pod("Succeeded")], "running"),  # the Job says so in a moment
        ({}, [pod("Running", deleted=-100)], "running"),  # a drained machine: the job saves its checkpoint
        ({}, [pod("Running", deleted=30)], "running"),  # clocks differ
        ({}, [pod("Running", deleted=90)], "failed"),  # its machine is gone
        ({}, [pod("Running", deleted=90), pod("Pending")], "queued"),
        ({"metadata": {"deletionTimestamp": "x"}}, [pod("Running", deleted=-100)], "running"),
        ({"metadata": {"deletionTimestamp": "x"}}, [pod("Running", deleted=90)], "gone"),
        ({"metadata": {"deletionTimestamp": "x"}}, [], "gone"),
        ({"status": {"conditions": [condition("Complete")]}}, [pod("Succeeded")], "finished"),
        ({"status": {"conditions": [condition("Failed")]}}, [], "failed"),
        ({"status": {"conditions": [condition("FailureTarget")]}}, [pod("Running", deleted=-100)], "running"),
        ({"status": {"conditions": [condition("Failed", "False")]}}, [pod("Running")], "running"),
    ],
)  # fmt: skip
def test_how_a_job_stands(job: dict[str, Any], pods: list[dict[str, Any]], status: str) -> None:
    api: Any = FakeApi(job, pods)
    assert KubernetesLauncher(api, "ml", "trainer", now=lambda: NOW).status(JOB) == status


def test_no_pod_is_not_a_failed_one() -> None:
    assert state_of([], NOW) == "queued"
    assert state_of([pod("Failed")], NOW) == "running"


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({}, ""),
        ({"conditions": [condition("PodScheduled")]}, ""),
        ({"conditions": [condition("PodScheduled", "False", reason="Unschedulable", message="no GPU")]}, "no GPU"),
        ({"conditions": [condition("PodScheduled", "False", reason="SchedulingGated")]}, "SchedulingGated"),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]},
            "ErrImagePull: not found",
        ),
        (
            {"initContainerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "denied"}}}]},
            "ErrImagePull: denied",
        ),
    ],
)
def test_why_a_pod_is_pending(status: dict[str, Any], why: str) -> None:
    assert why_pending([pod("Pending", **status)]) == why


def test_the_newest_event_says_why_there_is_no_pod() -> None:
    events = [
        {"lastTimestamp": "2026-01-01T12:00:02Z", "message": 'pods "labelloop-run-1-1-x7k2p" is forbidden: quota'},
        {"lastTimestamp": "2026-01-01T12:00:01Z", "message": "old"},
        {"lastTimestamp": None, "message": "without a time"},
    ]
    assert why_no_pod(events, "labelloop-run-1-1") == 'pods "labelloop-run-1-1" is forbidden: quota'
    assert why_no_pod([], "x") == ""


def test_labels_of_tools_that_follow_what_they_applied_are_not_copied() -> None:
    labels = {"kueue.x-k8s.io/queue-name": "gpus", "argocd.argoproj.io/instance": "loop"}
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "birds"}
    made = job_from(template(labels=labels, annotations=annotations), REQUEST, 1)["metadata"]
    assert made["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    assert "argocd.argoproj.io/instance" not in made["labels"]
    assert made["annotations"] == {"team": "birds"}


def test_only_the_training_container_is_told_and_the_template_stays_as_it_is() -> None:
    made_from = template()
    made = job_from(made_from, REQUEST, 2)
    proxy, train = made["spec"]["template"]["spec"]["containers"]
    assert proxy == {"name": "proxy", "image": "p"}
    assert train["env"] == [{"name": "TRAIN_REQUEST", "value": REQUEST.model_dump_json()}]
    assert request_of(made) == REQUEST.model_dump_json()
    assert made_from == template()


def test_the_longest_run_id_makes_a_name_that_a_label_can_hold() -> None:
    longest = REQUEST.model_copy(update={"run_id": "r" * 50})
    assert len(job_from(template(), longest, 99)["metadata"]["name"]) <= 63


def test_a_job_that_nobody_may_read_cannot_be_told() -> None:
    class Refuses(FakeApi):
        def get(self, path: str, what: str, **query: str) -> dict[str, Any]:
            raise KubernetesRefusal(self.host, f"show {what}", 403, 'User "x" cannot get resource "jobs"')

    api: Any = Refuses({})
    with pytest.raises(
        LaunchError, match=r"did not show Job ml/labelloop-run-1-1: .* bind the Role of infra/kubernetes"
    ):
        KubernetesLauncher(api, "ml", "trainer").status(JOB)


@pytest.mark.parametrize("config", ["", "not: [yaml", "{}"])
def test_without_a_cluster_the_start_stops_with_one_sentence(tmp_path: Path, config: str) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(config)
    settings = Settings().model_copy(update={"launcher": "kubernetes://ml/trainer"})
    for environ in ({"KUBECONFIG": str(kubeconfig)}, {"KUBECONFIG": str(tmp_path / "nowhere")}):
        with pytest.raises(SettingsError, match=r"finds no cluster .* set KUBECONFIG"):
            open_launcher(settings, environ)
