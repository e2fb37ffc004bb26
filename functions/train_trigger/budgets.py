"""Whether a project may have machine time now: its own budget, and that of all projects together."""

from datetime import UTC, datetime, timedelta

from functions.train_trigger.decide import Wait, wait_for_budget
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.budget import Budget, Limit, Used
from shared.state.jobs_record import JobsRecord
from shared.state.spending import used_in_store

_MAX_AGE = timedelta(minutes=1)
"""What the jobs of all projects have used is summed up again after this: they note it themselves once a minute."""


class Budgets:
    """Safe to call from many threads."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._in_store: tuple[Used, datetime] = {}, datetime.min.replace(tzinfo=UTC)  # what, when it was summed up

    def wait(self, record: JobsRecord, settings: Settings) -> Wait | None:
        """None if an attempt may begin now. `settings`: with the project's overrides. Raises StoreError."""
        return wait_for_budget(self.limits(record, settings))

    def limits(self, record: JobsRecord, settings: Settings) -> list[Limit]:
        """The limits of a project, and what is used of them. Arguments and errors as of `wait`."""
        budget, now = Budget.of(settings), self._store.now()
        if budget.of_store and not timedelta(0) <= now - self._in_store[1] < _MAX_AGE:
            self._in_store = used_in_store(self._store), now
        return budget.limits(record.used, self._in_store[0], now, longest_run=settings.longest_run)
