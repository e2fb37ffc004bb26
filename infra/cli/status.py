"""What `labelloop status` shows: projects as the store knows them, without Label Studio and without the functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from infra.cli.next_training import NextTraining, next_training
from infra.cli.projects import read_known
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.side_by_side import side_by_side
from shared.state.budget import NOTHING_USED, Budget, Limit, Used, used_by
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.projects import Connection, with_overrides
from shared.state.registry import Registry
from shared.state.runs import Progress, Writing
from shared.state.spending import used_in_store
from shared.state.versions import Gate
from shared.yolo_task import YoloTask

_AT_ONCE = 24  # requests to the store


@dataclass(frozen=True, slots=True)
class ControlStatus:
    """One control: what its pointer names and what is served."""

    name: str
    yolo_task: YoloTask | None
    labels: tuple[str, ...]
    pointer: int | None  # the version that the pointer names
    moved_at: datetime | None
    moved_by: str | None  # "promote" or "rollback"
    serving: int | None  # differs from the pointer if that version failed verification, or is for another YOLO task
    other_task: str | None  # the version's YOLO task, if the labeling config asks for another one now
    versions: int  # number of versions
    metrics: dict[str, float]  # of the version that is served
    gate: Gate | None  # of that version

    def as_json(self) -> dict[str, Any]:
        """The control for scripts."""
        return {
            "control": self.name,
            "yolo_task": self.yolo_task,
            "labels": list(self.labels),
            "pointer": self.pointer,
            "moved_at": self.moved_at.isoformat() if self.moved_at else None,
            "moved_by": self.moved_by,
            "serving": self.serving,
            "other_task": self.other_task,
            "versions": self.versions,
            "metrics": self.metrics,
            "gate": self.gate.model_dump(mode="json") if self.gate else None,
        }


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """One project: its controls, its record of jobs and the progress of a run."""

    uid: str
    title: str
    connection: Connection
    not_understood: tuple[str, ...]  # what of the labeling config is ignored
    controls: tuple[ControlStatus, ...]
    jobs: JobsRecord
    progress: Progress | None  # of the active run, else of the last one
    next_training: NextTraining | None  # None: a run is active, or no training starts by itself
    limits: tuple[Limit, ...]  # of the time that jobs may run
    writing: Writing | None  # how far the active run is that writes predictions ahead
    read_at: datetime  # the store's clock

    def as_json(self) -> dict[str, Any]:
        """The project for scripts. `run` is null while none is active."""
        claim, last_run = self.jobs.training, self.jobs.last_run
        ahead, last_ahead = self.jobs.prelabel, self.jobs.last_prelabel
        writing = self.writing.model_dump(mode="json") if self.writing else None
        progress = self.progress.model_dump(mode="json") if self.progress else None
        today, month = used_by(self.jobs.used, self.read_at)
        return {
            "uid": self.uid,
            "title": self.title,
            "connection": self.connection,
            "closed": self.jobs.closed,
            "not_understood": list(self.not_understood),
            "controls": [control.as_json() for control in self.controls],
            "run": claim.model_dump(mode="json", exclude={"nonce"}) | {"progress": progress} if claim else None,
            "next_run": self.jobs.next_run,
            "next_training": self.next_training.as_json() if self.next_training else None,
            "last_run": last_run.model_dump(mode="json") if last_run else None,
            "minutes_used": {"day": round(today / 60, 1), "month": round(month / 60, 1)},
            "limits": [limit.as_json() for limit in self.limits],
            "prelabel": ahead.model_dump(mode="json", exclude={"nonce"}) | {"progress": writing} if ahead else None,
            "last_prelabel": last_ahead.model_dump(mode="json") if last_ahead else None,
            "prelabelled": self.jobs.prelabelled.model_dump(mode="json") if self.jobs.prelabelled else None,
        }


def read_statuses(store: ObjectStore, uids: Sequence[str], settings: Settings) -> list[ProjectStatus]:
    """Read several projects at once. `settings`: those that trainings are started by. Raises StoreError."""
    each = max(_AT_ONCE // max(len(uids), 1), 1)
    in_store = used_in_store(store) if Budget.of(settings).of_store else {}
    return side_by_side(lambda uid: read_status(store, uid, settings, in_store, at_once=each), uids, at_once=_AT_ONCE)


def read_status(
    store: ObjectStore, uid: str, settings: Settings, in_store: Used = NOTHING_USED, *, at_once: int = _AT_ONCE
) -> ProjectStatus:
    """Read one project, `at_once` controls at a time; its versions are counted, not read. Raises StoreError.

    `in_store`: what the jobs of all projects have used.
    """
    known, now = read_known(store, uid), store.now()
    own = with_overrides(settings, known.project)
    registry, jobs = Registry(store, uid), Jobs(store, uid)
    record = jobs.read()
    idle = not (record.training or record.closed or known.connection == "none")
    tasks = {control.name: control.yolo_task for control in known.controls}
    names = list(tasks) + [name for name in registry.controls() if name not in tasks]
    writing = jobs.runs.writing() if record.prelabel else None
    run_id = record.training.run_id if record.training else record.last_run.run_id if record.last_run else None
    return ProjectStatus(
        uid=uid,
        title=known.title,
        connection=known.connection,
        not_understood=known.not_understood,
        controls=tuple(
            side_by_side(lambda name: _read_control(registry, name, tasks.get(name)), names, at_once=at_once)
        ),
        jobs=record,
        progress=jobs.runs.progress(run_id) if run_id else None,
        next_training=next_training(record, known.project, settings, now) if idle else None,
        limits=tuple(Budget.of(own).limits(record.used, in_store, now, longest_run=own.longest_run)),
        writing=writing if writing and record.prelabel and writing.run_id == record.prelabel.run_id else None,
        read_at=now,
    )


def _read_control(registry: Registry, name: str, yolo_task: YoloTask | None) -> ControlStatus:
    pointer, serving = registry.look(name)
    other_task = serving.yolo_task if serving and yolo_task not in (None, serving.yolo_task) else None
    if other_task:  # predict does not serve it either
        serving = None
    return ControlStatus(
        name=name,
        yolo_task=serving.yolo_task if serving else yolo_task,
        labels=serving.labels if serving else (),
        pointer=pointer.version if pointer else None,
        moved_at=pointer.moved_at if pointer else None,
        moved_by=pointer.reason if pointer else None,
        serving=serving.version if serving else None,
        other_task=other_task,
        versions=len(registry.numbers(name)),
        metrics=serving.metrics if serving else {},
        gate=serving.gate if serving else None,
    )
