"""`labelloop status` for a terminal: a table of controls and a few lines about the run, once or again and again."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from infra.cli.metrics import measured_on, metrics_cells, shown_metrics
from infra.cli.status import ControlStatus, ProjectStatus
from shared.state.budget import used_by
from shared.state.jobs_record import Claim

_SHOWN_WHILE_TRAINING = ("mAP50", "top1")
"""Metrics that are shown of a training while it runs; each task has one of them."""
_CONNECTIONS = {
    "inbound": "",
    "outbound": "Connected without inbound calls: the sweep asks Label Studio for changes.",
    "none": "[yellow]Disconnected:[/] nothing is predicted ahead, and no training starts by itself.",
}
_WATCH_INTERVAL = 2.0  # seconds


def render_status(projects: list[ProjectStatus], store_url: str) -> RenderableType:
    """The projects for a terminal."""
    if not projects:
        return Text(f"The store {store_url} holds no project yet: `labelloop up --project N` or `labelloop connect`.")
    return Group(*(part for project in projects for part in _render_project(project)))


def watch_status(read: Callable[[], list[ProjectStatus]], store_url: str) -> None:
    """Show what `read` answers, anew every two seconds, until Ctrl-C."""
    with suppress(KeyboardInterrupt), Live(render_status(read(), store_url), auto_refresh=False) as live:
        while True:
            time.sleep(_WATCH_INTERVAL)
            live.update(render_status(read(), store_url), refresh=True)


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
            *([_measured_on(control)] if metrics else []),
        )
    parts.append(table)
    parts += [Text.from_markup(f"[yellow]![/] {escape(sentence)}") for sentence in project.not_understood]
    lines = (
        _CONNECTIONS[project.connection],
        *_run_lines(project),
        *_next_lines(project),
        *_ahead_lines(project),
        *_used_lines(project),
    )
    parts += [Text.from_markup(line) for line in lines if line]
    return [*parts, Text()]


def _measured_on(control: ControlStatus) -> str:
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
        if project.jobs.next_run:
            lines.append(f"Run {project.jobs.next_run}: begins when that has ended, as somebody asked")
        return lines
    if last_run is None:
        return ["No run yet."]
    colour = {"promoted": "green", "failed": "red"}.get(last_run.outcome, "yellow")
    line = f"Last run {last_run.run_id}: [{colour}]{last_run.outcome}[/] {age(project.read_at - last_run.ended_at)} ago"
    if last_run.failures > 1:
        line += f", {last_run.failures} failed in a row"
    return [line + (f", {escape(last_run.message)}" if last_run.message else "")]


def _next_lines(project: ProjectStatus) -> list[str]:
    """When the next training is due; nothing while one runs."""
    due = project.next_training
    if due is None:
        return []
    changed = "" if due.changes is None else f", or when {due.changes} have changed"
    later = f", not in the next {age(due.not_before - project.read_at)}" if due.not_before else ""
    return [f"Next training: at {due.annotated} annotated tasks{changed}{later}; `labelloop train` starts it now"]


def _ahead_lines(project: ProjectStatus) -> list[str]:
    """What is written into Label Studio ahead; nothing if nothing ever was."""
    jobs, now = project.jobs, project.read_at
    lines = []
    if done := jobs.prelabelled:
        left = f", [yellow]{done.left} tasks have none[/]" if done.left else ""
        left += "" if done.shown else ", [yellow]annotators are not shown them[/]"
        lines.append(f"Predictions of {escape(done.model_version)} were written {age(now - done.written_at)} ago{left}")
    if claim := jobs.prelabel:
        lines.append(f"Predictions are written: {_state(claim, now)}, attempt {claim.attempt}{_written(project)}")
        if claim.logs:
            lines.append(f"  [dim]log:[/] {escape(claim.logs)}")
        if claim.waits or claim.error:
            lines.append(f"  [yellow]{escape(claim.waits or claim.error or '')}[/]")
    if (last := jobs.last_prelabel) and last.outcome == "failed":
        lines.append(f"[red]Predictions could not be written[/] {age(now - last.ended_at)} ago: {escape(last.message)}")
    return lines


def _used_lines(project: ProjectStatus) -> list[str]:
    """How long jobs ran, and what limits there are; nothing if there is neither."""
    today, month = used_by(project.jobs.used, project.read_at)
    lines = [f"Jobs ran {today / 60:.0f} min today, {month / 60:.0f} min this month (UTC)"] if month else []
    for limit in project.limits:
        lines.append(f"  [yellow]what is due waits:[/] {limit}" if limit.too_little else f"  [dim]limit:[/] {limit}")
    return lines


def _written(project: ProjectStatus) -> str:
    writing = project.writing
    if writing is None:
        return ""
    done = round(20 * writing.done / max(writing.tasks, 1))
    bar = f"[cyan]{'━' * done}[/][dim]{'━' * (20 - done)}[/]"
    return f", {bar} {writing.done} of {writing.tasks} tasks have {escape(writing.version)}"


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
    metrics = [f"{name} {progress.metrics[name]:.3f}" for name in _SHOWN_WHILE_TRAINING if name in progress.metrics]
    if metrics:
        tasks = {control.name: control.yolo_task for control in project.controls}
        on = measured_on(progress.val_tasks, progress.val_things, tasks.get(progress.control or ""))
        text += f", {', '.join(metrics)} on the val set" + (f" ({on})" if on else "")
    return text + (f", {escape(progress.message)}" if progress.message else "")


def age(time: timedelta) -> str:
    """A time in its largest unit of which there are two, rounded down: `42 s`, `3 min`, `5 h`, `2 d`."""
    seconds = max(0, int(time.total_seconds()))
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
