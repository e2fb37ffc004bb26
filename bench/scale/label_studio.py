"""Simulates Label Studio: growing annotations, slow answers, a limited number of requests at a time."""

import itertools
import random
from array import array
from bisect import bisect_right
from collections import Counter
from datetime import datetime, timedelta

from bench.scale.bucket import EPOCH
from bench.scale.clock import Clock, Core, Gate
from bench.scale.plan import Plan
from functions.train_trigger.schedule import Schedule
from shared.errors import LabelStudioError
from shared.labelstudio.api import ProjectState
from shared.labelstudio.requests import ProjectCounters

CREATED = datetime.fromisoformat("2025-12-01T00:00:00+00:00")
_CREATED = int(CREATED.timestamp())
_CALL_CPU = 0.0005  # seconds of our client in Python, measured
_TIMEOUT = 10.0  # seconds, of our client
_SPREAD = 0.3  # sigma of the lognormal distribution of latencies
_FAILURES = 1e-4  # part of the requests
_PAGE = 100  # tasks
_EXPORT_PAGES = 10  # of a job's export that are simulated: the first thousand tasks


def uid_of(number: int) -> str:
    """The uid of a project."""
    return f"{number}.{_CREATED}"


class Annotations:
    """The annotations of one project: their number, and the time of each change."""

    __slots__ = ("changes", "count", "due_at", "due_not_before", "trained_changes", "trained_count", "wanted")

    def __init__(self, count: int, changed: int) -> None:
        self.count = count
        self.changes = array("d", [-1.0] * changed)  # seconds; −1: before the simulation
        self.trained_changes: int | None = None if not count else 0  # in the last run's baseline; None: never trained
        self.trained_count = count - changed  # annotations in that baseline
        self.wanted = 0  # changes until the next training
        self.due_at: float | None = None  # when the training that is not launched yet became due; for checks only
        self.due_not_before = 0.0

    def changed_since(self, seconds: float) -> int:
        """Number of changes after that time."""
        return len(self.changes) - bisect_right(self.changes, seconds)


class LabelStudio:
    """The server."""

    def __init__(self, clock: Clock, plan: Plan) -> None:
        self.clock = clock
        self.random = random.Random(f"label studio {plan.seed}")
        self.requests: Counter[str] = Counter()
        self.slowest = 0.0
        self.failed = self.max_waiting = 0
        self._gate = Gate(clock, plan.label_studio_at_once)
        self._plan = plan
        self._schedule = Schedule(plan.min_annotations, plan.changed_share)
        self._median = plan.label_studio_median
        self.projects: dict[int, Annotations] = {}
        draw = random.Random(f"projects {plan.seed}")
        for number in range(1, plan.projects + 1):
            if draw.random() < plan.new_projects:
                self.projects[number] = Annotations(0, 0)
                for _ in range(draw.randrange(plan.min_annotations)):
                    self.annotate(number, update=False)
            else:
                wanted = self._schedule.changes(plan.tasks, plan.tasks)
                changed = draw.randrange(wanted)
                self.projects[number] = Annotations(plan.tasks + changed, changed)
                self.projects[number].wanted = wanted

    def annotate(self, number: int, *, update: bool) -> None:
        """Add an annotation, or update one."""
        project = self.projects[number]
        project.count += not update
        project.changes.append(self.clock.now)
        trained = project.trained_changes
        if trained is None and project.count == self._plan.min_annotations and not update:
            project.due_at = self.clock.now
        elif trained is not None and len(project.changes) - trained == project.wanted:
            project.due_at = self._due(project)
        elif project.due_at is not None:  # it may have doubled meanwhile
            project.due_at = min(project.due_at, self._due(project))

    def trained(self, number: int, changes: int, count: int) -> None:
        """A run ended; `changes`, `count`: changes and annotations in its data."""
        project = self.projects[number]
        project.trained_changes, project.trained_count = changes, count
        project.due_not_before = self.clock.now + self._plan.cool_down
        project.wanted = self._schedule.changes(count, count)
        enough = len(project.changes) - changes >= project.wanted
        project.due_at = self._due(project) if enough else None

    def _due(self, project: Annotations) -> float:
        doubled = self._schedule.has_doubled(project.trained_count, project.count)
        return self.clock.now if doubled else max(self.clock.now, project.due_not_before)

    def answer(self, kind: str) -> None:
        """Block for one request. Raises LabelStudioError."""
        clock, asked = self.clock, self.clock.now
        self.requests[kind] += 1
        self.max_waiting = max(self.max_waiting, len(self._gate))
        if not self._gate.enter(_TIMEOUT):
            self.failed += 1
            raise LabelStudioError(f"Label Studio did not answer within {_TIMEOUT:g} s")
        clock.sleep(self._median * self.random.lognormvariate(0, _SPREAD))
        self._gate.leave()
        self.slowest = max(self.slowest, clock.now - asked)
        if self.random.random() < _FAILURES:
            self.failed += 1
            raise LabelStudioError("Label Studio answers 502")

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return len(self._gate)


class Caller:
    """The client of one process, with the methods of `shared.labelstudio.api.LabelStudio` that are used."""

    def __init__(self, server: LabelStudio, core: Core) -> None:
        self._server = server
        self._core = core

    def project(self, project_id: int) -> ProjectState:
        """See shared.labelstudio.api.LabelStudio."""
        self._core.work(_CALL_CPU)
        read_at = EPOCH + timedelta(seconds=self._server.clock.now)
        self._server.answer("project")
        self._core.check()
        count = self._server.projects[project_id].count
        counters = ProjectCounters(
            id=project_id, created_at=CREATED, total_annotations_number=count, num_tasks_with_annotations=count
        )
        return ProjectState(counters, read_at)

    def changed_tasks(self, project_id: int, since: datetime) -> int:
        """See shared.labelstudio.api.LabelStudio; each change counts as another task."""
        self._core.work(_CALL_CPU)
        self._server.answer("tasks")
        self._core.check()
        return self._server.projects[project_id].changed_since((since - EPOCH).total_seconds())

    def unannotated_tasks(self, project_id: int, above: int) -> int:
        """See shared.labelstudio.api.LabelStudio; no project here gets predictions ahead."""
        raise NotImplementedError

    def export(self, project_id: int) -> None:
        """Read the annotated tasks in pages, without the small request for each task's annotations."""
        pages = self._server.projects[project_id].count // _PAGE + 1
        for _ in itertools.repeat(None, min(pages, _EXPORT_PAGES)):
            self._server.answer("export")
