"""Sentences about a project, in pieces that the terminal colours and the page marks up."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from functions.train_trigger.decide import cool_down_after
from functions.train_trigger.status.metrics import duration, measured_on, metrics_cells, shown_metrics
from functions.train_trigger.status.next_training import NextTraining
from functions.train_trigger.status.project import ControlStatus, ProjectStatus
from shared.labelstudio.held_labels import outside
from shared.state.budget import used_by
from shared.state.jobs_record import STOPPED, Claim, LastRun, Prelabelled

Tone = Literal["plain", "good", "warning", "problem", "quiet"]
_OUTCOMES: dict[str, Tone] = {"promoted": "good", "failed": "problem"}
_SHOWN_WHILE_TRAINING = ("mAP50", "top1")
"""Metrics that are shown of a training while it runs; each task has one of them."""
_LABELS = 12  # that are listed of a control
_LONGEST = 1e9  # seconds, 30 years: what is more, or no number, is no time to go


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of a sentence."""

    text: str
    tone: Tone = "plain"


Sentence = tuple[Said, ...]


def connection_sentence(project: ProjectStatus) -> Sentence:
    """How the project is connected; empty where that is as usual."""
    if project.connection == "outbound":
        return (Said("Connected without inbound calls: the sweep asks Label Studio for changes."),)
    if project.connection == "none":
        rest = " nothing is predicted ahead, and no training starts by itself."
        return Said("Disconnected:", "warning"), Said(rest)
    return ()


def served(control: ControlStatus) -> Sentence:
    """What is served, and why that is not what the pointer names."""
    if not control.known:
        return (Said(f"v{control.pointer or '?'}, which cannot be read", "problem"),)
    base = Said("nothing", "problem") if control.silent else Said("base weights")
    if control.pointer is None:
        return (base,)
    if control.other_task is not None:
        wrong = Said(f"v{control.pointer} is for {control.other_task}", "warning")
    elif control.serving != control.pointer:
        wrong = Said(f"v{control.pointer} failed verification", "problem")
    else:
        return (Said(f"v{control.serving}" + (" (rollback)" if control.moved_by == "rollback" else "")),)
    return Said(f"v{control.serving}") if control.serving else base, Said(" ("), wrong, Said(")")


def silent_sentence(control: ControlStatus) -> Sentence:
    """Why every task is answered empty; empty where something can be predicted."""
    if not control.silent:
        return ()
    return Said(f"Nothing is predicted for {control.name}:", "problem"), Said(f" {control.silent}")


def metrics_sentence(control: ControlStatus) -> Sentence:
    """The metrics of the version that is served; empty where none is."""
    names = shown_metrics([control.metrics])
    if not names:
        return ()
    each = ", ".join(" ".join(pair) for pair in zip(names, metrics_cells(control.metrics, names), strict=True))
    gate = control.gate
    on = measured_on(gate.tasks, gate.things, control.yolo_task) if gate else ""
    return Said(each), Said(f" on the val set of its run ({on})" if on else " on the val set of its run", "quiet")


def labels_sentence(control: ControlStatus) -> Sentence:
    """In how many annotated tasks each label stands, as the last run has read; empty if none has counted."""
    held = control.annotated
    if held is None or control.control is None:
        return ()
    known = {label: held.get(label, 0) for label in control.control.label_values}
    lost = outside(control.control, held)
    said = [Said(f"Annotated tasks with {_listed(known)}")]
    if lost:
        said += [Said("; not in the labeling config: "), Said(_listed(lost), "warning")]
    return *said, Said(" (as the last run read them)", "quiet")


def _listed(tasks: Mapping[str, int]) -> str:
    """`Tree: 21, Shrub: none`, the most frequent if there are many."""
    shown = list(tasks.items())
    if len(shown) > _LABELS:
        shown = sorted(shown, key=lambda one: -one[1])[:_LABELS]
    more = f" and {len(tasks) - len(shown)} more labels" if len(tasks) > len(shown) else ""
    return ", ".join(f"{label}: {count or 'none'}" for label, count in shown) + more


def claim_sentences(project: ProjectStatus) -> Iterator[Sentence]:
    """What the run that is active waits for, and what went wrong before."""
    claim, progress = project.jobs.training, project.progress
    if claim is None:
        return
    if claim.waits:
        since = f"needs a correction for {age(project.read_at - claim.stuck_since)}" if claim.stuck_since else ""
        yield Said(f"{since or 'waits'}:", "warning"), Said(f" {claim.waits}")
    if claim.refused and claim.state == "launching":
        yield Said("the launcher said:", "warning"), Said(f" {claim.error or ''}")
    elif claim.error:
        yield Said("the attempt before ended:", "warning"), Said(f" {claim.error}")
    elif progress is not None and progress.error:
        yield (Said(progress.error, "warning"),)


def follows_sentence(project: ProjectStatus) -> Sentence:
    """The training that begins when the active run has ended; empty if none does."""
    following = project.jobs.next_run
    return (Said(f"Run {following}: begins when that has ended, as somebody asked"),) if following else ()


def last_run_sentence(project: ProjectStatus) -> Sentence:
    """How the last run ended."""
    last = project.jobs.last_run
    if last is None:
        return (Said("No run yet."),)
    rest = f" {age(project.read_at - last.ended_at)} ago"
    if last.seconds and last.seconds >= 1:
        rest += f", took {duration(last.seconds)}" + (f", cost {last.cost}" if last.cost else "")
    if last.failures > 1:
        rest += f", {last.failures} failed in a row"
    rest += f", {last.message}" if last.message else ""
    if last.kind == "base" and last.outcome == "failed":
        rest += _tried_again(last, project.read_at)
    return Said(f"Last run {last.run_id}: "), Said(last.outcome, _OUTCOMES.get(last.outcome, "warning")), Said(rest)


def _tried_again(last: LastRun, now: datetime) -> str:
    """When the next run after one that failed begins by itself; empty if it may begin now."""
    again = last.ended_at + cool_down_after(last.failures)
    return f"; tried again from {again.astimezone(UTC):%H:%M} UTC on" if again > now else ""


def next_training_sentence(project: ProjectStatus) -> Sentence:
    """When the next training is due; empty while one runs, and where none starts by itself."""
    due, now = project.next_training, project.read_at
    if due is None:
        return ()
    if due.counted is None:
        told = f"Next training: at {due.annotated} annotated tasks"
        told += "" if due.changes is None else f", or when {due.changes} have changed"
        if due.not_before is None and due.pause_ends:
            told += f" and {age(due.pause_ends - now)} are over"
        unknown = f" (how many there are is not known: {due.unknown})" if due.unknown else ""
        return Said(told + _not_before(due, now)), *((Said(unknown, "quiet"),) if unknown else ())
    if due.changes is None:
        told = f"{due.counted.annotated} of {due.annotated} annotated tasks"
    elif due.impossible:
        return (Said(f"Next training: none while nothing is annotated; the last run read {due.read} annotated tasks"),)
    else:
        told = f"{due.counted.changes} of {due.changes} changes since the last run"
        if due.counted.annotated < due.read:
            told += f" ({due.counted.annotated} annotated tasks, {due.read - due.counted.annotated} fewer than it read)"
    if not due.due:
        told += _not_before(due, now)
    elif due.not_before:
        told += f", waits until {_clock(due, now)}"
    elif any(limit.too_little for limit in project.limits):
        told += ", waits for its budget"
    else:
        told += ", begins with the next event or sweep"
    return (Said(f"Next training: {told}"),)


def _not_before(due: NextTraining, now: datetime) -> str:
    return f", not before {_clock(due, now)}" if due.not_before else ""


def _clock(due: NextTraining, now: datetime) -> str:
    """When a pause ends, and what it is for."""
    if due.not_before is None:
        return ""
    why = {
        "failed": "a failed run pauses trainings, each further one for longer",
        "cool_down": "the cool-down after a run",
    }
    day = "" if due.not_before.date() == now.date() else "%Y-%m-%d "
    return f"{due.not_before.astimezone(UTC):{day}%H:%M} UTC ({why[due.pause or 'cool_down']})"


def ahead_sentences(
    project: ProjectStatus, bar: Callable[[int, int], Sentence] = lambda _done, _of: ()
) -> Iterator[Sentence]:
    """What is written into Label Studio ahead; nothing if nothing ever was. `bar` draws how many tasks of all."""
    jobs, now = project.jobs, project.read_at
    if done := jobs.prelabelled:
        when = Said(f"Predictions of {done.model_version} were written {age(now - done.written_at)} ago")
        reasons = ", ".join(f"{count} {reason}" for reason, count in done.why.items())
        why = f" ({reasons}; the log says more)" if reasons else ""
        left = (Said(", "), Said(f"{done.left} tasks have none", "warning"), Said(why)) if done.left else ()
        unseen = () if done.shown else (Said(", "), Said("annotators are not shown them", "warning"))
        yield when, *_empty(done), *left, *unseen
    if claim := jobs.prelabel:
        told = Said("Predictions are written: "), state(claim, now), Said(f", attempt {claim.attempt}")
        by = (Said(f", {claim.workers} jobs share the tasks"),) if claim.workers > 1 else ()
        yield *told, *by, *_written(project, bar)
        if claim.waits or claim.error:
            yield (Said(claim.waits or claim.error or "", "warning"),)
    if (last := jobs.last_prelabel) and last.outcome == "failed":
        ago = age(now - last.ended_at)
        again = _tried_again(last, now) if project.push and not jobs.prelabel and not jobs.closed else ""
        again += ", or at once by `labelloop prelabel` or *Write predictions now* on the page" if again else ""
        yield Said("Predictions could not be written", "problem"), Said(f" {ago} ago: {last.message}{again}")
    if last and last.outcome == STOPPED and not jobs.prelabel:
        ago = f" was stopped {age(now - last.ended_at)} ago {last.message}"
        rest = ": it goes on with the next version, by `labelloop prelabel`, or by *Write predictions now* on the page"
        yield Said("The job that writes predictions", "warning"), Said(ago + rest)


def _empty(done: Prelabelled) -> Sentence:
    """In how many tasks nothing was found, which is no failure."""
    if not done.empty:
        return ()
    if done.empty == done.predicted:
        return Said(", "), Said(f"nothing was found in any of the {done.predicted} tasks predicted last", "warning")
    return (Said(f", nothing was found in {done.empty} of the {done.predicted} tasks predicted last"),)


def _written(project: ProjectStatus, bar: Callable[[int, int], Sentence]) -> Sentence:
    writing = project.writing
    if writing is None:
        return ()
    drawn = bar(writing.done, writing.tasks)
    told = Said(f"{writing.done} of {writing.tasks} tasks have {writing.version}")
    return (Said(", "), *drawn, *((Said(" "),) if drawn else ()), told)


def used_sentence(project: ProjectStatus) -> Sentence:
    """How long jobs ran, and what that costs; empty if none did this month."""
    today, month = used_by(project.jobs.used, project.read_at)
    if not month:
        return ()
    price = project.price
    each = [duration(seconds) + (f" ({price.cost(seconds)})" if price else "") for seconds in (today, month)]
    at = f", at {price} an hour" if price else ""
    return (Said(f"Jobs ran {each[0]} today, {each[1]} this month (UTC){at}"),)


def limit_sentences(project: ProjectStatus) -> Iterator[Sentence]:
    """The limits of that, as far as there are any."""
    for limit in project.limits:
        waits = Said("what is due waits:", "warning") if limit.too_little else Said("limit:", "quiet")
        yield waits, Said(f" {limit}")


def state(claim: Claim, now: datetime) -> Said:
    """The state of a run, or why it is not going on now."""
    if claim.expires_at >= now:
        return Said(claim.state)
    if claim.refused:
        tries = f"{claim.refused} time" + ("" if claim.refused == 1 else "s")
        return Said(f"its launch was refused {tries}; a sweep tries again, Start Training at once", "warning")
    return Said("interrupted; the next sweep starts the next attempt", "warning")


def progress_words(project: ProjectStatus) -> list[str]:
    """How long the training goes on, its metrics so far, and what they are measured on."""
    progress = project.progress
    if progress is None:
        return []
    words = []
    if progress.eta_seconds is not None and abs(progress.eta_seconds) < _LONGEST:
        words.append(f"{age(timedelta(seconds=progress.eta_seconds))} to go")
    metrics = [f"{name} {progress.metrics[name]:.3f}" for name in _SHOWN_WHILE_TRAINING if name in progress.metrics]
    if metrics:
        tasks = {control.name: control.yolo_task for control in project.controls}
        on = measured_on(progress.val_tasks, progress.val_things, tasks.get(progress.control or ""))
        words.append(f"{', '.join(metrics)} on the val set" + (f" ({on})" if on else ""))
    return words + ([progress.message] if progress.message else [])


def age(time: timedelta) -> str:
    """A time in its largest unit of which there are two, rounded down: `42 s`, `3 min`, `5 h`, `2 d`."""
    seconds = max(0, int(time.total_seconds()))
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
