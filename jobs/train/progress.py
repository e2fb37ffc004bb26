"""Writes the run's `progress.json`, which `labelloop status` reads. A failed write is logged and never ends a run."""

import logging
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Any

from jobs.train.checkpoints.spool import Epoch
from jobs.train.checkpoints.store import Checkpoint
from jobs.train.data.dataset import Counts
from shared import tracing
from shared.errors import StoreError
from shared.evolve import evolve
from shared.state.jobs import Jobs
from shared.state.runs import ENDED, Progress, RunPhase

logger = logging.getLogger(__name__)


class ProgressWriter:
    """Thread-safe: phases come from the job's thread, epochs from the CheckpointUploader's."""

    def __init__(self, jobs: Jobs, run_id: str, attempt: int) -> None:
        self._jobs = jobs
        self._run_id = run_id
        self._lock = threading.Lock()
        self.got_further = False  # whether a checkpoint of this attempt is in the store
        self._finished_at: deque[tuple[int, float]] = deque(maxlen=10)
        self._steps = tracing.Steps()
        self._progress = Progress(phase="export", attempt=attempt, updated_at=datetime.now(UTC))

    def phase(
        self, phase: RunPhase, *, control: str | None = None, message: str = "", error: str | None = None
    ) -> None:
        """The run entered a phase. The fields of the last epoch stay."""
        if phase in (*ENDED, "interrupted"):
            self._steps.end()
        else:
            self._steps.begin(phase, control=control or "")
        logger.info(message or phase, extra={"event": "phase", "phase": phase, "control": control, "error": error})
        self._write(phase=phase, control=control, message=message, error=error, eta_seconds=None)

    def begin_training(self, control: str, epochs: int, counts: Counts) -> None:
        """A control's training starts: clear the fields of the last epoch. `counts`: of its dataset."""
        self._finished_at.clear()
        self._steps.begin("train", control=control)
        logger.info(f"training {control!r}", extra={"event": "phase", "phase": "train", "control": control})
        self._write(
            phase="train", control=control, epoch=None, epochs=epochs, metrics={}, message=counts.remarks, error=None,
            checkpoint=None, checkpoint_sha256=None, val_tasks=counts.val, val_things=counts.val_objects,
        )  # fmt: skip

    def close(self) -> None:
        """Nothing more happens in this attempt: its last phase ends in the trace. Called on the job's thread."""
        self._steps.end()

    def epoch(self, epoch: Epoch, checkpoint: Checkpoint | None) -> None:
        """An epoch ended. `checkpoint`: where the store keeps it; None if the upload failed."""
        self._finished_at.append((epoch.number, epoch.finished_at))
        (first, since), (last, until) = self._finished_at[0], self._finished_at[-1]
        eta = (until - since) / (last - first) * (epoch.epochs - last) if last > first else None
        changes: dict[str, Any] = {
            "epoch": epoch.number,
            "epochs": epoch.epochs,
            "metrics": epoch.metrics,
            "eta_seconds": eta,
        }
        if checkpoint:
            self.got_further = True
            changes |= {"checkpoint": checkpoint.key, "checkpoint_sha256": checkpoint.sha256}
        logger.info(
            f"epoch {epoch.number} of {epoch.epochs}",
            extra={"event": "epoch", "epoch": epoch.number, "epochs": epoch.epochs, **epoch.metrics},
        )
        self._write(**changes)

    def _write(self, **changes: Any) -> None:
        with self._lock:
            self._progress = evolve(self._progress, **changes, updated_at=datetime.now(UTC))
            try:
                self._jobs.runs.write_progress(self._run_id, self._progress)
            except StoreError as error:
                logger.warning(f"progress was not written: {error}", extra={"event": "progress_failed"})
