"""Fakes that keep evidence, for the tests of train_trigger."""

import threading
from datetime import UTC, datetime

from functions.train_trigger.launchers import JobStatus
from shared.errors import LaunchError
from shared.labelstudio.api import ProjectState
from shared.labelstudio.requests import ProjectCounters
from shared.runs import TrainRequest

CREATED = datetime(2026, 1, 1, tzinfo=UTC)


class FakeLabelStudio:
    """Answers what the test says; remembers how often it was asked."""

    def __init__(self) -> None:
        self.annotations, self.changed, self.asked = 0, 0, 0
        self.created_at = CREATED
        self.error: Exception | None = None
        self.reachable = threading.Event()
        self.reachable.set()

    def project(self, project_id: int) -> ProjectState:
        self.asked += 1
        assert self.reachable.wait(60)
        if self.error:
            raise self.error
        counters = ProjectCounters(
            id=project_id,
            created_at=self.created_at,
            total_annotations_number=self.annotations,
            num_tasks_with_annotations=self.annotations,
        )
        return ProjectState(counters, datetime.now(UTC))

    def changed_tasks(self, project_id: int, since: datetime) -> int:
        return self.changed


class FakeLauncher:
    """Keeps what it was asked to launch and stop."""

    def __init__(self) -> None:
        self.launched: list[tuple[str, int]] = []
        self.stopped: list[str] = []
        self.state: JobStatus = "running"
        self.error: LaunchError | None = None

    def launch(self, request: TrainRequest, *, attempt: int) -> str:
        if self.error:
            raise self.error
        self.launched.append((request.run_id, attempt))
        return f"fake:{len(self.launched)}"

    def status(self, job: str) -> JobStatus:
        return self.state

    def stop(self, job: str) -> None:
        self.stopped.append(job)
