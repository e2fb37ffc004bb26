"""How an attempt ends: released, failed or interrupted, each recorded in the claim and in progress.json."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs.train.data.learnt import read_learnt
from jobs.train.data.snapshot import Snapshot, SnapshotTask
from jobs.train.parts import Parts
from jobs.train.patient_store import PatientStore
from jobs.train.progress import ProgressWriter
from shared.errors import ClaimLost, ModelError, NotFound, ProjectGone, StoreError
from shared.state import claims, jobs_fields, keys
from shared.state.heartbeat import Heartbeat
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim, RunOutcome
from shared.state.keeping import Keep
from shared.state.pruning import prune
from shared.state.registry import Registry
from shared.state.runs import Baseline

logger = logging.getLogger(__name__)

DONE, FAILED, INTERRUPTED = 0, 1, 143
"""Exit codes of the job: the run has ended; it failed for good; the next attempt continues it."""


class Ending:
    """The ends of one attempt. Those that answer a number answer the exit code."""

    def __init__(self, parts: Parts, claim: Claim, heartbeat: Heartbeat, progress: ProgressWriter) -> None:
        self._store = parts.store
        self._uid = parts.project_uid
        self._keep = Keep.of(parts.settings)
        self._image_key = parts.image_key
        self._claim = claim
        self._patient_jobs = Jobs(PatientStore(parts.store, heartbeat), parts.project_uid)
        self._progress = progress

    def release(self, outcome: RunOutcome, message: str, baseline: Baseline | None, *, suspects: int = 0) -> None:
        """End the run. `baseline`: what the export read; None: nothing yet. Raises ClaimLost, StoreError."""
        self._patient_jobs.update(
            claims.release, self._claim, outcome=outcome, baseline=baseline, message=message, suspects=suspects
        )
        self._progress.phase("unchanged" if outcome == "unchanged" else "finished", message=message)

    def fail(self, error: Exception, snapshot: Snapshot | None) -> int:
        """End the run for an error that the next attempt would meet again. What the run was started for stays due."""
        logger.error(str(error), extra={"event": "run_failed", "error": type(error).__name__})
        try:
            if isinstance(error, ProjectGone):
                self._patient_jobs.update(jobs_fields.close)
            self._patient_jobs.update(claims.release, self._claim, outcome="failed", message=str(error))
        except ClaimLost as lost:
            return self.lost(lost)
        except StoreError as refusal:
            logger.error(f"the end of the run could not be recorded: {refusal}", extra={"event": "end_not_noted"})
            return FAILED
        self._progress.phase("failed", message="", error=str(error))
        self.sweep(snapshot)
        return FAILED

    def interrupt(self, sentence: str, *, preempted: bool = False) -> int:
        """Let the claim expire at once, so that the next sweep starts the next attempt. Does not wait for the store."""
        try:
            Jobs(self._store, self._uid).update(
                claims.interrupt, self._claim, sentence, preempted=preempted, got_further=self._progress.got_further
            )
        except ClaimLost as error:
            return self.lost(error)
        except StoreError as error:
            logger.error(
                f"the claim could not be released, it expires by itself: {error}", extra={"event": "interrupt_failed"}
            )
        self._progress.phase("interrupted", message="the next attempt goes on from here", error=sentence)
        return INTERRUPTED

    def lost(self, error: Exception) -> int:
        """The claim belongs to another attempt: there is nothing to end."""
        logger.warning(f"this attempt ends: {error}", extra={"event": "claim_lost"})
        return DONE

    def sweep(self, snapshot: Snapshot | None) -> None:
        """Remove from the store what neither this run nor any other needs. `snapshot`: None if the run read none."""
        try:
            prune(self._store, self._uid, self._keep, self._images_in_use(snapshot))
        except StoreError as error:
            logger.warning(f"the store was not pruned: {error}", extra={"event": "prune_failed"})

    def _images_in_use(self, snapshot: Snapshot | None) -> frozenset[str] | None:
        """Keys of the images in the store that the annotated tasks name, or a version that can still be had again.

        None if this run did not read the annotated tasks.
        """
        folder, key_of = keys.images(self._uid), self._image_key
        if key_of is None:
            return frozenset()
        if snapshot is None:
            return None
        tasks = chain(snapshot.tasks(), self._learnt())
        addresses = (value for task in tasks for value in task.data.values() if isinstance(value, str))
        return frozenset(f"{folder}/{key_of(address)}" for address in addresses)

    def _learnt(self) -> Iterator[SnapshotTask]:
        """The tasks that the versions in the store learnt from."""
        registry = Registry(self._store, self._uid)
        with TemporaryDirectory(prefix="labelloop-learnt-") as folder:
            for control in registry.controls():
                for manifest in registry.versions(control):
                    if manifest.dataset is not None:
                        with suppress(NotFound, ModelError):  # what is not there, or is no such file, names no image
                            yield from read_learnt(registry, manifest, Path(folder) / manifest.dataset.name).tasks()
