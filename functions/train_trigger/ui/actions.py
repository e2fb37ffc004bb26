"""What a person may do on the page: each action asks once, then says what came of it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from functions.train_trigger.reconciled import Reconciled
from functions.train_trigger.status.project import ProjectStatus
from functions.train_trigger.status.words import Tone
from functions.train_trigger.trigger import Trigger
from shared.errors import LabelloopError, StoreError
from shared.objectstore import ObjectStore
from shared.state.jobs_record import STOPPED, Claim
from shared.state.registry import Registry
from shared.state.rollback import check_movable, move_pointer, moved_sentence


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked before anything is done."""

    heading: str
    text: str
    button: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    heading: str
    text: str
    tone: Tone
    status: int  # of HTTP


@dataclass(frozen=True, slots=True)
class Asked:
    """What an action is about. `control` and `version` are of a rollback alone."""

    uid: str
    control: str = ""
    version: int = 0
    seen: str = ""  # what `seen_by` answered when the question was asked


STOPS = ("stop", "stop-writing")
"""Actions that end a run: the training, the one that writes predictions."""


def _active(action: str, project: ProjectStatus) -> Claim | None:
    return project.jobs.training if action == "stop" else project.jobs.prelabel


def seen_by(action: str, asked: Asked, project: ProjectStatus) -> str:
    """What a person sees who is asked now: the run of that kind that ended last, or is active if it is to be stopped,
    or the version that is named now."""
    if action == "rollback":
        return next((str(control.pointer or "") for control in project.controls if control.name == asked.control), "")
    if action in STOPS:
        claim = _active(action, project)
        return claim.run_id if claim else ""
    last = project.jobs.last_run if action == "train" else project.jobs.last_prelabel
    return last.run_id if last else ""


def overtaken(action: str, asked: Asked, project: ProjectStatus) -> Outcome | None:
    """Why nothing is done any more, so that a form that is sent again does not do it again; None: go on.

    What is under way already, or served already, `Actions.do` tells.
    """
    now = seen_by(action, asked, project)
    if action in STOPS and now != asked.seen:
        text = f"Run {asked.seen} has ended" if asked.seen else "No run was active when this was asked"
        return Outcome("Nothing was stopped", f"{text}.", "warning", 409)
    active = {"train": project.jobs.training, "prelabel": project.jobs.prelabel}.get(action)
    if active or now in (asked.seen, str(asked.version)):
        return None
    what = f"v{now} is served" if action == "rollback" else f"run {now} has ended"
    text = f"Since this was asked, {what}: look at the project again, and ask again if it is still wanted."
    return Outcome("Nothing was done", text, "warning", 409)


class Actions:
    """The actions by their names."""

    def __init__(self, store: ObjectStore, trigger: Trigger, look_soon: Callable[[str], None]) -> None:
        self._store = store
        self._trigger = trigger
        self._look_soon = look_soon
        self._all: Mapping[str, tuple[Callable[[Asked], Question], Callable[[Asked], Outcome]]] = {
            "train": (_before_training, self._train),
            "rollback": (_before_rollback, self._roll_back),
            "prelabel": (_before_writing, self._write_ahead),
            "stop": (_before_stop, partial(self._stop, prelabelling=False)),
            "stop-writing": (_before_stop_writing, partial(self._stop, prelabelling=True)),
        }

    def question(self, action: str, asked: Asked, project: ProjectStatus) -> Question:
        """What to ask, and what a person should know before. Raises NotKnown for a version that cannot be served."""
        if action == "rollback":
            check_movable(self._store, asked.uid, asked.control, asked.version)
        question = self._all[action][0](asked)
        return replace(question, text=f"{question.text}{_nothing_new(project)}") if action == "train" else question

    def do(self, action: str, asked: Asked) -> Outcome:
        """Do it. Raises StoreError."""
        return self._all[action][1](asked)

    def _train(self, asked: Asked) -> Outcome:
        outcome = self._trigger.train(asked.uid)
        return _outcome(outcome, started="A run was started", active="A run is active already")

    def _write_ahead(self, asked: Asked) -> Outcome:
        outcome = self._trigger.write_ahead(asked.uid)
        return _outcome(
            outcome, started="The job that writes predictions was started", active="A job writes predictions already"
        )

    def _stop(self, asked: Asked, *, prelabelling: bool) -> Outcome:
        outcome = self._trigger.stop(asked.uid, "by somebody, on the page", prelabelling=prelabelling)
        text = f"Run {outcome.run_id}: {outcome.reason}" if outcome.run_id else outcome.reason
        if outcome.status == "stopped":
            return Outcome("The run was stopped", text, "good", 200)
        return Outcome("Nothing was stopped", text, "problem", 503 if outcome.status == "failed" else 409)

    def _roll_back(self, asked: Asked) -> Outcome:
        try:
            before, promotion = move_pointer(self._store, asked.uid, asked.control, asked.version)
        except StoreError:
            raise
        except LabelloopError as error:
            return Outcome("Nothing was changed", str(error), "problem", 409)
        with suppress(RuntimeError):  # without a thread the next sweep finds what follows from it
            self._look_soon(asked.uid)
        told = moved_sentence(Registry(self._store, asked.uid), asked.control, before, promotion)
        heading = f"v{asked.version} is served" if promotion.moved else "Nothing was changed"
        return Outcome(heading, told, "good" if promotion.moved else "plain", 200)


def _before_training(_asked: Asked) -> Question:
    return Question(
        "Start a training now?",
        "It learns from everything that is annotated now, without waiting for more, and its version is served only if "
        "the gate lets it pass. While a run is active, nothing else is started.",
        "Start the training",
    )


def _nothing_new(project: ProjectStatus) -> str:
    due, last = project.next_training, project.jobs.last_run
    if last and last.outcome == STOPPED:
        return ""
    if due is None or due.changes is None or due.counted is None or due.counted.changes:
        return ""
    return " Nothing has changed since the last run: it trains on the same annotations again."


def _before_rollback(asked: Asked) -> Question:
    return Question(
        f"Serve v{asked.version} of {asked.control}?",
        "Annotators get its predictions from now on. A training that runs now cannot undo it; a later one may bring a "
        "better version. The other versions stay, so you can come back to them here.",
        f"Serve v{asked.version}",
    )


def _before_writing(_asked: Asked) -> Question:
    return Question(
        "Write predictions now?",
        "A job looks at all tasks without annotations, writes the predictions of the version that is served into Label "
        "Studio where they are missing, and then shows annotators exactly that version.",
        "Write predictions",
    )


def _before_stop(_asked: Asked) -> Question:
    return Question(
        "Stop this run?",
        "It ends now, and no version comes of it; what it trained so far is lost. What is annotated stays: the next "
        "training learns from it, and begins after as many changes from now on as after any run, or at once by Train "
        "now.",
        "Stop the run",
    )


def _before_stop_writing(_asked: Asked) -> Question:
    return Question(
        "Stop writing predictions?",
        "Those that are written stay. The job goes on with the next version, or at once by Write predictions now.",
        "Stop writing",
    )


def _outcome(outcome: Reconciled, *, started: str, active: str) -> Outcome:
    run = f"Run {outcome.run_id}: " if outcome.run_id else ""
    text = f"{run}{outcome.reason}"
    if outcome.status in ("launched", "relaunched"):
        return Outcome(started, text, "good", 200)
    if outcome.status == "active":
        return Outcome(active, text, "plain", 200)
    if outcome.status == "waiting":
        return Outcome("It begins later", text, "warning", 200)
    if outcome.status in ("refused", "failed"):
        return Outcome("It could not be started", text, "problem", 503)
    return Outcome("Nothing was started", text, "warning", 409)
