"""A prelabelling beside a Label Studio in memory, in which a process can be killed at any request."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from jobs.prelabel.parts import Parts
from jobs.prelabel.ports import WHOLE, Page, Part
from jobs.prelabel.run import run
from shared.errors import StoreError
from shared.labelstudio.api import ProjectState
from shared.labelstudio.controls import Control
from shared.labelstudio.requests import PredictRequest, ProjectCounters, Task
from shared.objectstore import ObjectStore
from shared.prediction.unanswered import Unanswered
from shared.settings import Settings
from shared.state import claims, launches
from shared.state.budget import NO_BUDGET, Budget
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.projects import write_project

UID = "7.1700000000"
CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Tree"/></RectangleLabels></View>'
)
PAGE = 150
"""Tasks: more than a batch of predictions."""


class Killed(BaseException):
    """kill -9: no code of the process runs afterwards that others could see."""


@dataclass
class LabelStudioInMemory:
    """A `jobs.prelabel.ports.Target`."""

    tasks: list[int]
    predictions: list[tuple[int, str]] = field(default_factory=list)  # (task, model_version)
    renewed: dict[int, dict[str, Any]] = field(
        default_factory=dict
    )  # task → what replaced the result of its prediction
    model_version: str = "labelloop"
    ordered: str = "Sequential sampling"
    handed_out: int = 0  # times that this was set
    looked_after: list[int] = field(default_factory=list)  # the task, at each listing
    kept: list[set[str]] = field(default_factory=list)  # versions, at each pruning
    pruned: list[set[str]] = field(default_factory=list)  # controls, at each pruning
    before: Callable[[str], None] = lambda _: None  # called with each request's name before and after it happens

    def state(self) -> ProjectState:
        self.before("state")
        created = datetime.fromtimestamp(1700000000, UTC)
        return ProjectState(ProjectCounters(id=7, label_config=CONFIG, created_at=created), created)

    def waiting(self, after: int) -> int:
        return sum(task > after for task in self.tasks)

    def pages(self, version: str, after: int, part: Part = WHOLE, *, renewing: bool = False) -> Iterator[Page]:
        self.looked_after.append(after)
        while page := [task for task in sorted(self.tasks) if task > after][:PAGE]:
            self.before("page")
            after = page[-1]
            ours = [task for task in page if part.holds(task)]
            there = {task for task in ours if (task, version) in self.predictions}
            wanted = [Task(id=task) for task in ours if renewing or task not in there]
            yield Page(wanted, after, len(ours), there.intersection(task.id for task in wanted if task.id))

    def store(self, predictions: Sequence[dict[str, Any]], *, renewing: bool = False) -> int:
        self.before("store")
        for one in predictions:
            name = (one["task"], one["model_version"])
            if renewing and name in self.predictions:
                self.renewed[one["task"]] = one
            else:
                self.predictions.append(name)
        self.before("stored")
        return len(predictions)

    def show(self, version: str) -> bool:
        self.before("show")
        there = any(found == version for _, found in self.predictions)
        self.model_version = version if there else self.model_version
        return there

    def sampling(self) -> str:
        self.before("sampling")
        return self.ordered

    def hand_out(self, sampling: str) -> None:
        self.before("hand_out")
        self.handed_out += 1
        self.ordered = sampling
        self.before("handed_out")

    def prune(self, keep: Collection[str], controls: Sequence[str]) -> int:
        self.before("prune")
        self.kept.append(set(keep))
        self.pruned.append(set(controls))
        return 0


@dataclass
class FixedVersion:
    """A `jobs.prelabel.parts.Models`."""

    served: str = "label:v1"
    outages: int = 0  # of the store, at the next questions

    def choose(self, controls: Sequence[Control]) -> str:
        return self.served

    def version(self, controls: Sequence[Control]) -> str:
        if self.outages:
            self.outages -= 1
            raise StoreError("the store does not answer")
        return self.served


@dataclass
class Prelabelling:
    """One project, and the jobs that write its predictions."""

    store: ObjectStore
    studio: LabelStudioInMemory
    models: FixedVersion = field(default_factory=FixedVersion)
    broken: set[int] = field(default_factory=set)  # tasks whose image cannot be had
    asked: list[int] = field(default_factory=list)  # tasks that a model saw
    seconds: float = 0.0  # that a page may take
    runs: int = 0
    settings: Settings = field(default_factory=Settings)
    budget: Budget = NO_BUDGET
    reason: str = "not_found"  # for which broken tasks have no prediction
    predicting: Callable[[int], None] = lambda _: None  # called with each task that a model sees

    def __post_init__(self) -> None:
        self.connect()

    def connect(self, *, push: bool = True) -> None:
        """What `labelloop connect` and `disconnect` note in the store."""
        write_project(self.store, UID, label_config=CONFIG, push=push)

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.store, UID, prelabelling=True)

    @property
    def record(self) -> JobsRecord:
        return Jobs(self.store, UID).read()

    def begin(self, workers: int = 1, *, under: str = "") -> str:
        """A claim, as the trigger takes it."""
        self.runs += 1
        run_id = f"run-{self.runs}"
        self.jobs.update(claims.take, run_id, lifetime=600, kind="prelabel", forced=True, workers=workers, under=under)
        return run_id

    def attempt(self, run_id: str, nonce: str = "n") -> int:
        failed: list[int] = []
        parts = Parts(
            store=self.store,
            project_uid=UID,
            target=self.studio,
            models=self.models,
            predict=partial(self._predict, failed),
            reasons=lambda: {self.reason: len(failed)} if failed else {},
            settings=self.settings,
            budget=self.budget,
            pause=0.01,
        )
        return run(parts, run_id, nonce=nonce)

    def next_attempt(self) -> str:
        """Take over, as the trigger does once the claim has expired."""
        claim = self.jobs.read().held
        self.jobs.update(launches.next_attempt, claim, lifetime=600, error="the job was killed")
        return claim.run_id

    def _predict(self, failed: list[int], call: PredictRequest, deadline: float) -> Iterator[Any]:
        self.seconds = deadline - time.monotonic()
        for task in call.tasks:
            assert task.id is not None
            self.asked.append(task.id)
            self.predicting(task.id)
            version = self.models.served
            failed += [task.id] if task.id in self.broken else []
            yield (
                Unanswered(self.reason, "")
                if task.id in self.broken
                else {"result": [], "score": 0.5, "model_version": version}
            )
