"""A namespace of a real API server, as the launchers' suite sees it; the suite plays the kubelet."""

from kubernetes.client import ApiException

from functions.train_trigger.launchers.kubernetes.launcher import KubernetesLauncher
from functions.train_trigger.launchers.kubernetes.objects import request_of
from tests.infra.kubernetes_parts import Cluster
from tests.infra.launcher_targets import Target
from tests.servers.kubernetes_server import KubernetesServer
from tests.servers.ray_cluster import SECRET


class KubernetesTarget(Target):
    """Its pods get no machine, so that they go at once when they are deleted."""

    def __init__(self, server: KubernetesServer) -> None:
        self._cluster = Cluster(server)
        self._cluster.put_template(env={"LABEL_STUDIO_API_KEY": SECRET})

    def launcher(self) -> KubernetesLauncher:
        """As the administrator."""
        return self._cluster.launcher()

    def told(self) -> list[str]:
        """From the Jobs."""
        client = self._cluster.batch.api_client
        return [str(request_of(client.sanitize_for_serialization(job))) for job in self._cluster.jobs()]

    def begin(self, job: str) -> None:
        """Its pod runs."""
        self._cluster.report(self._cluster.pod(job), "Running")

    def end(self, job: str, code: int) -> None:
        """Its container exited; one that was stopped is there no more."""
        try:
            self._cluster.job(job)
        except ApiException as error:
            if error.status != 404:
                raise
        else:
            self._cluster.ends(self._cluster.pod(job), code)

    def unknown(self, job: str) -> str:
        """Another name."""
        return f"{job}9"
