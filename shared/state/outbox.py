"""Changes of the notices in a project's `jobs.json`: pure functions, as in `shared.state.claims`, for `Jobs.update`.

A notice is tried, sent, and only then removed: a process that is killed in between sends it a second time, with the
same id, after the pause that its try has written.
"""

from collections.abc import Sequence
from datetime import datetime

from shared.errors import ClaimLost
from shared.evolve import evolve
from shared.state.budget import Limit, used_by
from shared.state.jobs_record import JobsRecord, LastRun
from shared.state.notices import BUDGET_SPENT, FAILED, PROMOTED, REJECTED, SUSPECTS, Notice, added, tried


def take(record: JobsRecord, now: datetime, notice_id: str) -> JobsRecord:
    """Reserve a notice before it is sent. Raises ClaimLost if it was sent, or another process is sending it."""
    found = next((one for one in record.notices if one.id == notice_id), None)
    if found is None or not found.is_due(now):
        raise ClaimLost(f"notice {notice_id} was sent, or is being sent by another process")
    return evolve(record, notices=tuple(tried(one, now) if one == found else one for one in record.notices))


def drop(record: JobsRecord, _now: datetime, notice_id: str) -> JobsRecord | None:
    """Remove a notice that was sent, or that is given up."""
    left = tuple(one for one in record.notices if one.id != notice_id)
    return None if left == record.notices else evolve(record, notices=left)


def announce_spent(record: JobsRecord, now: datetime, uid: str, limits: Sequence[Limit]) -> JobsRecord | None:
    """Add a notice of each budget that is spent, once a period (day or month). None: nothing is new."""
    spent = {f"{one.whose} {one.period}": one for one in limits if one.too_little and _concerns(record, one, now)}
    new = {name: one for name, one in spent.items() if record.budgets_told.get(name) != one.renewed_at}
    if not new:
        return None
    told = {name: until for name, until in record.budgets_told.items() if until > now}
    told |= {name: one.renewed_at for name, one in new.items()}
    notices = [
        Notice(
            id=f"{uid}-{one.whose}-{one.period}-until-{one.renewed_at:%Y-%m-%d}",
            event=BUDGET_SPENT,
            at=now,
            message=str(one),
        )
        for one in new.values()
    ]
    return evolve(record, notices=added(record.notices, now, *notices), budgets_told=told)


def of_run(ended: LastRun) -> tuple[Notice, ...]:
    """The notices of a run that has ended."""
    if ended.outcome not in (PROMOTED, REJECTED, FAILED):
        return ()
    told = Notice(
        id=f"{ended.run_id}-{ended.outcome}",
        event=ended.outcome,
        at=ended.ended_at,
        message=ended.message,
        run_id=ended.run_id,
        kind=ended.kind,
    )
    if not ended.suspects:
        return (told,)
    count = "1 annotation is" if ended.suspects == 1 else f"{ended.suspects} annotations are"
    listed = evolve(
        told,
        id=f"{ended.run_id}-{SUSPECTS}",
        event=SUSPECTS,
        message=f"{count} worth a look: `labelloop suspects`, or the page",
        count=ended.suspects,
    )
    return told, listed


def _concerns(record: JobsRecord, limit: Limit, now: datetime) -> bool:
    """Whether the project is told of the limit: of one of the whole store, only if its jobs ran in that period."""
    of_day, of_month = used_by(record.used, now)
    return limit.whose == "project" or (of_day if limit.period == "day" else of_month) > 0
