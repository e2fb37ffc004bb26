"""When the next training of a project is due, as far as the store and the settings tell."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.train_trigger.decide import Policy, Wait, annotated_tasks, decide_before_asking, pause_after_last
from shared.settings import Settings
from shared.state.jobs_record import JobsRecord
from shared.state.projects import Project, with_overrides


@dataclass(frozen=True, slots=True)
class NextTraining:
    """What a training that nobody asks for waits for."""

    annotated: int  # annotated tasks with which it is due, if nothing else changes
    changes: int | None  # new, changed or deleted tasks since the last run; None: it will be the first one
    not_before: datetime | None  # the end of the pause after the last run; None: it is over, or there is none
    changes_not_before: datetime | None  # the same for `changes`, which wait also where a project that doubles does not

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "annotated": self.annotated,
            "changes": self.changes,
            "not_before": self.not_before.isoformat() if self.not_before else None,
            "changes_not_before": self.changes_not_before.isoformat() if self.changes_not_before else None,
        }


def next_training(record: JobsRecord, project: Project | None, settings: Settings, now: datetime) -> NextTraining:
    """Of a project without an active run."""
    policy = Policy.of(with_overrides(settings, project))
    early, pause = decide_before_asking(record, policy, now, forced=False), pause_after_last(record, policy, now)
    not_before = early.until if isinstance(early, Wait) else None
    changes_not_before = pause.until if pause else None
    if record.baseline is None:
        return NextTraining(policy.schedule.first, None, not_before, changes_not_before)
    then = annotated_tasks(record.baseline.totals)
    changes = policy.schedule.changes(then, then)
    return NextTraining(then + changes, changes, not_before, changes_not_before)
