"""Changes of what stands in `jobs.json` beside the claims: pure functions, as in `shared.state.claims`."""

from datetime import datetime

from shared.evolve import evolve
from shared.state.jobs_record import STOPPED, JobsRecord


def close(record: JobsRecord, _now: datetime) -> JobsRecord | None:
    """Record that the project is gone in Label Studio: nothing is started for it until `reopen`."""
    return None if record.closed else evolve(record, closed=True)


def reopen(record: JobsRecord, _now: datetime) -> JobsRecord | None:
    """Record that Label Studio has the project again."""
    return evolve(record, closed=False) if record.closed else None


def go_on(record: JobsRecord, _now: datetime) -> JobsRecord | None:
    """Forget the last run if it was stopped or failed, because a person wants the next one now."""
    last = record.last_run
    return evolve(record, last_run=None) if last and last.outcome in (STOPPED, "failed") else None


def forget_next(record: JobsRecord, _now: datetime) -> JobsRecord | None:
    """Forget the training that a person asked for: it cannot begin, for example because nothing is annotated."""
    return None if record.next_run is None else evolve(record, next_run=None)


def look_again(record: JobsRecord, _now: datetime) -> JobsRecord | None:
    """Let the next prelabelling look at all tasks, also at those that the last one has done."""
    done = record.prelabelled
    return evolve(record, prelabelled=evolve(done, through=0)) if done and done.through else None


def forget_written(record: JobsRecord, _now: datetime) -> JobsRecord | None:
    """Forget what was prelabelled: its predictions were removed from Label Studio."""
    return evolve(record, prelabelled=None) if record.prelabelled else None


def lower_val_border(record: JobsRecord, _now: datetime, border: float) -> JobsRecord | None:
    """Record the border (0–1) below which images are for validation, if it is lower than before: it never rises."""
    lower = not record.val_border or border < record.val_border
    return evolve(record, val_border=border) if lower else None
