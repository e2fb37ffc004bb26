"""`labelloop status`: what the store knows about projects, read without Label Studio and without the functions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from infra.cli.projects import read_controls
from shared.objectstore import ObjectStore
from shared.side_by_side import side_by_side
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, JobsRecord
from shared.state.registry import Registry
from shared.state.runs import Progress
from shared.state.versions import Gate
from shared.yolo_task import OBJECTS, YoloTask

_METRICS = (
    "mAP50-95", "mAP50", "precision", "recall", "saved", "balanced accuracy", "top1", "IDF1", "MOTA",
)  # fmt: skip
"""What manifests hold, in the order of columns. A column that would be empty is not shown."""
_TOLD = ("mAP50", "top1")
"""What is told of a training while it runs, whichever its task has."""
_AT_ONCE = 24  # requests to the store


@dataclass(frozen=True, slots=True)
class ControlStatus:
    """One control: what the pointer says and what is served."""

    name: str
    yolo_task: YoloTask | None
    labels: tuple[str, ...]
    pointer: int | None  # the version that the pointer names
    moved_at: datetime | None
    moved_by: str | None
    serving: int | None  # differs from the pointer if that version failed verification, or is for another YOLO task
    other_task: str | None  # what the version is for, if the labeling config asks for another YOLO task now
    versions: int
    metrics: dict[str, float]  # of the version that is served
    gate: Gate | None  # its own, with what the metrics were measured on

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
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
    """One project."""

    uid: str
    title: str
    not_understood: tuple[str, ...]  # what of the labeling config is ignored
    controls: tuple[ControlStatus, ...]
    jobs: JobsRecord
    progress: Progress | None  # of the active run, else of the last one
    read_at: datetime  # the store's clock

    def as_json(self) -> dict[str, Any]:
        """For scripts. `run` is null while no training is active."""
        claim, last_run = self.jobs.training, self.jobs.last_run
        progress = self.progress.model_dump(mode="json") if self.progress else None
        return {
            "uid": self.uid,
            "title": self.title,
            "closed": self.jobs.closed,
            "not_understood": list(self.not_understood),
            "controls": [control.as_json() for control in self.controls],
            "run": claim.model_dump(mode="json", exclude={"nonce"}) | {"progress": progress} if claim else None,
            "last_run": last_run.model_dump(mode="json") if last_run else None,
        }


def read_statuses(store: ObjectStore, uids: Sequence[str]) -> list[ProjectStatus]:
    """Several projects, side by side. Raises StoreError."""
    each = max(_AT_ONCE // max(len(uids), 1), 1)
    return side_by_side(lambda uid: read_status(store, uid, at_once=each), uids, at_once=_AT_ONCE)


def read_status(store: ObjectStore, uid: str, *, at_once: int = _AT_ONCE) -> ProjectStatus:
    """Read one project, `at_once` controls at a time; its versions are counted, not read. Raises StoreError."""
    title, controls, unclear = read_controls(store, uid)
    registry, jobs = Registry(store, uid), Jobs(store, uid)
    record = jobs.read()
    tasks = {control.name: control.yolo_task for control in controls}
    names = list(tasks) + [name for name in registry.controls() if name not in tasks]
    run_id = record.training.run_id if record.training else record.last_run.run_id if record.last_run else None
    return ProjectStatus(
        uid=uid,
        title=title,
        not_understood=unclear,
        controls=tuple(
            side_by_side(lambda name: _read_control(registry, name, tasks.get(name)), names, at_once=at_once)
        ),
        jobs=record,
        progress=jobs.runs.progress(run_id) if run_id else None,
        read_at=store.now(),
    )


def _read_control(registry: Registry, name: str, yolo_task: YoloTask | None) -> ControlStatus:
    pointer, serving = registry.look(name)
    other_task = serving.yolo_task if serving and yolo_task not in (None, serving.yolo_task) else None
    if other_task:  # as predict sees it
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


def render_status(projects: list[ProjectStatus], store_url: str) -> RenderableType:
    """For a terminal."""
    if not projects:
        return Text(f"The store {store_url} holds no project yet: run `labelloop connect --project N`.")
    return Group(*(part for project in projects for part in _render_project(project)))


def _render_project(project: ProjectStatus) -> list[RenderableType]:
    closed = " [red](closed: Label Studio has it no more)[/]" if project.jobs.closed else ""
    title = "".join(filter(str.isprintable, project.title))  # whoever names a project must not steer our terminal
    parts: list[RenderableType] = [
        Text.from_markup(f"[bold]Project {project.uid}[/] {escape(title)}{closed}"),
    ]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    metrics = shown_metrics([control.metrics for control in project.controls])
    for heading in ("control", "task", "serves", "versions", *metrics, *(["measured on"] if metrics else [])):
        table.add_column(heading)
    for control in project.controls:
        table.add_row(
            escape(control.name),
            control.yolo_task or "",
            _served(control),
            str(control.versions),
            *metrics_cells(control.metrics, metrics),
            *([_behind(control)] if metrics else []),
        )
    parts.append(table)
    parts += [Text.from_markup(f"[yellow]![/] {escape(sentence)}") for sentence in project.not_understood]
    parts += [Text.from_markup(line) for line in _run_lines(project)]
    return [*parts, Text()]


def _behind(control: ControlStatus) -> str:
    return measured_on(control.gate.tasks, control.gate.things, control.yolo_task) if control.gate else ""


def _served(control: ControlStatus) -> str:
    if control.pointer is None:
        return "base weights"
    if control.other_task is not None:
        return f"base weights ([yellow]v{control.pointer} is for {control.other_task}[/])"
    if control.serving is None:
        return f"base weights ([red]v{control.pointer} failed verification[/])"
    if control.serving != control.pointer:
        return f"v{control.serving} ([red]v{control.pointer} failed verification[/])"
    return f"v{control.serving}" + (" (rollback)" if control.moved_by == "rollback" else "")


def _run_lines(project: ProjectStatus) -> list[str]:
    claim, last_run, progress = project.jobs.training, project.jobs.last_run, project.progress
    if claim is not None:
        lines = [f"Run {claim.run_id}: {_state(claim, project.read_at)}, attempt {claim.attempt}{_progress(project)}"]
        if claim.logs:
            lines.append(f"  [dim]log:[/] {escape(claim.logs)}")
        if claim.waits:
            since = f"needs a correction for {age(project.read_at - claim.stuck_since)}" if claim.stuck_since else ""
            lines.append(f"  [yellow]{since or 'waits'}:[/] {escape(claim.waits)}")
        if claim.refused and claim.state == "launching":
            lines.append(f"  [yellow]the launcher said:[/] {escape(claim.error or '')}")
        elif claim.error:
            lines.append(f"  [yellow]the attempt before ended:[/] {escape(claim.error)}")
        elif progress is not None and progress.error:
            lines.append(f"  [yellow]{escape(progress.error)}[/]")
        return lines
    if last_run is None:
        return ["No run yet."]
    colour = {"promoted": "green", "failed": "red"}.get(last_run.outcome, "yellow")
    line = f"Last run {last_run.run_id}: [{colour}]{last_run.outcome}[/] {age(project.read_at - last_run.ended_at)} ago"
    if last_run.failures > 1:
        line += f", {last_run.failures} failed in a row"
    return [line + (f", {escape(last_run.message)}" if last_run.message else "")]


def _state(claim: Claim, now: datetime) -> str:
    if claim.expires_at >= now:
        return claim.state
    if claim.refused:
        tries = f"{claim.refused} time" + ("" if claim.refused == 1 else "s")
        return f"[yellow]its launch was refused {tries}; a sweep tries again, Start Training at once[/]"
    return "[yellow]interrupted; the next sweep starts the next attempt[/]"


def _progress(project: ProjectStatus) -> str:
    progress = project.progress
    if progress is None:
        return ""
    text = f", {progress.phase}" + (f" {escape(progress.control)}" if progress.control else "")
    if progress.epoch is not None and progress.epochs:
        done = round(20 * progress.epoch / progress.epochs)
        text += f" [cyan]{'━' * done}[/][dim]{'━' * (20 - done)}[/] epoch {progress.epoch}/{progress.epochs}"
    if progress.eta_seconds is not None:
        text += f", {age(timedelta(seconds=progress.eta_seconds))} to go"
    told = [f"{name} {progress.metrics[name]:.3f}" for name in _TOLD if name in progress.metrics]
    if told:
        tasks = {control.name: control.yolo_task for control in project.controls}
        on = measured_on(progress.val_tasks, progress.val_things, tasks.get(progress.control or ""))
        text += f", {', '.join(told)} on the val set" + (f" ({on})" if on else "")
    return text + (f", {escape(progress.message)}" if progress.message else "")


def shown_metrics(rows: Iterable[Mapping[str, float]]) -> list[str]:
    """Names of the metrics that any row has: the columns of a table."""
    held = {name for row in rows for name in row}
    return [name for name in _METRICS if name in held]


def metrics_cells(metrics: Mapping[str, float], names: Iterable[str]) -> list[str]:
    """The cells of one row."""
    return [f"{metrics[name]:.3f}" if name in metrics else "" for name in names]


def measured_on(tasks: int, objects: int, yolo_task: YoloTask | None) -> str:
    """`4 tasks, 31 boxes`: the val set behind metrics. Empty where that is not known."""
    if not tasks:
        return ""
    one, several = OBJECTS[yolo_task] if yolo_task else ("object", "objects")
    return f"{tasks} task{'' if tasks == 1 else 's'}, {objects} {one if objects == 1 else several}"


def age(time: timedelta) -> str:
    """`42 s`, `3 min`, `5 h`, `2 d`."""
    seconds = max(0, int(time.total_seconds()))
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
