"""What is left of a project's budgets: for the trigger before it starts a job, for a job while it runs."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable

from shared.errors import StoreError, StoreRefusal
from shared.objectstore import ObjectStore
from shared.side_by_side import side_by_side
from shared.state.budget import Budget, Used
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.projects import projects

logger = logging.getLogger(__name__)


def used_in_store(store: ObjectStore) -> Used:
    """What all projects have used. One read a project. Raises StoreError."""
    total: Counter[str] = Counter()
    for used in side_by_side(lambda uid: _used(store, uid), list(projects(store))):
        total.update(used)
    return total


def _used(store: ObjectStore, uid: str) -> Used:
    try:
        return Jobs(store, uid).read().used
    except StoreRefusal as error:  # whoever looks at that project meets it too
        logger.warning(f"the time of project {uid} is not counted: {error}", extra={"event": "use_not_read"})
        return {}


class Spending:
    """The budgets of one project while one of its jobs runs. Without a budget nothing is asked of the store."""

    def __init__(
        self, store: ObjectStore, budget: Budget, *, jobs: int = 1, on_over: Callable[[], None] = lambda: None
    ) -> None:
        """`jobs` run together. `on_over` is called once, after a look at which nothing was left."""
        self._store = store
        self._budget = budget
        self._jobs = jobs
        self._on_over = on_over
        self._over = False
        self._ends = math.inf  # time.monotonic() at which a limit is reached
        self.longest = budget.smallest or math.inf
        """Seconds that a job may run at best."""
        self.why = ""
        """What is left of the limit that is reached first, in a sentence."""

    def look(self, record: JobsRecord) -> None:
        """Look at what is used by now: after each renewal of the claim, with the record that it wrote."""
        if math.isinf(self.longest):
            return
        try:
            now, in_store = self._store.now(), used_in_store(self._store) if self._budget.of_store else {}
        except StoreError as error:
            logger.warning(f"what other projects use is not known: {error}", extra={"event": "use_not_read"})
            return
        limits = [(limit.lasts(now, self._jobs), limit) for limit in self._budget.limits(record.used, in_store, now)]
        lasts, first = min(limits, key=lambda found: found[0])
        self._ends, self.why = time.monotonic() + lasts, str(first)
        if lasts <= 0 and not self._over:
            self._over = True
            self._on_over()

    def seconds_left(self) -> float:
        """Until a limit is reached, at least 0; inf without a limit. Asks nobody."""
        return max(0.0, self._ends - time.monotonic())
