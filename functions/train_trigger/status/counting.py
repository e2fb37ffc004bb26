"""What Label Studio holds of a project now, by two questions that are cheap for any number of tasks."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from functions.train_trigger.decide import annotated_tasks, changed_since, changes_since
from shared.errors import LabelStudioError, ProjectGone, StoreError
from shared.labelstudio.api import ProjectState
from shared.labelstudio.requests import project_id
from shared.state.runs import Baseline, Totals
from shared.web.last_known import LastKnown

_MAX_AGE = 10.0  # seconds: people look again and again


class LabelStudio(Protocol):
    """What is asked."""

    def project(self, project_id: int) -> ProjectState:
        """The project's counters now. Raises LabelStudioError, ProjectGone."""

    def changed_tasks(self, project_id: int, since: datetime) -> int:
        """Annotated tasks updated after `since`. Raises LabelStudioError, ProjectGone."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What is annotated now."""

    annotated: int  # tasks
    changes: int  # new, changed or deleted tasks since the last run; all of them before the first


Count = Callable[[str, Baseline | None], Counted | str]
"""(project uid, what the last run read) → what is annotated now, or a sentence why that is not known."""


def count(label_studio: LabelStudio, uid: str, baseline: Baseline | None) -> Counted:
    """Ask Label Studio. Raises LabelStudioError, ProjectGone."""
    number = project_id(uid)
    state = label_studio.project(number)
    if state.counters.uid != uid:
        raise ProjectGone(f"project {number} of this Label Studio is {state.counters.uid}, not {uid}")
    totals = Totals.of(state.counters)
    annotated = annotated_tasks(totals)
    if baseline is None:
        return Counted(annotated, annotated)
    changed = label_studio.changed_tasks(number, changed_since(baseline, state.read_at))
    return Counted(annotated, changes_since(baseline.totals, totals, changed))


def counting(label_studio: LabelStudio, *, patience: float) -> Count:
    """Asks at most once in ten seconds for a project; waits `patience` seconds, then goes on with what was known."""
    known: LastKnown[Counted] = LastKnown(_MAX_AGE, patience=patience, first_patience=patience, source="Label Studio")

    def ask(uid: str, baseline: Baseline | None) -> Counted | str:
        key = uid, baseline.read_at if baseline else None
        try:
            return known.get(key, lambda: count(label_studio, uid, baseline))
        except StoreError:
            return "Label Studio has not answered yet"
        except LabelStudioError as error:
            return str(error)

    return ask
