"""Fakes that keep evidence, and a trigger between them, for the tests of train_trigger."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from functions.train_trigger.launchers import JobState, JobStatus, Launcher
from functions.train_trigger.metrics import Metrics
from functions.train_trigger.reconciled import Reconciled
from functions.train_trigger.trigger import Trigger
from shared.errors import LabelStudioError, LaunchError
from shared.evolve import evolve
from shared.labelstudio.api import ProjectState
from shared.labelstudio.requests import ProjectCounters
from shared.objectstore import ObjectStore
from shared.objectstore.file import FileStore
from shared.settings import Settings
from shared.state import claims, keys
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, JobsRecord
from shared.state.runs import Baseline, Totals, TrainRequest

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = (
    '<View><Image name="image" value="$image"/>'
    '<RectangleLabels name="label" toName="image"><Label value="Tree"/></RectangleLabels></View>'
)
UID = f"1.{int(CREATED.timestamp())}"


class FakeLabelStudio:
    """Answers what the test says; remembers how often it was asked."""

    def __init__(self) -> None:
        self.annotations, self.changed, self.asked = 0, 0, 0
        self.tasks: list[int] = []  # ids of those without annotations
        self.created_at = CREATED
        self.label_config = CONFIG
        self.error: Exception | None = None
        self.broken: set[int] = set()  # projects
        self.reachable = threading.Event()
        self.reachable.set()

    def project(self, project_id: int) -> ProjectState:
        self.asked += 1
        assert self.reachable.wait(60)
        if self.error:
            raise self.error
        if project_id in self.broken:
            raise LabelStudioError("broken")
        counters = ProjectCounters(
            id=project_id,
            created_at=self.created_at,
            label_config=self.label_config,
            total_annotations_number=self.annotations,
            num_tasks_with_annotations=self.annotations,
        )
        return ProjectState(counters, datetime.now(UTC))

    def changed_tasks(self, project_id: int, since: datetime) -> int:
        return self.changed

    def unannotated_tasks(self, project_id: int, above: int) -> int:
        return sum(task > above for task in self.tasks)


class FakeLauncher:
    """Keeps what it was asked to launch and stop."""

    def __init__(self) -> None:
        self.launched: list[tuple[str, int]] = []
        self.requests: list[TrainRequest] = []
        self.stopped: list[str] = []
        self.state: JobState = "running"
        self.why, self.stuck = "", False
        self.tidied = 0
        self.error: LaunchError | None = None

    def launch(self, request: TrainRequest, *, attempt: int) -> str:
        if self.error:
            raise self.error
        self.launched.append((request.run_id, attempt))
        self.requests.append(request)
        return f"fake:{len(self.launched)}"

    def status(self, job: str) -> JobStatus:
        return JobStatus(self.state, self.why, self.stuck)

    def tidy(self) -> None:
        self.tidied += 1

    def stop(self, job: str) -> None:
        self.stopped.append(job)

    def logs(self, job: str) -> str:
        return f"log of {job}"

    def check(self) -> str:
        return "a launcher that keeps evidence"


class World:
    """A store, a Label Studio, a launcher and a trigger between them."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.store = FileStore(f"file://{folder}")
        self.label_studio, self.launcher, self.metrics = FakeLabelStudio(), FakeLauncher(), Metrics()
        self.settings = evolve(Settings(), store=self.store.url, attempts=3, **settings)
        self.trigger = self.another_trigger()
        self.jobs = Jobs(self.store, UID)

    def another_trigger(self, store: ObjectStore | None = None, launcher: Launcher | None = None) -> Trigger:
        return Trigger(store or self.store, self.label_studio, launcher or self.launcher, self.settings, self.metrics)

    @property
    def claim(self) -> Claim:
        claim = self.jobs.read().training
        assert claim is not None
        return claim

    def reconcile(self, **how: bool) -> Reconciled:
        return self.trigger.reconcile(UID, **how)

    def change_claim(self, **values: Any) -> None:
        def change(record: JobsRecord, _now: datetime) -> JobsRecord:
            assert record.training is not None
            return evolve(record, training=evolve(record.training, **values))

        self.jobs.update(change)

    def expire(self, *, ago: float = 60) -> None:
        self.change_claim(expires_at=self.store.now() - timedelta(seconds=ago))

    def job_runs(self, nonce: str = "n") -> Claim:
        """What the job does first."""
        return self.jobs.update(claims.start, self.claim.run_id, nonce=nonce, lifetime=600).held

    def keeps_an_epoch(self, claim: Claim) -> None:
        """What the job does after an epoch."""
        key = f"{keys.checkpoints(UID, claim.run_id, 'label')}/{keys.checkpoint_index(claim.attempt)}"
        self.store.put(key, b"{}")

    def job_ends(self, claim: Claim, outcome: Any = "promoted") -> None:
        """What the job does last."""
        totals = Totals(
            total_annotations_number=self.label_studio.annotations,
            num_tasks_with_annotations=self.label_studio.annotations,
        )
        self.jobs.update(
            claims.release, claim, outcome=outcome, baseline=Baseline(totals=totals, read_at=datetime.now(UTC))
        )
