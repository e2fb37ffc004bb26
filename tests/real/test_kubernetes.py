"""The Kubernetes launcher against a real API server, its Job controller, quotas and garbage collector."""

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from functions.train_trigger.launchers import open_launcher
from functions.train_trigger.launchers.kubernetes.launcher import KubernetesLauncher
from shared.errors import LaunchError
from shared.evolve import evolve
from shared.settings import Settings
from shared.state.runs import TrainRequest
from tests.infra.kubernetes_parts import TEMPLATE, Cluster
from tests.servers.kubernetes_server import KubernetesServer
from tests.servers.trigger_process import eventually

REQUEST = TrainRequest(store="s3://bucket/prefix", project_uid="1.1700000000", run_id="20261122-170000-0a1b2c3d")


@pytest.fixture
def cluster(kubernetes: KubernetesServer) -> Cluster:
    made = Cluster(kubernetes)
    made.put_template(env={"LABELLOOP_STORE": REQUEST.store, "TRAIN_REQUEST": "of the template"})
    return made


@pytest.fixture
def launcher(cluster: Cluster) -> KubernetesLauncher:
    return cluster.launcher()


def test_a_job_is_the_template_s_pod_run_once_with_the_request(kubernetes: KubernetesServer) -> None:
    cluster = Cluster(kubernetes)
    last_applied = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    cluster.put_template(
        env={"LABELLOOP_STORE": REQUEST.store, "TRAIN_REQUEST": "of the template"},
        metadata={"labels": {"kueue.x-k8s.io/queue-name": "gpus"}, "annotations": {"team": "birds", **last_applied}},
    )
    reference = cluster.launcher().launch(REQUEST, attempt=3)
    job = cluster.job(reference)
    assert reference == f"kubernetes:{cluster.namespace}/labelloop-{REQUEST.run_id}-3"
    assert job.metadata.labels["kueue.x-k8s.io/queue-name"] == "gpus"
    assert job.metadata.labels["labelloop/run"] == REQUEST.run_id
    assert job.metadata.labels["labelloop/attempt"] == "3"
    assert job.metadata.annotations == {"team": "birds"}
    assert (job.spec.backoff_limit, job.spec.ttl_seconds_after_finished) == (0, 86400)
    pod = cluster.pod(reference)
    assert pod.metadata.labels["app.kubernetes.io/component"] == "trainer", "network policies select by it"
    assert pod.metadata.labels["app.kubernetes.io/name"] == "labelloop"
    assert (pod.spec.restart_policy, pod.spec.active_deadline_seconds) == ("Never", 25200)
    train, beside = pod.spec.containers
    told = {entry.name: entry.value for entry in train.env}
    assert told["LABELLOOP_STORE"] == REQUEST.store
    assert TrainRequest.parse(told["TRAIN_REQUEST"]) == REQUEST
    assert len(train.env) == 2
    assert beside.env is None


def test_a_launch_repeated_by_many_at_once_makes_one_job(cluster: Cluster) -> None:
    with ThreadPoolExecutor(8) as pool:
        references = set(pool.map(lambda _: cluster.launcher().launch(REQUEST, attempt=1), range(8)))
    assert len(references) == len(cluster.jobs()) == 1


def test_a_job_of_that_name_with_another_request_is_refused(launcher: KubernetesLauncher) -> None:
    launcher.launch(REQUEST, attempt=1)
    with pytest.raises(LaunchError, match="is there already, for another request: delete it"):
        launcher.launch(evolve(REQUEST, store="s3://another/store"), attempt=1)


@pytest.mark.parametrize(("code", "how"), [(0, "finished"), (1, "failed"), (143, "failed")])
def test_a_job_is_queued_then_runs_then_ends(
    cluster: Cluster, launcher: KubernetesLauncher, code: int, how: str
) -> None:
    job = launcher.launch(REQUEST, attempt=1)
    assert launcher.status(job).state == "queued"
    pod = cluster.runs(job)
    assert launcher.status(job).state == "running"
    cluster.ends(pod, code)
    eventually(lambda: launcher.status(job).state == how, how)
    assert len(cluster.core.list_namespaced_pod(cluster.namespace).items) == 1, "the target does not retry by itself"
    assert launcher.launch(REQUEST, attempt=1) == job, "a launch that comes late starts nothing"


def test_why_a_pod_gets_no_machine_is_said_once(
    cluster: Cluster, launcher: KubernetesLauncher, caplog: pytest.LogCaptureFixture
) -> None:
    job = launcher.launch(REQUEST, attempt=1)
    message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    cluster.report(cluster.pod(job), "Pending", conditions=[unschedulable])
    with caplog.at_level(logging.WARNING):
        assert [launcher.status(job).state for _ in range(3)] == ["queued"] * 3
    assert [record.message for record in caplog.records] == [f"{job} waits: {message}"]


def test_an_image_that_cannot_be_pulled_is_said(
    cluster: Cluster, launcher: KubernetesLauncher, caplog: pytest.LogCaptureFixture
) -> None:
    job = launcher.launch(REQUEST, attempt=1)
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "labelloop-train:1"'}
    container = {"name": "train", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    cluster.report(cluster.pod(job), "Pending", containerStatuses=[{**container, "state": {"waiting": waiting}}])
    assert launcher.status(job).state == "queued"
    assert "ImagePullBackOff: Back-off pulling image" in caplog.text


def test_a_pod_that_a_quota_refuses_is_queued_and_said(
    kubernetes: KubernetesServer, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(kubernetes)
    cluster.put_template()
    cluster.put_quota(pods="0")
    launcher = cluster.launcher()
    job = launcher.launch(REQUEST, attempt=1)

    def said() -> bool:
        assert launcher.status(job).state == "queued"
        return "exceeded quota: quota" in caplog.text

    eventually(said, "the Job controller's event reaches the log")
    assert f'pods "{job.rpartition("/")[2]}" is forbidden' in caplog.text, "said once, whatever the pod would be called"


def test_stopping_gives_the_pod_its_grace_and_takes_the_job_away(
    cluster: Cluster, launcher: KubernetesLauncher
) -> None:
    job = launcher.launch(REQUEST, attempt=1)
    pod = cluster.runs(job)
    launcher.stop(job)

    def told_to_end() -> bool:
        found = cluster.core.read_namespaced_pod(pod.metadata.name, cluster.namespace)
        return found.metadata.deletion_timestamp is not None and found.metadata.deletion_grace_period_seconds == 120

    eventually(told_to_end, "the pod is deleted with its own grace period, in which it gets SIGTERM")
    assert launcher.status(job).state == "running", "it saves its checkpoint"
    assert cluster.launcher(hours_later=1).status(job).state == "gone", (
        "a machine that went away never says that it ended"
    )
    cluster.kubelet_is_done_with(pod)
    eventually(lambda: launcher.status(job).state == "gone", "the Job goes after its pod")
    launcher.stop(job)
    assert cluster.core.list_namespaced_pod(cluster.namespace).items == []


def test_a_job_that_waits_is_stopped_at_once(cluster: Cluster, launcher: KubernetesLauncher) -> None:
    job = launcher.launch(REQUEST, attempt=1)
    cluster.pod(job)
    assert launcher.status(job).state == "queued", "its pod has no machine"
    launcher.stop(job)
    eventually(lambda: launcher.status(job).state == "gone", "no kubelet has to end anything")
    eventually(lambda: not cluster.core.list_namespaced_pod(cluster.namespace).items, "no pod is left")


def test_check_says_what_would_run(launcher: KubernetesLauncher, cluster: Cluster) -> None:
    assert "labelloop-train:1" in launcher.check()
    assert cluster.jobs() == []


def test_a_container_of_another_name_is_refused(kubernetes: KubernetesServer) -> None:
    cluster = Cluster(kubernetes)
    cluster.put_template(name="trainer")
    for act in (cluster.launcher().check, lambda: cluster.launcher().launch(REQUEST, attempt=1)):
        with pytest.raises(LaunchError, match="has the containers trainer, beside: name the one that trains 'train'"):
            act()


def _no_template(cluster: Cluster) -> KubernetesLauncher:
    return cluster.launcher(template="nowhere")


def _no_namespace(cluster: Cluster) -> KubernetesLauncher:
    settings = evolve(Settings(), launcher=f"kubernetes://nowhere/{TEMPLATE}")
    launcher = open_launcher(settings, {"KUBECONFIG": str(cluster.server.kubeconfig)})
    assert isinstance(launcher, KubernetesLauncher)
    return launcher


def _no_rights(cluster: Cluster) -> KubernetesLauncher:
    return cluster.launcher(token=cluster.token_of("default"))


def _old_token(cluster: Cluster) -> KubernetesLauncher:
    return cluster.launcher(token="an-old-token")


def _full(cluster: Cluster) -> KubernetesLauncher:
    cluster.put_quota(**{"count/jobs.batch": "0"})
    return cluster.launcher()


@pytest.mark.parametrize(
    ("launcher_of", "found", "to_do"),
    [
        (_no_template, 'podtemplates "nowhere" not found', "create it first"),
        (_no_namespace, f'podtemplates "{TEMPLATE}" not found', "correct LABELLOOP_LAUNCHER"),
        (_no_rights, 'cannot get resource "podtemplates"', "bind the Role of infra/kubernetes"),
        (_old_token, "Unauthorized", "renew"),
        (_full, "exceeded quota: quota, requested: count/jobs.batch=1", "raise the ResourceQuota"),
    ],
)
def test_a_refusal_is_a_sentence_with_what_to_do(
    cluster: Cluster, launcher_of: Callable[[Cluster], KubernetesLauncher], found: str, to_do: str
) -> None:
    launcher = launcher_of(cluster)
    with pytest.raises(LaunchError) as refused:
        launcher.launch(REQUEST, attempt=1)
    sentence = str(refused.value)
    assert found in sentence
    assert to_do in sentence
    assert cluster.server.url in sentence
    assert "\n" not in sentence
    assert cluster.jobs() == []
    with pytest.raises(LaunchError):
        launcher.check()


def test_what_the_api_server_finds_invalid_is_said(launcher: KubernetesLauncher) -> None:
    with pytest.raises(LaunchError, match=r"Invalid value.*\(422\); correct the PodTemplate"):
        launcher.launch(evolve(REQUEST, project_uid="not a label"), attempt=1)


def test_no_answer_is_said(cluster: Cluster) -> None:
    config = json.loads(cluster.server.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    elsewhere = cluster.server.folder / "kubeconfig-elsewhere"
    elsewhere.write_text(json.dumps(config))
    launcher = open_launcher(evolve(Settings(), launcher="kubernetes://a/b"), {"KUBECONFIG": str(elsewhere)})
    for act in (launcher.check, lambda: launcher.launch(REQUEST, attempt=1), lambda: launcher.status("kubernetes:a/b")):
        with pytest.raises(LaunchError, match=r"cannot ask the Kubernetes API server at https://127\.0\.0\.1:1"):
            act()
