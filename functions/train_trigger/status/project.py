"""Projects as the store knows them, in three rounds of questions that are asked side by side.

Label Studio is asked beside them, if at all, how much is annotated now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from functions.train_trigger.status.counting import Count, Counted
from functions.train_trigger.status.history import History, Version, read_history_and
from functions.train_trigger.status.known import read_known
from functions.train_trigger.status.model_checks import silent
from functions.train_trigger.status.next_training import NextTraining, next_training
from shared.errors import NotFound, StoreRefusal
from shared.labelstudio.controls import Control
from shared.objectstore import ObjectStore
from shared.price import Price
from shared.settings import Settings
from shared.side_by_side import AT_ONCE, both, side_by_side
from shared.state.base_weights import BaseWeights, find_base_weights
from shared.state.budget import NOTHING_USED, Budget, Limit, Used, used_by
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord, LastRun
from shared.state.projects import Connection, Project, with_overrides
from shared.state.registry import ReadManifest, Registry
from shared.state.runs import Progress, Writing
from shared.state.spending import used_in_store
from shared.state.versions import Gate, Manifest
from shared.yolo.base_weights import base_weights_for
from shared.yolo_task import YoloTask


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
    silent: str  # why nothing is predicted, every task being answered empty; empty: something can be
    versions: int  # number of versions
    metrics: dict[str, float]  # of the version that is served
    gate: Gate | None  # of that version
    annotated: dict[str, int] | None  # label → annotated tasks that the last run read; None: none has counted them
    base: BaseWeights | None  # the base weights as the store has them; None: it lacks them, or a version is served
    control: Control | None = None  # as the labeling config has it; None: it has it no more
    manifest: Manifest | None = None  # of the version that is served
    newest: tuple[Version, ...] = ()  # those that were asked for, oldest first
    unreadable: tuple[str, ...] = ()  # a sentence for each record that is no valid one, of those that were asked for
    known: bool = True  # False: it is not known what is served, as the pointer or its version is no valid record

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
            "silent": self.silent or None,
            "versions": self.versions,
            "metrics": self.metrics,
            "gate": self.gate.model_dump(mode="json") if self.gate else None,
            "annotated": self.annotated,
            "unreadable": list(self.unreadable),
        }


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """One project: its controls, its record of jobs and the progress of a run."""

    uid: str
    title: str
    record: Project | None  # None: nobody has set it up yet
    known: bool  # somebody set it up, or a run was started for it
    push: bool  # predictions are written ahead
    connection: Connection
    not_understood: tuple[str, ...]  # what of the labeling config is ignored
    controls: tuple[ControlStatus, ...]
    jobs: JobsRecord
    progress: Progress | None  # of the active run, else of the last one
    next_training: NextTraining | None  # None: a run is active, or no training starts by itself
    limits: tuple[Limit, ...]  # of the time that jobs may run
    writing: Writing | None  # how far the active run is that writes predictions ahead
    price: Price | None  # of an hour that jobs run, as it is set now
    read_at: datetime  # the store's clock

    @property
    def served(self) -> list[tuple[Control, Manifest | None]]:
        """The controls of the labeling config, each with the version that is served, as far as that can be read."""
        return [(one.control, one.manifest) for one in self.controls if one.control and one.known]

    @property
    def unreadable(self) -> list[str]:
        """A sentence for each record of its controls that is no valid one."""
        return list(dict.fromkeys(sentence for control in self.controls for sentence in control.unreadable))

    def as_json(self) -> dict[str, Any]:
        """The project for scripts. `run` is null while none is active."""
        claim, last_run = self.jobs.training, self.jobs.last_run
        ahead, last_ahead = self.jobs.prelabel, self.jobs.last_prelabel
        writing = self.writing.model_dump(mode="json") if self.writing else None
        progress = self.progress.model_dump(mode="json") if self.progress else None
        (today, month), price = used_by(self.jobs.used, self.read_at), self.price
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
            "last_run": _ended(last_run),
            "minutes_used": {"day": round(today / 60, 1), "month": round(month / 60, 1)},
            "cost": {"day": price.cost(today).as_json(), "month": price.cost(month).as_json()} if price else None,
            "limits": [limit.as_json() for limit in self.limits],
            "prelabel": ahead.model_dump(mode="json", exclude={"nonce"}) | {"progress": writing} if ahead else None,
            "last_prelabel": _ended(last_ahead),
            "prelabelled": self.jobs.prelabelled.model_dump(mode="json") if self.jobs.prelabelled else None,
        }


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A project of which a record is damaged, missing or of a newer labelloop."""

    uid: str
    problem: str  # a sentence that names the record

    def as_json(self) -> dict[str, str]:
        """For scripts."""
        return {"uid": self.uid, "error": self.problem}

    def __str__(self) -> str:
        """For people."""
        return f"project {self.uid} cannot be read: {self.problem}"


def _ended(run: LastRun | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return run.model_dump(mode="json") | {"cost": run.cost.as_json() if run.cost else None}


def read_statuses(
    store: ObjectStore,
    uids: Sequence[str],
    settings: Settings,
    *,
    in_store: Used | None = None,
    at_once: int = AT_ONCE,
    read_manifest: ReadManifest | None = None,
    count: Count | None = None,
) -> list[ProjectStatus | Unreadable]:
    """Read several projects at once, with at most `at_once` questions to the store. Raises StoreError.

    One of which a record cannot be read takes nothing from the others.
    `settings`: those that trainings are started by. `in_store`: what the jobs of all projects have used; None: it is
    read, if that is limited. `count`: asks Label Studio what is annotated now; None: it is not asked.
    """
    if in_store is None:
        in_store = used_in_store(store) if Budget.of(settings).of_store else NOTHING_USED
    used = in_store
    each = max(at_once // max(len(uids), 1), 1)

    def read(uid: str) -> ProjectStatus | Unreadable:
        try:
            return read_status(store, uid, settings, used, at_once=each, read_manifest=read_manifest, count=count)
        except (StoreRefusal, NotFound) as error:
            return Unreadable(uid, str(error))

    return side_by_side(read, uids, at_once=at_once)


def read_status(
    store: ObjectStore,
    uid: str,
    settings: Settings,
    in_store: Used = NOTHING_USED,
    *,
    newest: int = 0,
    at_once: int = AT_ONCE,
    read_manifest: ReadManifest | None = None,
    count: Count | None = None,
) -> ProjectStatus:
    """Read one project, with at most `at_once` questions to the store. Raises StoreError.

    Of its versions those that are served and the `newest` ones are read, as many of each control; others are counted.
    `in_store`: what the jobs of all projects have used. `read_manifest`: as Registry takes it. `count`: asks Label
    Studio what is annotated now, if no run is active; None: it is not asked.
    """
    registry, jobs = Registry(store, uid, read_manifest), Jobs(store, uid)
    known, (record, stored) = both(lambda: read_known(store, uid), lambda: both(jobs.read, registry.controls))
    controls = {control.name: control for control in known.controls}
    names = list(controls) + [name for name in stored if name not in controls]
    run_id = record.training.run_id if record.training else record.last_run.run_id if record.last_run else None

    own = with_overrides(settings, known.project)
    each = -(-newest // max(len(names), 1))
    now, idle = store.now(), not (record.training or record.closed or known.connection == "none")

    def read_beside() -> tuple[tuple[Progress | None, Writing | None], Counted | str | None]:
        return both(
            lambda: both(
                lambda: jobs.runs.progress(run_id) if run_id else None,
                lambda: jobs.runs.writing() if record.prelabel else None,
            ),
            lambda: count(uid, record.baseline) if count and idle else None,
        )

    histories, beside = read_history_and(registry, names, read_beside, newest=each, at_once=at_once)
    (progress, writing), counted = beside
    statuses = [
        _control(history, controls.get(history.name), record.baseline.labels if record.baseline else {})
        for history in histories
    ]
    statuses = side_by_side(lambda one: _with_base_weights(store, one, settings), statuses, at_once=at_once)
    return ProjectStatus(
        uid=uid,
        title=known.title,
        record=known.project,
        known=known.project is not None or record.fence > 0 or bool(stored),
        push=known.project is not None and known.project.push,
        connection=known.connection,
        not_understood=known.not_understood,
        controls=tuple(statuses),
        jobs=record,
        progress=progress,
        next_training=next_training(record, known.project, settings, now, counted) if idle else None,
        limits=tuple(Budget.of(own).limits(record.used, in_store, now, longest_run=own.longest_run)),
        writing=writing if writing and record.prelabel and writing.run_id == record.prelabel.run_id else None,
        price=Price.find(settings.price_per_hour),
        read_at=now,
    )


def _control(history: History, control: Control | None, held: Mapping[str, dict[str, int]]) -> ControlStatus:
    pointer, serving, yolo_task = history.pointer, history.serving, control.yolo_task if control else None
    other_task = serving.yolo_task if serving and yolo_task not in (None, serving.yolo_task) else None
    if other_task:  # predict does not serve it either
        serving = None
    return ControlStatus(
        name=history.name,
        yolo_task=serving.yolo_task if serving else yolo_task,
        labels=serving.labels if serving else (),
        pointer=pointer.version if pointer else None,
        moved_at=pointer.moved_at if pointer else None,
        moved_by=pointer.reason if pointer else None,
        serving=serving.version if serving else None,
        other_task=other_task,
        silent="",
        base=None,
        versions=len(history.numbers),
        metrics=serving.metrics if serving else {},
        gate=serving.gate if serving else None,
        annotated=held.get(history.name),
        control=control,
        manifest=serving,
        newest=history.versions,
        unreadable=history.unreadable,
        known=history.known,
    )


def _with_base_weights(store: ObjectStore, status: ControlStatus, settings: Settings) -> ControlStatus:
    """With the base weights where they are served, and with the reason why nothing is predicted, if there is one."""
    control, weights = status.control, settings.base_weights
    if control is None or not status.known:
        return status
    try:
        base = None if status.manifest else find_base_weights(store, base_weights_for(control, weights))
    except StoreRefusal as error:
        why = "" if settings.dummy else "the record of its base weights cannot be read"
        return replace(status, silent=why, unreadable=(*status.unreadable, str(error)))
    why = "" if settings.dummy else silent(control, status.manifest, base, weights)
    return replace(status, base=base, silent=why)
