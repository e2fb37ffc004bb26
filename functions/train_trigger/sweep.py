"""The sweep: reconciles every known project, so that a lost event delays a training and never prevents it."""

import logging
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Protocol

from functions.train_trigger.threads import Threads
from functions.train_trigger.trigger import Outcome
from shared.errors import StoreError
from shared.jobs import Jobs
from shared.objectstore import ObjectStore
from shared.registry import projects

logger = logging.getLogger(__name__)

_READS_AT_ONCE = 16  # of the store
_LOOKS_AT_ONCE = 8  # at Label Studio, and at the launcher: AWS Batch answers 50 questions a second
_QUIET = ("nothing", "active", "closed")
_DETAILS = 100
_GOLDEN = 0.6180339887498949  # its multiples, modulo 1, cover the circle most evenly, however many there are


class Reconcile(Protocol):
    """`Trigger.reconcile`: never raises."""

    def __call__(self, uid: str, *, sweeping: bool) -> Outcome:
        """Start what is missing for one project."""


def sweep(store: ObjectStore, reconcile: Reconcile, threads: Threads, *, seconds: float) -> dict[str, Any]:
    """Look at every project, begin none after `seconds`. Answers a summary: counts by outcome, and what was not quiet.

    The claims of all are read first, which is cheap. Projects with a run come next, then those for which Label Studio
    must be asked. Each minute's sweep begins elsewhere: where time is short, everybody's turn comes.
    """
    end = threads.monotonic() + seconds
    uids = _from(list(projects(store)), int(store.now().timestamp()) // 60)

    def read(uid: str) -> Outcome | bool | None:
        """The outcome if nothing is to be asked; else whether a run is active. None: no time was left."""
        if threads.monotonic() >= end:
            return None
        try:
            record = Jobs(store, uid).read()
        except StoreError as error:  # `reconcile` will meet it again, and say so
            logger.debug(str(error), extra={"event": "claim_not_read", "project": uid})
            return False
        if record.closed and record.training is None:
            return Outcome("nothing", "the project is closed")
        return record.training is not None

    def look(uid: str) -> Outcome | None:
        return reconcile(uid, sweeping=True) if threads.monotonic() < end else None

    known = _map(threads, _READS_AT_ONCE, read, uids)
    active = [uid for uid, found in known.items() if found is True]
    silent = [uid for uid, found in known.items() if found is False]
    outcomes = {uid: found for uid, found in known.items() if isinstance(found, Outcome)}
    found = _map(threads, _LOOKS_AT_ONCE, look, [*active, *silent])
    outcomes |= {uid: outcome for uid, outcome in found.items() if outcome is not None}
    return _summary(len(uids), outcomes)


def _from(uids: list[str], minute: int) -> list[str]:
    """The same order, beginning elsewhere each minute."""
    start = int(minute * _GOLDEN % 1 * len(uids))
    return uids[start:] + uids[:start]


def _map(threads: Threads, at_once: int, ask: Callable[[str], Any], uids: Iterable[str]) -> dict[str, Any]:
    keys = list(uids)
    with threads.pool(at_once, "sweep") as pool:
        return dict(zip(keys, pool.map(ask, keys), strict=True))


def _summary(known: int, outcomes: dict[str, Outcome]) -> dict[str, Any]:
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
            for uid, outcome in islice(loud, _DETAILS)
        },
    }
