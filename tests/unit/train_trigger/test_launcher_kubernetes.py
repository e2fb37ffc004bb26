"""What the Kubernetes launcher makes of what the real API server of the tests cannot show: Kueue, lost machines."""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes_validate
import pytest
from kubernetes.client import ApiClient

from functions.train_trigger.launchers import JobStatus, open_launcher
from functions.train_trigger.launchers.kubernetes.api import KubernetesRefusal
from functions.train_trigger.launchers.kubernetes.launcher import KubernetesLauncher
from functions.train_trigger.launchers.kubernetes.objects import job_from, request_of
from functions.train_trigger.launchers.kubernetes.pods import status_of
from shared.errors import LaunchError, SettingsError
from shared.evolve import evolve
from shared.settings import Settings
from tests.fakes.kubernetes_api import (
    CREATING,
    JOB,
    NOW,
    REQUEST,
    RUNNING,
    TAKEN,
    FakeApi,
    beside,
    condition,
    container,
    event,
    pod,
    standing,
    starting,
    template,
    terminated,
    unscheduled,
    waiting,
)


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
    assert standing(job, pods).state == status


def test_no_pod_is_not_a_failed_one() -> None:
    assert status_of([], NOW).state == "queued"
    assert status_of([pod("Failed")], NOW).state == "running"


@pytest.mark.parametrize(
    ("found", "status"),
    [
        pytest.param(beside("Running", sidecar=RUNNING, **RUNNING), JobStatus("running"), id="both run"),
        pytest.param(
            beside("Running", sidecar=RUNNING, **terminated(0, reason="Completed")), JobStatus("finished"),
            id="the training finished, the proxy lives on",
        ),
        pytest.param(
            beside("Running", sidecar=RUNNING, **terminated(137, reason="OOMKilled")),
            JobStatus("failed", "OOMKilled (exit code 137)"), id="it was killed, the proxy lives on",
        ),
        pytest.param(
            beside("Running", sidecar=RUNNING, **terminated(143, reason="Error")), JobStatus("failed", "exit code 143"),
            id="it was told to stop, the proxy lives on",
        ),
        pytest.param(
            beside("Running", sidecar=RUNNING, **waiting("ImagePullBackOff", "no such image")),
            JobStatus("queued", "ImagePullBackOff: no such image", stuck=True),
            id="the proxy runs, the training has no image: a phase Running that is none",
        ),
        pytest.param(
            beside("Running", sidecar=RUNNING, **waiting("ContainerCreating")), JobStatus("queued"),
            id="the proxy came first",
        ),
        pytest.param(
            beside("Running", sidecar=terminated(0), **RUNNING), JobStatus("running"), id="the proxy ended first"
        ),
    ],
)  # fmt: skip
def test_the_state_of_the_training_s_container_counts(found: dict[str, Any], status: JobStatus) -> None:
    assert standing({}, [found]) == status


def test_a_job_is_deleted_when_its_training_ended_and_something_else_keeps_the_machine() -> None:
    done = beside("Running", sidecar=RUNNING, **terminated(0))
    api: Any = FakeApi({}, [done])
    KubernetesLauncher(api, "ml", "trainer").tidy()
    assert api.deleted == [("/apis/batch/v1/namespaces/ml/jobs/labelloop-run-1-1", "Foreground")]
    others = (
        beside("Running", sidecar=RUNNING, **RUNNING),
        beside("Running", sidecar=RUNNING, **waiting("ContainerCreating")),
        beside("Succeeded", sidecar=terminated(0), **terminated(0)),  # it ended whole: its log stays for a day
        beside("Failed", sidecar=terminated(0), **terminated(1)),
        pod("Running"),
        pod("Pending"),
        {**done, "metadata": pod("Running", deleted=-20)["metadata"]},  # deleted already
    )
    for other in others:
        api = FakeApi({}, [other])
        KubernetesLauncher(api, "ml", "trainer").tidy()
        assert api.deleted == [], other


def test_a_job_that_is_being_deleted_is_not_taken_for_the_launch_that_replaces_it() -> None:
    class Api(FakeApi):
        def get(self, path: str, what: str, **query: str) -> dict[str, Any]:
            return template() if "podtemplates" in path else self.job

    made = job_from(template(), REQUEST, 1)
    api: Any = Api(made)
    assert KubernetesLauncher(api, "ml", "trainer").launch(REQUEST, attempt=1) == JOB
    made["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    with pytest.raises(LaunchError, match="is still being deleted; it is tried again"):
        KubernetesLauncher(api, "ml", "trainer").launch(REQUEST, attempt=1)


def test_how_a_job_failed_is_told() -> None:
    failed = {"status": {"conditions": [condition("Failed", reason="BackoffLimitExceeded")]}}
    told = container("train", **terminated(137, reason="OOMKilled"))
    assert standing(failed, [pod("Failed", containerStatuses=[told])]).why == "OOMKilled (exit code 137)"
    done = pod("Succeeded", containerStatuses=[container("train", **terminated(0, reason="Completed"))])
    several = standing(failed, [done, pod("Failed", containerStatuses=[told]), done])
    assert several.why == "OOMKilled (exit code 137)", "of several workers the one that failed"
    evicted = pod("Failed", reason="Evicted", message="The node was low on resource: memory.")
    for pods in ([evicted], [done, evicted]):
        assert standing(failed, pods).why == "Evicted: The node was low on resource: memory."
    assert standing(failed).why == ""


def test_the_shapes_of_these_tests_are_the_api_s() -> None:
    """The client's models, made from the API's own description, take them: names and kinds of fields."""
    client = ApiClient()

    def read_as(kind: str, value: Mapping[str, Any]) -> Any:
        return client.deserialize(SimpleNamespace(data=json.dumps(value)), kind)

    shown = [CREATING, beside("Running", sidecar=RUNNING, **terminated(137, reason="OOMKilled")), unscheduled(TAKEN)]
    for found in (*shown, starting(**waiting("InvalidImageName", "x"))):
        told = client.sanitize_for_serialization(read_as("V1Pod", found))
        assert json.loads(json.dumps(told["status"]).replace("+00:00", "Z")) == without_none(found["status"])
    read = read_as("CoreV1Event", event("FailedMount", "x") | {"metadata": {"name": "x"}})
    assert (read.reason, read.type, read.last_timestamp) == ("FailedMount", "Warning", NOW - timedelta(minutes=1))


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_none(one) for name, one in value.items() if one is not None}
    return [without_none(one) for one in value] if isinstance(value, list) else value


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


def test_several_workers_are_pods_of_one_job_of_which_one_may_fail() -> None:
    alone = job_from(template(), REQUEST, 1)
    made = job_from(template(), evolve(REQUEST, workers=4), 1)
    assert set(made["spec"]) - set(alone["spec"]) == {
        "completionMode",
        "completions",
        "parallelism",
        "backoffLimitPerIndex",
    }
    for version in ("1.28", "1.33"):
        document = json.loads(json.dumps(made))
        document["spec"]["template"]["spec"]["containers"][0]["resources"] = {}
        kubernetes_validate.validate(document, version, strict=True)
    assert made["spec"]["parallelism"] == made["spec"]["completions"] == 4
    assert "backoffLimit" not in made["spec"], "it would end all pods with the first one that fails"


def test_a_job_of_several_workers_is_tidied_once_none_of_them_works() -> None:
    done, works = (beside("Running", sidecar=RUNNING, **state) for state in (terminated(0), RUNNING))
    api: Any = FakeApi({}, [done, works])
    KubernetesLauncher(api, "ml", "trainer").tidy()
    assert api.deleted == []
    api = FakeApi({}, [done, done, beside("Succeeded", sidecar=terminated(0), **terminated(0))])
    KubernetesLauncher(api, "ml", "trainer").tidy()
    assert len(api.deleted) == 1


def test_the_longest_run_id_makes_a_name_that_a_label_can_hold() -> None:
    longest = evolve(REQUEST, run_id="r" * 50)
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
    settings = evolve(Settings(), launcher="kubernetes://ml/trainer")
    for environ in ({"KUBECONFIG": str(kubeconfig)}, {"KUBECONFIG": str(tmp_path / "nowhere")}):
        with pytest.raises(SettingsError, match=r"finds no cluster .* set KUBECONFIG"):
            open_launcher(settings, environ)
