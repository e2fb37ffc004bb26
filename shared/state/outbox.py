"""Changes of the notices in a project's `jobs.json`: pure functions, as in `shared.state.claims`, for `Jobs.update`.

A notice is tried, sent, and only then removed: a process that is killed in between sends it a second time, with the
same id, after the pause that its try has written.
"""

from collections.abc import Sequence
from datetime import datetime

from shared.errors import ClaimLost
from shared.evolve import evolve
from shared.state.budget import Limit, used_by
from shared.state.jobs_record import JobsRecord
from shared.state.notices import BUDGET_SPENT, Notice, added, tried


def announce(record: JobsRecord, now: datetime, *new: Notice) -> JobsRecord | None:
    """Note what is to be told. None if all of it waits already."""
    notices = added(record.notices, now, *new)
    return None if notices == record.notices else evolve(record, notices=notices)


def take(record: JobsRecord, now: datetime, notice_id: str) -> JobsRecord:
    """Before a try: the notice is left alone by others. Raises ClaimLost if it was sent, or another process tries."""
    found = next((one for one in record.notices if one.id == notice_id), None)
    if found is None or not found.is_due(now):
        raise ClaimLost(f"notice {notice_id} was sent, or is being sent by another process")
    return evolve(record, notices=tuple(tried(one, now) if one == found else one for one in record.notices))


def drop(record: JobsRecord, _now: datetime, notice_id: str) -> JobsRecord | None:
    """After it was sent, or given up."""
    left = tuple(one for one in record.notices if one.id != notice_id)
    return None if left == record.notices else evolve(record, notices=left)


def announce_spent(record: JobsRecord, now: datetime, uid: str, limits: Sequence[Limit]) -> JobsRecord | None:
    """Note each limit of which too little is left for anything to begin, once a period. None: nothing is new."""
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


def _concerns(record: JobsRecord, limit: Limit, now: datetime) -> bool:
    """Whether the project's jobs ran in that period: of a budget of all projects, the others need not be told."""
    of_day, of_month = used_by(record.used, now)
    return limit.whose == "project" or (of_day if limit.period == "day" else of_month) > 0
