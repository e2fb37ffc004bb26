"""The sweep: reconciles every known project, so that a lost event delays a training and never prevents it."""

import logging
from collections.abc import Callable
from itertools import islice
from typing import Any, Literal, Protocol, TypeVar

from functions.train_trigger.reconciled import Reconciled
from functions.train_trigger.threads import Threads
from shared.errors import StoreError
from shared.objectstore import ObjectStore
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.projects import projects

logger = logging.getLogger(__name__)

T = TypeVar("T")
_Claim = Literal["active", "none", "closed", "not read"]
_READS_AT_ONCE = 16  # of the store
_LOOKS_AT_ONCE = 8  # at Label Studio, and at the launcher: AWS Batch answers 50 questions a second
_CLOSED_PART = 60  # of the closed projects this part is looked at in a sweep, _LOOKS_AT_ONCE at least
_QUIET = ("nothing", "active", "closed")  # outcomes without details in the summary
_MAX_DETAILS = 100
_GOLDEN = 0.6180339887498949  # golden ratio: any number of its multiples, modulo 1, are evenly distributed


class Reconcile(Protocol):
    """`Trigger.reconcile`: never raises."""

    def __call__(self, uid: str, *, sweeping: bool) -> Reconciled:
        """As `Trigger.reconcile`."""


def sweep(
    store: ObjectStore,
    reconcile: Reconcile,
    threads: Threads,
    *,
    seconds: float,
    on_read: Callable[[str, JobsRecord], None] = lambda _uid, _record: None,
) -> dict[str, Any]:
    """Reconcile every project; begin none after `seconds`. Answers counts by outcome, and details of what matters.

    `on_read` is called with each record that is read, from several threads.

    The claims of all projects are read first, which is cheap, for at most half of the time. Projects with an active run
    come first, then a few of the closed ones, which may be back, then those for which Label Studio must be asked. Each
    sweep begins with another project: so if the time does not suffice for all, each has its turn in some sweep.
    """
    begin = threads.monotonic()
    read_until, end = begin + seconds / 2, begin + seconds
    uids = _from(list(projects(store)), store.now().timestamp() / 60)

    def claim(uid: str) -> _Claim:
        if threads.monotonic() >= read_until:
            return "not read"
        try:
            record = Jobs(store, uid).read()
        except StoreError as error:  # `reconcile` meets it again, and logs it as an error
            logger.debug(str(error), extra={"event": "claim_not_read", "project": uid})
            return "none"
        on_read(uid, record)
        return "active" if record.training or record.prelabel else "closed" if record.closed else "none"

    def look(uid: str) -> Reconciled | None:
        return reconcile(uid, sweeping=True) if threads.monotonic() < end else None

    claims = _map(threads, _READS_AT_ONCE, claim, uids)
    active, none, closed = ([uid for uid in uids if claims[uid] == wanted] for wanted in ("active", "none", "closed"))
    some_closed = closed[: max(len(closed) // _CLOSED_PART, _LOOKS_AT_ONCE)]
    looks = _map(threads, _LOOKS_AT_ONCE, look, active + some_closed + none)
    outcomes = {uid: Reconciled("nothing", "the project is closed") for uid in closed}
    outcomes |= {uid: outcome for uid, outcome in looks.items() if outcome is not None}
    return _summary(len(uids), outcomes)


def _from(uids: list[str], minutes: float) -> list[str]:
    """The uids in the same order, beginning with another one each minute."""
    start = int(minutes * _GOLDEN % 1 * len(uids))
    return uids[start:] + uids[:start]


def _map(threads: Threads, at_once: int, ask: Callable[[str], T], uids: list[str]) -> dict[str, T]:
    with threads.pool(at_once, "sweep") as pool:
        return dict(zip(uids, pool.map(ask, uids), strict=True))


def _summary(known: int, outcomes: dict[str, Reconciled]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for outcome in outcomes.values():
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    loud = ((uid, outcome) for uid, outcome in sorted(outcomes.items()) if outcome.status not in _QUIET)
    return {
        "projects": known,
        "not_reached": known - len(outcomes),
        "outcomes": counts,
        "details": {
            uid: {"status": outcome.status, "reason": outcome.reason, "run_id": outcome.run_id}
            for uid, outcome in islice(loud, _MAX_DETAILS)
        },
    }
