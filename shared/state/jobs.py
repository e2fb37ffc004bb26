"""Reads a project's `jobs.json` and changes it by compare-and-swap."""

from collections.abc import Callable
from datetime import datetime
from typing import Concatenate, ParamSpec

from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.state import keys, records
from shared.state.jobs_record import JobsRecord
from shared.state.runs import RunFiles

P = ParamSpec("P")
_PATIENCE = 30.0  # seconds of losing to other writers


class Jobs:
    """The jobs record of one project, and beside it the files of its runs.

    Prelabellings have a claim and a last run of their own. With `prelabelling` these stand in the places of the
    trainings', so that the same functions change them.
    """

    def __init__(self, store: ObjectStore, uid: str, *, prelabelling: bool = False) -> None:
        self._store = store
        self._prelabelling = prelabelling
        self.uid = uid
        self.runs = RunFiles(store, uid)

    def read(self) -> JobsRecord:
        """The record as it is now; an empty one before the first claim."""
        return self._seen(records.find(JobsRecord, self._store, keys.jobs(self.uid))[0] or JobsRecord())

    def update(
        self,
        change: Callable[Concatenate[JobsRecord, datetime, P], JobsRecord | None],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> JobsRecord:
        """Write what `change(record, now, …)` answers (see `shared.state.claims`); answers the record that is stored.

        None from `change` leaves the record as it is; `now` is the store's clock. If somebody else wrote meanwhile,
        `change` is called again with the newer record. Raises what `change` raises, StoreError, and PreconditionFailed
        after 30 s of losing to others.
        """

        def changed(found: JobsRecord | None) -> JobsRecord | None:
            record = found or JobsRecord()
            new = change(self._seen(record), self._store.now(), *args, **kwargs)
            return new and evolve(self._seen(new), serial=records.new_serial())

        stored = records.update(JobsRecord, self._store, keys.jobs(self.uid), changed, patience=_PATIENCE)
        return self._seen(stored or JobsRecord())

    def _seen(self, record: JobsRecord) -> JobsRecord:
        """The record as these runs see it; of such a record, the one to store."""
        if not self._prelabelling:
            return record
        return evolve(
            record,
            training=record.prelabel,
            last_run=record.last_prelabel,
            prelabel=record.training,
            last_prelabel=record.last_run,
        )
