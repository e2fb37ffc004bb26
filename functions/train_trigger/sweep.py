"""The sweep: reconciles every known project, so that a lost event delays a training and never prevents it."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from functions.train_trigger.trigger import Outcome
from shared.objectstore import ObjectStore
from shared.registry import projects

_AT_ONCE = 4
_QUIET = ("nothing", "active", "closed")


class Reconcile(Protocol):
    """`Trigger.reconcile`: never raises."""

    def __call__(self, uid: str, *, sweeping: bool) -> Outcome:
        """Start what is missing for one project."""


def sweep(store: ObjectStore, reconcile: Reconcile, *, seconds: float) -> dict[str, Any]:
    """Look at every project, begin none after `seconds`. Answers a summary: counts by outcome, and what was not quiet.

    The order is random, so that where time is short each project's turn comes.
    """
    end = time.monotonic() + seconds
    uids = list(projects(store))
    random.shuffle(uids)

    def visit(uid: str) -> Outcome | None:
        return reconcile(uid, sweeping=True) if time.monotonic() < end else None

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sweep") as pool:
        outcomes = dict(zip(uids, pool.map(visit, uids), strict=True))
    looked_at = {uid: outcome for uid, outcome in outcomes.items() if outcome is not None}
    counts: dict[str, int] = {}
    for outcome in looked_at.values():
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    return {
        "projects": len(uids),
        "not_reached": len(uids) - len(looked_at),
        "outcomes": counts,
        "details": {
            uid: {"status": outcome.status, "reason": outcome.reason, "run_id": outcome.run_id}
            for uid, outcome in sorted(looked_at.items())
            if outcome.status not in _QUIET
        },
    }
