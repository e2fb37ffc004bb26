"""`labelloop status` for a terminal: a table of controls and a few lines about the run, once or again and again."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from functions.train_trigger.status import words
from functions.train_trigger.status.project import ControlStatus, ProjectStatus, Unreadable
from functions.train_trigger.status.words import Said, Sentence
from infra.cli.output import problem_text, table_of
from infra.cli.projects import no_project_yet
from shared.readable import readable

_STYLES = {"plain": "", "good": "green", "warning": "yellow", "problem": "red", "quiet": "dim"}
_WATCH_INTERVAL = 2.0  # seconds


def render_status(projects: Sequence[ProjectStatus | Unreadable], store_url: str) -> RenderableType:
    """The projects for a terminal."""
    if not projects:
        return Text(no_project_yet(store_url))
    return Group(*(part for project in projects for part in _render_project(project)))


def watch_status(read: Callable[[], Sequence[ProjectStatus | Unreadable]], store_url: str) -> None:
    """Show what `read` answers, anew every two seconds, until Ctrl-C."""
    with suppress(KeyboardInterrupt), Live(render_status(read(), store_url), auto_refresh=False) as live:
        while True:
            time.sleep(_WATCH_INTERVAL)
            live.update(render_status(read(), store_url), refresh=True)


def coming(project: ProjectStatus) -> Sentence:
    """When the next training starts, or the run that is active now."""
    run = (Said(f"Run {project.jobs.training.run_id} is active"),) if project.jobs.training else ()
    return words.next_training_sentence(project) or run


def next_steps(project: ProjectStatus) -> Text:
    """The last line of `labelloop connect`: what comes next, and where it is seen."""
    due = coming(project)
    watch = Said("label away; `labelloop status --watch` and `labelloop open` show what comes of it")
    return text_of((*due, Said("; "), watch) if due else (watch,))


def _render_project(project: ProjectStatus | Unreadable) -> list[RenderableType]:
    if isinstance(project, Unreadable):
        return [problem_text(str(project)), Text()]
    closed = " [red](closed: Label Studio has it no more)[/]" if project.jobs.closed else ""
    title = readable(project.title)  # whoever names a project must not steer our terminal
    parts: list[RenderableType] = [
        Text.from_markup(f"[bold]Project {project.uid}[/] {escape(title)}{closed}"),
    ]
    table = table_of("control", "task", "serves", "versions", folded=["control", "serves"])
    for control in project.controls:
        table.add_row(
            escape(control.name),
            control.yolo_task or "",
            text_of(words.served(control)),
            str(control.versions),
        )
    parts.append(table)
    for control in project.controls:
        if metrics := words.metrics_sentence(control):
            parts.append(text_of((*_about(project, control), *metrics)))
    parts += [Text.from_markup(f"[yellow]![/] {escape(sentence)}") for sentence in project.not_understood]
    parts += map(problem_text, project.unreadable)
    return [*parts, *(text_of(sentence) for sentence in _sentences(project) if sentence), Text()]


def _sentences(project: ProjectStatus) -> Iterator[Sentence]:
    yield words.connection_sentence(project)
    for control in project.controls:
        yield words.silent_sentence(control)
        if labels := words.labels_sentence(control):
            yield *_about(project, control), *labels
    if claim := project.jobs.training:
        now = words.state(claim, project.read_at)
        yield Said(f"Run {claim.run_id}: "), now, Said(f", attempt {claim.attempt}"), *_progress(project)
        yield _log(claim.logs)
        for sentence in words.claim_sentences(project):
            yield Said("  "), *sentence
        yield words.follows_sentence(project)
    else:
        yield words.last_run_sentence(project)
        if due := words.next_training_sentence(project):
            then = project.next_training  # without Label Studio, nothing is started
            possible = then is None or not (then.impossible or then.unknown)
            yield *due, *((Said("; `labelloop train` starts it now"),) if possible else ())
    yield from words.ahead_sentences(project, _bar)
    yield _log(project.jobs.prelabel.logs if project.jobs.prelabel else None)
    yield words.used_sentence(project)
    for sentence in words.limit_sentences(project):
        yield Said("  "), *sentence


def _about(project: ProjectStatus, control: ControlStatus) -> Sentence:
    """Which control a sentence is about, where there are several."""
    return (Said(f"{control.name}: "),) if len(project.controls) > 1 else ()


def _log(logs: str | None) -> Sentence:
    return (Said("  log:", "quiet"), Said(f" {logs}")) if logs else ()


def text_of(sentence: Sentence) -> Text:
    """A sentence, coloured, without characters that would steer a terminal."""
    return Text.assemble(*((readable(piece.text), _STYLES[piece.tone]) for piece in sentence))


def _progress(project: ProjectStatus) -> Sentence:
    progress = project.progress
    if progress is None:
        return ()
    pieces = [Said(f", {progress.phase}" + (f" {progress.control}" if progress.control else ""))]
    if progress.epoch is not None and progress.epochs:
        pieces += [Said(" "), *_bar(progress.epoch, progress.epochs)]
        pieces.append(Said(f" epoch {progress.epoch}/{progress.epochs}"))
    return (*pieces, *(Said(f", {said}") for said in words.progress_words(project)))


def _bar(done: int, of: int) -> Sentence:
    filled = round(20 * min(max(done / max(of, 1), 0), 1))
    return Said("━" * filled, "good"), Said("━" * (20 - filled), "quiet")
