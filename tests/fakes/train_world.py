"""One project with everything around the job that trains for it."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.train.data.annotations import ExportedTask
from jobs.train.experiment_tracker import NoTracker, Tracker
from jobs.train.parts import Parts
from jobs.train.run import run
from shared.errors import ImageError, ModelError
from shared.labelstudio.api import ProjectState
from shared.labelstudio.requests import ProjectCounters
from shared.objectstore import ObjectStore
from shared.state import launches
from shared.state.budget import NO_BUDGET
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim
from shared.state.registry import Registry
from shared.state.versions import REPORT
from tests.fakes.train_parts import (
    CONFIG,
    CREATED,
    UID,
    ToyTrainer,
    annotation,
    begin_run,
    jpeg,
    rectangle,
    settings_for,
)

TWO_CONTROLS = CONFIG.replace(
    "</View>", '<RectangleLabels name="second" toName="img"><Label value="Bird"/></RectangleLabels></View>'
)
CHOICES = '<Choices name="kind" toName="img"><Choice value="Oak"/><Choice value="Fir"/></Choices>'
"""A control of the labeling config, beside those of CONFIG."""


class Studio:
    """A project and its tasks; remembers how often it was exported."""

    def __init__(self, count: int = 40) -> None:
        self.all = [
            ExportedTask(number, {"image": f"x{number}"}, (annotation(number, [rectangle()]),))
            for number in range(1, count)
        ]
        self.config = CONFIG
        self.error: Exception | None = None
        self.exports = 0
        self.fetched: list[int | None] = []
        self.shown: list[str] = []
        self.away: dict[int | None, str] = {}  # task → the reason why its image cannot be had

    def project(self, project_id: int) -> ProjectState:
        if self.error:
            raise self.error
        return ProjectState(ProjectCounters(id=1, created_at=CREATED, label_config=self.config), CREATED)

    def shown_versions(self, project_id: int) -> list[str]:
        return self.shown

    def tasks(self, project_id: int, is_same: Callable[[int, str], bool]) -> Iterator[ExportedTask]:
        self.exports += 1
        yield from self.all

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        self.fetched.append(task_id)
        if task_id in self.away:
            raise ImageError(self.away[task_id], f"it is {self.away[task_id]}")
        return jpeg()


class World:
    """One project with everything around it."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.store = store
        self.studio = Studio()
        self.trainer = ToyTrainer()
        self.jobs = Jobs(store, UID)
        self.registry = Registry(store, UID)
        self.settings: dict[str, object] = {}
        self.budget = NO_BUDGET
        self.tracker: Tracker = NoTracker()
        self.image_key: Callable[[str], str] | None = None
        self._folder = folder

    def run(self, claim: Claim, store: ObjectStore | None = None, nonce: str = "") -> int:
        parts = Parts(
            store=store or self.store,
            project_uid=UID,
            exporter=self.studio,
            images=self.studio,
            videos=self.studio,
            trainer=self.trainer,
            settings=settings_for("http://label-studio.test", self._folder, **self.settings),
            folder=self._folder / "work" / claim.run_id,
            budget=self.budget,
            tracker=self.tracker,
            image_key=self.image_key,
        )
        return run(parts, claim.run_id, nonce=nonce or secrets.token_hex(4))

    def new_run(self, **settings: Any) -> int:
        self.claim = begin_run(self.store, **{"epochs": 4, "val_fraction": 0.4, **settings})
        return self.run(self.claim)

    def next_attempt(self) -> int:
        claim = self.jobs.read().training
        assert claim
        return self.run(self.jobs.update(launches.next_attempt, claim, lifetime=600, error="test").held)

    @property
    def outcome(self) -> str | None:
        last = self.jobs.read().last_run
        return last.outcome if last else None

    @property
    def message(self) -> str:
        last = self.jobs.read().last_run
        return last.message if last else ""

    def served(self, control: str = "label") -> int | None:
        pointer = self.registry.pointer(control)
        return pointer.version if pointer else None

    def progress(self) -> Any:
        return self.jobs.runs.progress(self.claim.run_id)


def bad_weights(*_: Any, **__: Any) -> Any:
    """In place of a trainer's `base`."""
    raise ModelError("set other weights")


def report_of(world: World, version: int, folder: Path) -> str:
    """The page of a version, as HTML."""
    world.registry.download_file("label", world.registry.manifest("label", version).file(REPORT), folder / REPORT)
    return (folder / REPORT).read_text()


def with_birds(world: World) -> None:
    """Every task has a region of each of two controls now."""
    for place, one in enumerate(world.studio.all):
        both = annotation(one.id, [rectangle(), rectangle("Bird", control="second")], updated_at="2026-05-01T00:00:00Z")
        world.studio.all[place] = replace(one, annotations=(both,))
