"""infra/kubernetes applied to a real API server, and what each part may do there: its launcher all, nobody more."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from kubernetes.client import ApiException, AuthorizationV1Api, CoreV1Api

from functions.train_trigger.launchers.kubernetes.launcher import RIGHTS
from shared.errors import LaunchError
from shared.state.runs import TrainRequest
from tests.infra.kubernetes_manifests import Missing, Object, kubectl, render
from tests.infra.kubernetes_parts import Cluster
from tests.servers.kubernetes_server import KubernetesServer
from tests.servers.trigger_process import REPOSITORY, eventually

NAMESPACE, TEMPLATE = "labelloop", "labelloop-train"
REQUEST = TrainRequest(store="s3://bucket/prefix", project_uid="1.1700000000", run_id="20261122-170000-0a1b2c3d")
OLDER = {"CronJob": "batch/v1beta1", "PodDisruptionBudget": "policy/v1beta1"}
"""Kinds that 1.20 has already, under an older version with the same fields."""

UNKNOWN = {("gateway.networking.k8s.io/v1", "HTTPRoute"), ("serving.knative.dev/v1", "Service")}
LABEL_STUDIO = ["../label-studio", "label-studio-route", "name: label-studio", "behavior: merge", "label-studio.env"]

# What train_trigger does in its pod.
IN_A_POD = f"""
import os
from functions.train_trigger.launchers import open_launcher
from shared.evolve import evolve
from shared.settings import Settings
settings = evolve(Settings(), launcher="kubernetes://{NAMESPACE}/{TEMPLATE}")
print(open_launcher(settings, os.environ).check())
"""

EVERYBODY = {
    ("authorization.k8s.io", "selfsubjectaccessreviews", "create", ()),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "create", ()),
}


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """With all components that fit together: predict as a Deployment, and Label Studio below a path prefix."""
    return _render(
        tmp_path_factory.mktemp("deployment"), uncomment=["components/spot", "components/kueue", *LABEL_STUDIO]
    )


@pytest.fixture(scope="module")
def applied(kubernetes: KubernetesServer, documents: list[Object]) -> Iterator[Cluster]:
    """The namespace `labelloop`, as `kubectl apply` makes it of all that 1.20 knows."""
    known = [document for document in documents if _kind(document) not in UNKNOWN]
    answer = _apply(kubernetes, known)
    assert answer.returncode == 0, answer.stderr
    cluster = Cluster(kubernetes, NAMESPACE)
    yield cluster
    cluster.core.delete_namespace(NAMESPACE)


def test_the_kinds_that_are_not_applied_are_known(
    kubernetes: KubernetesServer, documents: list[Object], tmp_path: Path
) -> None:
    with_knative = _render(tmp_path, uncomment=["overlays/knative"], comment=["overlays/deployment"])
    kinds = {_kind(document) for document in (*documents, *with_knative)}
    assert {kind for kind in kinds if not _serves(kubernetes, *kind)} == UNKNOWN


def test_a_misspelt_field_is_not_applied(
    kubernetes: KubernetesServer, documents: list[Object], applied: Cluster
) -> None:
    (template,) = (document for document in documents if document["kind"] == "PodTemplate")
    misspelt = template | {
        "template": template["template"] | {"spec": template["template"]["spec"] | {"activeDeadline": 1}}
    }
    assert 'unknown field "activeDeadline"' in _apply(kubernetes, [misspelt]).stderr


def test_the_launcher_does_all_it_does_as_train_trigger(applied: Cluster) -> None:
    launcher = applied.launcher(token=applied.token_of("train-trigger"), template=TEMPLATE)
    assert TEMPLATE in launcher.check()
    job = launcher.launch(REQUEST, attempt=1)
    assert launcher.launch(REQUEST, attempt=1) == job
    pod = applied.pod(job)
    assert launcher.status(job).state == "queued"
    assert pod.spec.service_account_name == "train"
    assert pod.metadata.labels["app.kubernetes.io/component"] == "train", "network policies select by it"
    assert pod.spec.containers[0].resources.limits["nvidia.com/gpu"] == "1"
    assert applied.job(job).metadata.labels["kueue.x-k8s.io/queue-name"] == "labelloop"
    applied.report(pod, "Running")
    assert launcher.status(job).state == "running"
    launcher.stop(job)
    eventually(lambda: launcher.status(job).state == "gone", "the Job goes")


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare on this machine")
def test_in_a_pod_the_token_of_its_service_account_is_used(applied: Cluster, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(applied.token_of("train-trigger"))
    shutil.copy(applied.server.certificate, tmp_path / "ca.crt")
    (tmp_path / "pod.py").write_text(IN_A_POD)
    server = urlsplit(applied.server.url)
    environ = {
        "PATH": os.defpath,
        "PYTHONPATH": str(REPOSITORY),
        "KUBERNETES_SERVICE_HOST": str(server.hostname),
        "KUBERNETES_SERVICE_PORT": str(server.port),
    }
    account = "/run/secrets/kubernetes.io/serviceaccount"
    mounts = (
        f"mount -t tmpfs none /run && mkdir -p {account} && cp token ca.crt {account} && exec {sys.executable} pod.py"
    )
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mounts]
    answer = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    if answer.stderr.startswith("unshare:"):
        pytest.skip(f"no mounts of its own on this machine: {answer.stderr}")
    assert answer.stdout.startswith(f"PodTemplate {NAMESPACE}/{TEMPLATE} makes Jobs of "), answer.stderr


def test_why_there_is_no_pod_is_read_as_train_trigger(applied: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    applied.put_quota(pods="0")
    launcher = applied.launcher(token=applied.token_of("train-trigger"), template=TEMPLATE)
    job = launcher.launch(REQUEST, attempt=2)

    def said() -> bool:
        assert launcher.status(job).state == "queued"
        return "exceeded quota" in caplog.text

    eventually(said, "the Job controller's event reaches the log")
    assert f'pods "{job.rpartition("/")[2]}" is forbidden' in caplog.text
    launcher.stop(job)
    applied.core.delete_namespaced_resource_quota("quota", NAMESPACE)


def test_train_trigger_may_do_exactly_that(applied: Cluster) -> None:
    mine: set[tuple[str, str, str, tuple[str, ...]]] = {(*right, ()) for right in RIGHTS}
    mine.add(("", "podtemplates", "get", (TEMPLATE,)))
    assert _rights(applied, "train-trigger", NAMESPACE) == mine | EVERYBODY
    assert _rights(applied, "train-trigger", "default") == EVERYBODY


@pytest.mark.parametrize("account", ["default", "predict", "sweep", "train"])
def test_the_other_parts_may_do_nothing(applied: Cluster, account: str) -> None:
    assert _rights(applied, account, NAMESPACE) == EVERYBODY
    with pytest.raises(LaunchError, match="does not let labelloop create jobs, get jobs, delete jobs, list pods"):
        applied.launcher(token=applied.token_of(account), template=TEMPLATE).check()


def test_train_trigger_reads_no_secret_and_makes_no_pod_itself(applied: Cluster) -> None:
    with applied.client_with(applied.token_of("train-trigger")) as client:
        core = CoreV1Api(client)
        pod = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
        for forbidden in (
            lambda: core.list_namespaced_secret(NAMESPACE),
            lambda: core.create_namespaced_pod(NAMESPACE, pod),
            lambda: core.delete_namespaced_pod_template(TEMPLATE, NAMESPACE),
            lambda: core.patch_namespaced_pod_template(TEMPLATE, NAMESPACE, {"metadata": {"labels": {"a": "b"}}}),
            lambda: core.list_namespaced_pod("kube-system"),
        ):
            with pytest.raises(ApiException) as refused:
                forbidden()
            assert refused.value.status == 403


def _render(folder: Path, **edits: list[str]) -> list[Object]:
    try:
        rendered = render(folder, **edits)
    except Missing as error:
        pytest.skip(f"the manifests cannot be rendered: {error}")
    return [document | {"apiVersion": OLDER.get(document["kind"], document["apiVersion"])} for document in rendered]


def _apply(server: KubernetesServer, documents: list[Object]) -> subprocess.CompletedProcess[str]:
    bodies = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    command = [str(kubectl()), "--kubeconfig", str(server.kubeconfig), "apply", "--validate=true", "-f", "-"]
    return subprocess.run(command, input=bodies, capture_output=True, text=True, check=False)


def _kind(document: Object) -> tuple[str, str]:
    return document["apiVersion"], document["kind"]


def _serves(server: KubernetesServer, version: str, kind: str) -> bool:
    path = f"/apis/{version}" if "/" in version else f"/api/{version}"
    with server.client() as client:
        try:
            found = client.call_api(path, "GET", auth_settings=["BearerToken"], response_types_map={200: "object"})
        except ApiException as error:
            if error.status == 404:
                return False
            raise
    return kind in {entry["kind"] for entry in found[0]["resources"]}


def _rights(cluster: Cluster, account: str, namespace: str) -> set[tuple[str, str, str, tuple[str, ...]]]:
    """(group, resource, verb, names) of all that an account may do in a namespace, as RBAC itself lists them."""
    with cluster.client_with(cluster.token_of(account)) as client:
        body: Any = {"spec": {"namespace": namespace}}
        review = AuthorizationV1Api(client).create_self_subject_rules_review(body)
    assert not review.status.incomplete
    return {
        (group, resource, verb, tuple(rule.resource_names or ()))
        for rule in review.status.resource_rules
        for group in rule.api_groups
        for resource in rule.resources
        for verb in rule.verbs
    }
