"""From annotations to a promoted version on a real API server: the trigger launches, the test plays the machines.

The job is the real `python -m jobs.train`, started as a kubelet does: with the command and environment of its pod.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes.client import V1Pod

from infra.demo import samples
from shared.state import claims
from shared.state.registry import Registry
from tests.fakes.train_parts import PagedProject, served, settings_for
from tests.fakes.trigger_parts import UID, World
from tests.infra.kubernetes_parts import Cluster
from tests.servers.kubernetes_server import KubernetesServer
from tests.servers.trigger_process import REPOSITORY, eventually


class Machine:
    """A kubelet with one pod."""

    def __init__(self, cluster: Cluster, job: str, log: Path) -> None:
        self._cluster, self._log = cluster, log
        self.pod: V1Pod = cluster.runs(job)
        (container, _) = self.pod.spec.containers
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                container.command,
                cwd=container.working_dir,
                env={"PATH": os.defpath} | {entry.name: entry.value for entry in container.env},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_for(self, event: str) -> None:
        """Until the job logged it."""
        eventually(lambda: f'"event": "{event}"' in self.log or self.process.poll() is not None, event)
        assert f'"event": "{event}"' in self.log, self.log[-3000:]

    @property
    def log(self) -> str:
        """So far."""
        return self._log.read_text()

    def report_end(self) -> int:
        """Wait for the process and tell the API server."""
        code = self.process.wait(300)
        self._cluster.ends(self.pod, code)
        return code


class Loop(World):
    """A trigger that launches on the API server."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        weights = str(samples.base_weights())
        super().__init__(folder / "store", epochs=4, image_size=64, batch=8, base_weights=weights)
        self.label_studio.annotations = 20
        self.cluster, self._folder, self._machines = cluster, folder, 0
        self.jobs_of_cluster = cluster.launcher()
        self.trigger = self.another_trigger(launcher=self.jobs_of_cluster)

    def machine(self) -> Machine:
        """One that runs the pod of the active run."""
        self._machines += 1
        return Machine(self.cluster, str(self.claim.job), self._folder / f"log-{self._machines}")

    def renewed_a_while_ago(self) -> None:
        """The pause before the next attempt has passed."""
        self.expire(ago=-590)

    def wait_until_it_is(self, state: str) -> None:
        """The launcher sees what the test did."""
        eventually(lambda: self.jobs_of_cluster.status(str(self.claim.job)).state == state, state)


@pytest.fixture
def loop(tmp_path: Path, kubernetes: KubernetesServer) -> Iterator[Loop]:
    """Annotated pictures in Label Studio, and a PodTemplate of the real job."""
    cluster = Cluster(kubernetes)
    with served(PagedProject(20)) as label_studio:
        settings = settings_for(label_studio.url, tmp_path)
        command = [sys.executable, "-m", "jobs.train"]
        cluster.put_template(env=settings.to_environ(), command=command, workingDir=str(REPOSITORY))
        yield Loop(tmp_path, cluster)


def test_a_job_that_waits_keeps_its_claim_and_a_lost_machine_costs_an_attempt(loop: Loop) -> None:
    assert loop.reconcile().status == "launched"
    assert (
        loop.claim.logs
        == f"kubectl logs --namespace {loop.cluster.namespace} job/{loop.cluster.jobs()[0].metadata.name}"
    )
    loop.expire()
    assert loop.reconcile().status == "active", "a GPU is rare: the job waits, and so does the run"
    assert loop.claim.expires_at > loop.store.now()
    pod = loop.cluster.runs(str(loop.claim.job))
    loop.job_runs()
    loop.cluster.report(pod, "Failed", reason="NodeLost")
    loop.wait_until_it_is("failed")
    loop.renewed_a_while_ago()
    assert loop.reconcile(sweeping=True).status == "relaunched"
    first, second = sorted(job.metadata.name for job in loop.cluster.jobs())
    assert (first[-2:], second[-2:]) == ("-1", "-2")
    assert second in str(loop.claim.job)


def test_a_refused_launch_is_made_once_the_quota_allows_it(loop: Loop) -> None:
    loop.cluster.put_quota(**{"count/jobs.batch": "0"})
    refused = loop.reconcile()
    assert refused.status == "refused"
    assert "raise the ResourceQuota" in refused.reason
    loop.cluster.core.delete_namespaced_resource_quota("quota", loop.cluster.namespace)
    assert eventually(lambda: loop.reconcile(forced=True).status == "launched", "the same attempt is launched")
    assert loop.cluster.jobs()[0].metadata.name.endswith("-1")


def test_the_real_job_killed_on_one_machine_ends_on_the_next(loop: Loop) -> None:
    loop.reconcile()
    first = loop.machine()
    first.wait_for("epoch")
    assert loop.jobs_of_cluster.status(str(loop.claim.job)).state == "running"
    first.process.kill()
    assert first.report_end() == -signal.SIGKILL
    loop.wait_until_it_is("failed")
    loop.renewed_a_while_ago()
    assert loop.reconcile(sweeping=True).status == "relaunched"
    assert (loop.claim.attempt, len(loop.cluster.jobs())) == (2, 2)
    second = loop.machine()
    reference = str(loop.claim.job)
    assert second.report_end() == 0, second.log[-3000:]
    assert '"event": "resumed"' in second.log
    eventually(lambda: loop.jobs_of_cluster.status(reference).state == "finished", "Complete")
    _assert_published(loop)


def test_a_job_that_goes_back_into_the_queue_is_its_own_next_attempt(loop: Loop) -> None:
    """As Kueue does when something more important comes. Here by a drained machine: 1.20 makes a new pod by itself."""
    loop.reconcile()
    first = loop.machine()
    first.wait_for("epoch")
    loop.cluster.core.delete_namespaced_pod(first.pod.metadata.name, loop.cluster.namespace)
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(300) == 143, first.log[-3000:]
    loop.cluster.kubelet_is_done_with(first.pod)
    assert (loop.claim.state, loop.claim.nonce) == ("running", None), "interrupted"
    loop.wait_until_it_is("queued")
    assert loop.reconcile(sweeping=True).status == "active"
    assert (loop.claim.state, loop.claim.attempt, len(loop.cluster.jobs())) == ("queued", 2, 1)
    second = loop.machine()
    assert second.report_end() == 0, second.log[-3000:]
    assert '"event": "resumed"' in second.log
    _assert_published(loop)


def test_a_pod_that_comes_back_before_a_sweep_does_nothing_and_the_run_goes_on(loop: Loop) -> None:
    loop.reconcile()
    reference = str(loop.claim.job)
    first = loop.cluster.pod(reference)
    loop.jobs.update(claims.interrupt, loop.job_runs(), "SIGTERM")
    loop.cluster.kubelet_is_done_with(first)
    second = loop.machine()
    assert second.report_end() == 0, second.log[-3000:]
    assert '"event": "nothing_to_do"' in second.log
    loop.wait_until_it_is("finished")
    loop.expire()
    assert loop.reconcile(sweeping=True).status == "relaunched"


def _assert_published(loop: Loop) -> None:
    record, registry = loop.jobs.read(), Registry(loop.store, UID)
    assert record.training is None
    assert record.last_run is not None
    # Four epochs learn so little that the gate may hold the version back.
    assert record.last_run.outcome in ("promoted", "rejected"), record.last_run.message
    assert [manifest.version for manifest in registry.versions("label")] == [1]
