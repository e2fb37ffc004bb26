"""Simulates a launcher that is slow, refuses, and sometimes launches twice."""

from typing import NoReturn

from bench.scale.clock import Core
from bench.scale.gpus import Gpus, Job
from functions.train_trigger.launchers import JobStatus
from shared.errors import LaunchError
from shared.state.runs import TrainRequest

_LAUNCH_MEDIAN, _STATUS_MEDIAN, _CALL_CPU = 0.15, 0.06, 0.0015  # seconds


class Launcher:
    """The launcher of one train_trigger process."""

    def __init__(self, gpus: Gpus, core: Core) -> None:
        self._gpus = gpus
        self._core = core

    def launch(self, request: TrainRequest, *, attempt: int) -> str:
        """See functions.train_trigger.launchers.Launcher."""
        gpus = self._gpus
        self._ask(_LAUNCH_MEDIAN)
        gpus.counts["launches asked for"] += 1
        if gpus.random.random() < gpus.plan.refused_launches:
            gpus.counts["launches refused"] += 1
            raise LaunchError("the quota is used up")
        gpus.checks.launched(request.project_uid, request.run_id)
        jobs = [gpus.submit(request, attempt)]
        if gpus.random.random() < gpus.plan.doubled_launches:
            gpus.counts["launches doubled"] += 1
            jobs.append(gpus.submit(request, attempt))
        return f"simulated:{jobs[-1].number}"

    def status(self, job: str) -> JobStatus:
        """See Launcher; of forgotten machines: failed."""
        self._ask(_STATUS_MEDIAN)
        self._gpus.counts["launcher asked for a state"] += 1
        found = self._job(job)
        return JobStatus(found.said or found.state)

    def tidy(self) -> None:
        """See Launcher; ended jobs leave nothing."""

    def stop(self, job: str) -> None:
        """See Launcher; only queued jobs are stopped."""
        self._ask(_STATUS_MEDIAN)
        self._gpus.stop(self._job(job))

    def logs(self, job: str) -> str:
        """See Launcher; there is no log."""
        return f"log of {job}"

    def check(self) -> NoReturn:
        """See Launcher; not simulated."""
        raise NotImplementedError

    def _ask(self, median: float) -> None:
        self._core.work(_CALL_CPU)
        self._gpus.clock.sleep(median * self._gpus.random.lognormvariate(0, 0.4))
        self._core.check()

    def _job(self, job: str) -> Job:
        return self._gpus.jobs[int(job.partition(":")[2])]
