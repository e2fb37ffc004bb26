"""How far a prelabelling is, which `labelloop status` reads. A failed write is logged and never ends a run."""

import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from shared.errors import StoreError
from shared.state.jobs import Jobs
from shared.state.runs import Writing

logger = logging.getLogger(__name__)

_INTERVAL = 5.0  # seconds between two reports


class Counting:
    """Counts the tasks of a share that were looked at, and reports their number now and then. Not thread-safe."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        self._before = self._done = 0
        self._reported_at = -math.inf
        self._at(0)

    def task(self) -> None:
        """One more task of the page was predicted."""
        self._at(self._done + 1)

    def page(self, seen: int) -> None:
        """A page of so many tasks has ended, those included that had a prediction."""
        self._before += seen
        self._at(self._before)

    def _at(self, done: int) -> None:
        self._done = done
        if time.monotonic() >= self._reported_at + _INTERVAL:
            self._reported_at = time.monotonic()
            self._report(done)


class ProgressWriter:
    """Writes how far the whole run is."""

    def __init__(self, jobs: Jobs, run_id: str, version: str, tasks: int) -> None:
        """`tasks`: to look at, in all."""
        self._jobs, self._run_id, self._version, self._tasks = jobs, run_id, version, tasks

    def write(self, done: int) -> None:
        """So many tasks were looked at, by all workers together."""
        writing = Writing(
            run_id=self._run_id,
            version=self._version,
            done=done,
            tasks=max(self._tasks, done),  # some are imported meanwhile
            updated_at=datetime.now(UTC),
        )
        try:
            self._jobs.runs.write_writing(writing)
        except StoreError as error:
            logger.warning(f"progress was not written: {error}", extra={"event": "progress_failed"})
