"""The metrics about what annotators did with predictions, read from the store at each sweep."""

import logging
from datetime import datetime, timedelta

from functions.train_trigger.metrics import Metrics
from shared.errors import StoreRefusal
from shared.objectstore import ObjectStore
from shared.state.effort import read_effort
from shared.state.jobs_record import JobsRecord
from shared.state.registry import Registry

logger = logging.getLogger(__name__)

_COUNTED = timedelta(minutes=10)
"""How often the counts of `labelloop effort` are read again."""


class WorkMetrics:
    """Sets the metrics of each project. A record that is not valid is logged and left out."""

    def __init__(self, store: ObjectStore, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._runs: dict[str, str] = {}  # uid → the run whose versions were read
        self._looked: dict[str, datetime] = {}  # uid → when the counts were read

    def update(self, uid: str, record: JobsRecord, now: datetime) -> None:
        """Set the metrics of a project. Raises StoreError."""
        self._last_run(uid, record)
        self._saved(uid, now)

    def _last_run(self, uid: str, record: JobsRecord) -> None:
        """Set how many predicted objects were kept, changed or drawn anew, as the last training found."""
        last = record.last_run
        if last is None or last.kind != "train" or self._runs.get(uid) == last.run_id:
            return
        registry = Registry(self._store, uid)
        for control in registry.controls():
            manifest = registry.published_by(control, last.run_id)
            taken_up = manifest.lineage.get("taken_up") if manifest else None
            for became in ("kept", "changed", "drawn", "smart"):
                if isinstance(taken_up, dict) and isinstance(count := taken_up.get(became), int):
                    self._metrics.annotated.labels(uid, control, became).set(count)
        self._runs[uid] = last.run_id

    def _saved(self, uid: str, now: datetime) -> None:
        """Set what predictions saved, as `labelloop effort` counted it last."""
        if uid in self._looked and now - self._looked[uid] < _COUNTED:
            return
        self._looked[uid] = now
        try:
            counted = read_effort(self._store, uid)
        except StoreRefusal as error:
            logger.warning(str(error), extra={"event": "effort_not_told", "project": uid})
            return
        if counted is not None:
            self._metrics.effort(uid, counted)
