"""A namespace of its own on the real API server, for one test, which plays scheduler and kubelet there."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from kubernetes.client import ApiClient, ApiException, AuthenticationV1TokenRequest, BatchV1Api, CoreV1Api, V1Job, V1Pod
from kubernetes.client import V1TokenRequestSpec as TokenRequestSpec
from kubernetes.config import new_client_from_config

from functions.train_trigger.launchers.kubernetes.api import KubernetesApi
from functions.train_trigger.launchers.kubernetes.launcher import KubernetesLauncher
from tests.servers.kubernetes_server import KubernetesServer
from tests.servers.trigger_process import eventually

TEMPLATE = "trainer"
NODE = "gpu-1"


class Cluster:
    """One namespace, its administrator's clients, and launchers."""

    def __init__(self, server: KubernetesServer, namespace: str | None = None) -> None:
        client = server.client()
        self.server = server
        self.core, self.batch = CoreV1Api(client), BatchV1Api(client)
        self.namespace = namespace or f"test-{secrets.token_hex(4)}"
        if namespace is None:
            self.core.create_namespace({"metadata": {"name": self.namespace}})
        eventually(self._accounts, "the namespace has its default account")

    def put_template(
        self, *, env: dict[str, str] | None = None, metadata: Any = None, name: str = "train", **container_fields: Any
    ) -> None:
        """A PodTemplate like that of infra/kubernetes, but for a plain machine."""
        container = {
            "name": name,
            **container_fields,
            "image": "registry.example.org/labelloop-train:1",
            "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
            "resources": {"requests": {"cpu": "1"}},
        }
        pod = {
            "metadata": {"labels": {"app.kubernetes.io/component": "trainer"}},
            "spec": {
                "activeDeadlineSeconds": 25200,
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 120,
                "containers": [container, {"name": "beside", "image": "registry.example.org/beside:1"}],
            },
        }
        body = {"metadata": {"name": TEMPLATE, **(metadata or {})}, "template": pod}
        self.core.create_namespaced_pod_template(self.namespace, body)

    def put_quota(self, **hard: str) -> None:
        """A ResourceQuota, in force."""
        self.core.create_namespaced_resource_quota(
            self.namespace, {"metadata": {"name": "quota"}, "spec": {"hard": hard}}
        )
        eventually(lambda: self.core.read_namespaced_resource_quota("quota", self.namespace).status.used, "the quota")

    def launcher(
        self, *, token: str | None = None, template: str = TEMPLATE, hours_later: float = 0
    ) -> KubernetesLauncher:
        """As the administrator, or as who has `token`; `hours_later`: by its own clock."""
        kubeconfig = self.server.kubeconfig_with(token) if token else self.server.kubeconfig
        return KubernetesLauncher(
            KubernetesApi.connect({"KUBECONFIG": str(kubeconfig)}),
            self.namespace,
            template,
            now=lambda: datetime.now(UTC) + timedelta(hours=hours_later),
        )

    def client_with(self, token: str) -> ApiClient:
        """The plain client of who has the token."""
        return new_client_from_config(str(self.server.kubeconfig_with(token)), persist_config=False)

    def token_of(self, account: str) -> str:
        """Of a service account."""
        request = AuthenticationV1TokenRequest(spec=TokenRequestSpec(audiences=[]))
        answer = self.core.create_namespaced_service_account_token(account, self.namespace, request)
        return str(answer.status.token)

    def jobs(self) -> list[V1Job]:
        """All of the namespace."""
        return list(self.batch.list_namespaced_job(self.namespace).items)

    def job(self, reference: str) -> V1Job:
        """The Job that a launcher's reference names."""
        return self.batch.read_namespaced_job(reference.rpartition("/")[2], self.namespace)

    def pod(self, reference: str) -> V1Pod:
        """The living pod of a Job, once its controller has made it."""
        selector = f"job-name={reference.rpartition('/')[2]}"

        def living() -> V1Pod | None:
            pods = self.core.list_namespaced_pod(self.namespace, label_selector=selector).items
            return next((pod for pod in pods if pod.metadata.deletion_timestamp is None), None)

        pod: V1Pod = eventually(living, "the Job's controller makes a pod")
        return pod

    def schedule(self, pod: V1Pod) -> None:
        """What the scheduler does: from now on a kubelet has to end it."""
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        binding = {"metadata": {"name": pod.metadata.name}, "target": target}
        self.core.create_namespaced_binding(self.namespace, binding, _preload_content=False)

    def report(self, pod: V1Pod, phase: str, **status: Any) -> None:
        """What a kubelet, or a scheduler that finds no machine, writes."""
        self.core.patch_namespaced_pod_status(pod.metadata.name, self.namespace, {"status": {"phase": phase, **status}})

    def runs(self, reference: str) -> V1Pod:
        """Its pod gets a machine and runs."""
        pod = self.pod(reference)
        self.schedule(pod)
        self.report(pod, "Running")
        return pod

    def ends(self, pod: V1Pod, code: int) -> None:
        """The container exited."""
        self.report(pod, "Succeeded" if code == 0 else "Failed")

    def kubelet_is_done_with(self, pod: V1Pod) -> None:
        """The last word about a pod that was deleted: its processes are gone."""
        self.core.delete_namespaced_pod(pod.metadata.name, self.namespace, grace_period_seconds=0)

    def _accounts(self) -> bool:
        try:
            self.core.read_namespaced_service_account("default", self.namespace)
        except ApiException:
            return False
        return True
