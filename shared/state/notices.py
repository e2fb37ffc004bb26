"""Notices for people, written into `jobs.json` together with the change that they are about: no kill loses one.

`functions.train_trigger.notices` sends them. Pure.
"""

from datetime import datetime, timedelta

from pydantic import AwareDatetime

from shared.evolve import evolve
from shared.state.records import Record

PROMOTED, REJECTED, FAILED = "promoted", "rejected", "failed"
BUDGET_SPENT, SUSPECTS, TEST = "budget_spent", "suspects", "test"
EVENTS = (PROMOTED, REJECTED, FAILED, BUDGET_SPENT, SUSPECTS, TEST)
"""What there are notices of; the first three are outcomes of runs."""

KEPT = timedelta(days=1)
"""A notice that nobody took for so long is dropped."""
_MOST = 20  # of one project: where nobody sends them, `jobs.json` must not grow
_MOST_TEXT = 1000  # characters
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)


class Notice(Record):
    """One notice."""

    id: str  # the same at every try, so that a receiver knows a second copy
    event: str  # one of EVENTS, or a word of a newer labelloop
    at: AwareDatetime
    message: str
    run_id: str = ""
    kind: str = ""  # of the run: a RunKind
    count: int = 0  # of suspects
    tries: int = 0
    next_try: AwareDatetime | None = None  # until then it belongs to the process that tries; None: at once

    def is_due(self, now: datetime) -> bool:
        """Whether nobody tries to send it now. A time further away than the longest pause is of a wrong clock."""
        return self.next_try is None or not now < self.next_try <= now + _LONGEST_PAUSE


Notices = tuple[Notice, ...]


def added(notices: Notices, now: datetime, *new: Notice) -> Notices:
    """`notices` and new ones, without what is too old or too many; one whose id is there is not added again."""
    known = {notice.id for notice in notices}
    cut = (evolve(one, message=one.message[:_MOST_TEXT]) for one in new if one.id not in known)
    return tuple(one for one in (*notices, *cut) if now - one.at < KEPT)[-_MOST:]


def tried(notice: Notice, now: datetime) -> Notice:
    """The notice, while a process tries to send it: the others leave it alone for a pause that doubles."""
    pause = min(_FIRST_PAUSE * 2 ** min(notice.tries, 10), _LONGEST_PAUSE)
    return evolve(notice, tries=notice.tries + 1, next_try=now + pause)
