"""The tasks of an earlier snapshot that are the same now, so that Label Studio need not be asked for their annotations.

Whether a task is the same is told by the list of tasks, which is asked for as a whole: by `updated_at`, which moves
whenever an annotation of the task is made, changed or deleted, and by the numbers of its annotations, which move when
some come from another task (seen in the source of Label Studio 1.23.2). Both must be exactly as they were.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from jobs.train.data.snapshot import SnapshotTask, download, made_by
from shared.errors import StoreRefusal
from shared.objectstore import ObjectStore
from shared.state import keys

logger = logging.getLogger(__name__)


class Earlier:
    """Reads the snapshot's tasks alongside the list of today's. Not thread-safe."""

    def __init__(self, tasks: Iterable[SnapshotTask] = ()) -> None:
        """`tasks` by ascending ids."""
        self._tasks = iter(tasks)
        self._next = self._following()
        self._same: dict[int, SnapshotTask] = {}

    def is_same(self, task: int, seen: str) -> bool:
        """Whether a task is as it was. To be asked by ascending ids; `take` answers what there was."""
        while self._next is not None and self._next.id < task:
            self._next = self._following()
        found = self._next
        if not seen or found is None or found.id != task or found.seen != seen:
            return False
        self._same[task] = found
        return True

    def _following(self) -> SnapshotTask | None:
        try:
            return next(self._tasks, None)
        except StoreRefusal as error:  # damaged from here on: all that follow are asked for
            logger.warning(str(error), extra={"event": "snapshot_not_used"})
            return None

    def take(self, task: int) -> SnapshotTask:
        """The task as it was, once. Raises KeyError if it is not the same."""
        return self._same.pop(task)


def find_earlier(store: ObjectStore, uid: str, label_config: str, path: Path) -> Earlier:
    """The newest snapshot of a project that is still kept, downloaded to `path`.

    Without tasks if there is none, or if it is damaged, or was made of another labeling config or by another labelloop,
    so that it may hold other parts of the annotations than are needed now. Raises StoreError.
    """
    kept = [key for key in store.list(f"{keys.runs(uid)}/") if key.endswith("/dataset.json")]
    try:
        snapshot = download(store, max(kept), path) if kept else None  # run ids begin with the time
    except StoreRefusal as error:
        logger.warning(str(error), extra={"event": "snapshot_not_used"})
        return Earlier()
    if snapshot is None or (snapshot.header.label_config, snapshot.header.made_by) != (label_config, made_by()):
        return Earlier()
    return Earlier(snapshot.tasks())
