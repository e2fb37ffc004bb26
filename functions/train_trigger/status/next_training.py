"""When the next training of a project is due: by the store, the settings, and by what Label Studio holds now."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from functions.train_trigger.decide import Policy, annotated_tasks, pause_after_last
from functions.train_trigger.status.counting import Counted
from shared.settings import Settings
from shared.state.jobs_record import JobsRecord
from shared.state.projects import Project, with_overrides

Pause = Literal["failed", "cool_down"]


@dataclass(frozen=True, slots=True)
class NextTraining:
    """What a training that nobody asks for waits for."""

    annotated: int  # annotated tasks with which it is due, if nothing else changes
    changes: int | None  # new, changed or deleted tasks since the last run; None: it will be the first one
    doubles: int | None  # annotated tasks with which it is due without a pause, since the project has doubled then
    pause: Pause | None  # why it does not begin before `pause_ends`
    pause_ends: datetime | None  # None: there is no pause, or it is over
    read: int = 0  # annotated tasks that the last run read
    counted: Counted | None = None  # what is annotated now; None: nobody asked Label Studio, or see `unknown`
    unknown: str = ""  # why that is not known, in Label Studio's words

    @property
    def due(self) -> bool | None:
        """Whether enough is annotated, or has changed; None: not known."""
        if self.counted is None:
            return None
        enough = self.counted.changes >= (self.annotated if self.changes is None else self.changes)
        return enough and not self.impossible

    @property
    def impossible(self) -> bool:
        """Whether nothing is annotated, so that none begins, also if a person asks (`decide`)."""
        return self.counted is not None and self.counted.annotated == 0

    @property
    def not_before(self) -> datetime | None:
        """The end of the pause; None: there is none, or the project has doubled, or may have as far as is known."""
        doubled = self.doubles is not None and (self.counted is None or self.counted.annotated >= self.doubles)
        return None if doubled else self.pause_ends

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        counted = self.counted
        return {
            "annotated": self.annotated,
            "changes": self.changes,
            "annotated_now": counted.annotated if counted else None,
            "changes_now": counted.changes if counted and self.changes is not None else None,
            "due": self.due,
            "pause": self.pause,
            "not_before": self.not_before.isoformat() if self.not_before else None,
            "changes_not_before": self.pause_ends.isoformat() if self.pause_ends else None,
            "unknown": self.unknown or None,
        }


def next_training(
    record: JobsRecord, project: Project | None, settings: Settings, now: datetime, counted: Counted | str | None = None
) -> NextTraining:
    """Of a project without an active run. `counted`: what is annotated now, or why that is not known."""
    policy = Policy.of(with_overrides(settings, project))
    wait, last = pause_after_last(record, policy, now), record.last_run
    failed = last is not None and last.outcome == "failed"
    pause: Pause | None = None if wait is None else "failed" if failed else "cool_down"
    first = NextTraining(policy.schedule.first, None, None, pause, wait.until if wait else None)
    if isinstance(counted, str):
        first = replace(first, unknown=counted)
    elif counted is not None:
        first = replace(first, counted=counted)
    if record.baseline is None:
        return first
    then = annotated_tasks(record.baseline.totals)
    changes = policy.schedule.changes(then, first.counted.annotated if first.counted else then)
    doubles = None if failed else policy.schedule.doubled_at(then)
    return replace(first, annotated=then + changes, changes=changes, doubles=doubles, read=then)
