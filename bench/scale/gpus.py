"""A pool of GPUs with a queue, and jobs that use claims and registry like `jobs.train`, with all its ways to end.

Claims and registry are the real code; training is only a pause.
"""

import functools
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from bench.scale.bucket import Bucket, SimulatedStore
from bench.scale.checks import Checks
from bench.scale.clock import Clock, Core
from bench.scale.label_studio import Caller, LabelStudio
from bench.scale.plan import Plan
from functions.train_trigger.launchers import JobState
from shared.errors import ClaimLost, LabelloopError, LabelStudioError, PreconditionFailed, StoreError
from shared.state import claims, keys
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim
from shared.state.registry import Registry
from shared.state.runs import Baseline, Progress, RunPhase, Totals, TrainRequest
from shared.state.versions import Gate, Manifest

CONTROL = "label"
LIFETIME, LONGEST_RUN = 600.0, 6 * 3600.0
_BEAT = 60.0  # seconds between renewals
_EPOCH = 30.0  # seconds
_REJECTED = 0.1  # part of the versions that the gate rejects
_NOTICED = 20.0  # seconds at most until the launcher notices a lost machine


@dataclass(eq=False, slots=True)
class Job:
    """One copy of one launch."""

    number: int
    request: TrainRequest
    attempt: int
    state: JobState = "queued"
    said: JobState | None = None  # what the launcher reports instead


@dataclass(slots=True)
class Work:
    """The state of one run over its attempts."""

    left: float  # seconds of training after the newest checkpoint
    baseline: Baseline | None = None
    changes: int = 0  # in its data


@dataclass(eq=False)
class Gpus:
    """The pool."""

    clock: Clock
    plan: Plan
    bucket: Bucket
    label_studio: LabelStudio
    checks: Checks
    counts: Counter[str] = field(default_factory=Counter)
    longest_queue: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(f"gpus {self.plan.seed}")
        self.jobs: list[Job] = []
        self.work: dict[str, Work] = {}
        self._free, self._busy, self._changed = self.plan.gpus, 0.0, 0.0
        self._queue: deque[Job] = deque()

    @property
    def idle(self) -> bool:
        """Whether no job runs or waits."""
        return self._free == self.plan.gpus and not self._queue

    def busy_seconds(self) -> float:
        """Seconds in use up to now, summed over all GPUs."""
        now = self.clock.now
        self._busy += (self.plan.gpus - self._free) * (now - self._changed)
        self._changed = now
        return self._busy

    def submit(self, request: TrainRequest, attempt: int) -> Job:
        """Queue a job."""
        job = Job(len(self.jobs), request, attempt)
        self.jobs.append(job)
        self._queue.append(job)
        self.longest_queue = max(self.longest_queue, len(self._queue))
        self._dispatch()
        return job

    def stop(self, job: Job) -> None:
        """Remove a job from the queue; a running one goes on until it loses its claim."""
        if job in self._queue:
            self._queue.remove(job)
            job.state = "failed"

    def _dispatch(self) -> None:
        while self._free and self._queue:
            self.busy_seconds()
            self._free -= 1
            job = self._queue.popleft()
            job.state = "running"
            self.clock.spawn(self._run, job)

    def _run(self, job: Job) -> None:
        self.clock.sleep(self.plan.start_median * self.random.lognormvariate(0, 0.3))
        job.state = _Attempt(self, job).run()
        self.counts[f"jobs {job.state}"] += 1
        self.busy_seconds()
        self._free += 1
        self._dispatch()


class _Killed(Exception):
    """The machine was lost."""


class _Stopped(Exception):
    """The job got SIGTERM."""


class _Attempt:
    """One job process on a GPU."""

    def __init__(self, gpus: Gpus, job: Job) -> None:
        self._gpus, self._job = gpus, job
        core = Core(gpus.clock)
        self._store = SimulatedStore(gpus.bucket, core)
        self._jobs = Jobs(self._store, job.request.project_uid)
        self._registry = Registry(self._store, job.request.project_uid)
        self._label_studio = Caller(gpus.label_studio, core)
        self._project = int(job.request.project_uid.partition(".")[0])
        self._nonce = f"nonce-{job.number}"

    def run(self) -> Literal["finished", "failed"]:
        gpus, run_id = self._gpus, self._job.request.run_id
        try:
            claim = self._patiently(self._jobs.update, claims.start, run_id, nonce=self._nonce, lifetime=LIFETIME).held
        except ClaimLost:
            gpus.counts["second copies that ended at once"] += 1
            return "finished"
        gpus.checks.started(self._job.request.project_uid, run_id, self._nonce)
        try:
            self._train(claim)
            return "finished"
        except ClaimLost:
            gpus.counts["attempts that lost their claim"] += 1
            return "finished"
        except _Killed:
            gpus.counts["attempts killed"] += 1
            gpus.clock.sleep(_NOTICED * gpus.random.random())
            return "failed"
        except _Stopped:
            gpus.counts["attempts pre-empted"] += 1
            self._interrupt(claim, "SIGTERM", preempted=True)
            return "failed"
        except LabelStudioError as error:
            gpus.counts["attempts failed"] += 1
            self._interrupt(claim, str(error), preempted=False)
            return "failed"
        finally:
            gpus.checks.ended(self._job.request.project_uid, self._nonce)

    def _train(self, claim: Claim) -> None:
        gpus, clock, run_id = self._gpus, self._gpus.clock, claim.run_id
        work = gpus.work.get(run_id)
        if work is None:
            work = gpus.work[run_id] = Work(gpus.plan.run_median * gpus.random.lognormvariate(0, 0.5))
        if work.baseline is None:
            self._export(work)
            self._tell(claim, "train")
        pre_empted = clock.now + self._after(gpus.plan.spot_losses)
        killed = clock.now + self._after(gpus.plan.kills)
        forgotten = clock.now + self._after(gpus.plan.zombies)
        beat, epoch = clock.now + _BEAT, clock.now + _EPOCH
        done = clock.now + work.left
        while clock.now < done:
            clock.sleep(max(0.0, min(beat, epoch, pre_empted, killed, forgotten, done) - clock.now))
            if clock.now >= killed:
                raise _Killed
            if clock.now >= pre_empted:
                raise _Stopped
            if clock.now >= forgotten:
                forgotten = float("inf")
                self._job.said = "failed"
                gpus.counts["machines forgotten by the launcher"] += 1
                gpus.checks.forgotten(self._nonce)
            if clock.now >= beat:
                beat += _BEAT
                self._beat(claim)
            if clock.now >= epoch:
                epoch += _EPOCH
                self._checkpoint(claim)
                work.left = max(0.0, done - clock.now)
        work.left = 0.0
        self._finish(claim, work)

    def _export(self, work: Work) -> None:
        project = self._gpus.label_studio.projects[self._project]
        changes = len(project.changes)
        state = self._label_studio.project(self._project)
        self._label_studio.export(self._project)
        totals = Totals.of(state.counters)
        work.baseline = Baseline(totals=totals, read_at=state.read_at, digest=f"{changes:064d}")
        work.changes = changes

    def _finish(self, claim: Claim, work: Work) -> None:
        good = self._gpus.random.random() >= _REJECTED
        self._confirm(claim)
        build = functools.partial(
            manifest_of, run_id=claim.run_id, fence=claim.fence, created_at=self._store.now(), passed=good
        )
        manifest = self._patiently(self._registry.publish, CONTROL, build)
        while manifest.gate.passed:
            self._confirm(claim)
            champion = self._patiently(self._registry.pointer, CONTROL)
            try:
                self._patiently(
                    self._registry.promote, CONTROL, manifest.version, fence=claim.fence, run_id=claim.run_id,
                    expected=champion.version if champion else None,
                )  # fmt: skip
            except PreconditionFailed:
                continue
            break
        outcome: Literal["promoted", "rejected"] = "promoted" if manifest.gate.passed else "rejected"
        self._patiently(self._jobs.update, claims.release, claim, outcome=outcome, baseline=work.baseline)
        assert work.baseline is not None
        read = work.baseline.totals.total_annotations_number
        self._gpus.label_studio.trained(self._project, work.changes, read)
        self._gpus.counts[f"runs {outcome}"] += 1
        self._tell(claim, "finished")

    def _beat(self, claim: Claim) -> None:
        try:
            self._jobs.update(claims.renew, claim, lifetime=LIFETIME, longest_run=LONGEST_RUN)
        except StoreError:
            self._gpus.counts["heartbeats failed"] += 1

    def _confirm(self, claim: Claim) -> None:
        self._patiently(self._jobs.update, claims.renew, claim, lifetime=LIFETIME, longest_run=LONGEST_RUN)

    def _checkpoint(self, claim: Claim) -> None:
        folder = keys.checkpoints(self._jobs.uid, claim.run_id, CONTROL)
        key = f"{folder}/{keys.checkpoint_index(claim.attempt)}"
        self._patiently(self._store.put, key, b"{}")
        self._tell(claim, "train")

    def _tell(self, claim: Claim, phase: RunPhase) -> None:
        progress = Progress(phase=phase, attempt=claim.attempt, updated_at=self._store.now())
        self._patiently(self._jobs.runs.write_progress, claim.run_id, progress)

    def _interrupt(self, claim: Claim, error: str, *, preempted: bool) -> None:
        try:
            got_further = self._jobs.runs.kept_an_epoch(claim.run_id, claim.attempt)
            self._jobs.update(claims.interrupt, claim, error, preempted=preempted, got_further=got_further)
        except LabelloopError:
            self._gpus.counts["interrupts that could not be said"] += 1

    def _patiently(self, ask: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Retry during an outage, as Heartbeat.patiently."""
        while True:
            try:
                return ask(*args, **kwargs)
            except PreconditionFailed:
                raise
            except StoreError:
                self._gpus.clock.sleep(1 + 10 * self._gpus.random.random())

    def _after(self, rate: float) -> float:
        """Random seconds to the next of `rate` events an hour."""
        return self._gpus.random.expovariate(rate / 3600) if rate else float("inf")


def manifest_of(number: int, *, run_id: str, fence: int, created_at: datetime, passed: bool) -> Manifest:
    """A version without files."""
    gate = Gate(metric="mAP50-95", challenger=0.5, champion=0.4, champion_version=None, passed=passed, reason="drawn")
    return Manifest(
        version=number, control=CONTROL, yolo_task="detect", labels=("Tree",), files=(), metrics={}, gate=gate,
        lineage={}, run_id=run_id, fence=fence, created_at=created_at,
    )  # fmt: skip
