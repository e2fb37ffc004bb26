"""Uploads the checkpoints of a running training to the store, on a thread of its own."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from jobs.train.checkpoints.spool import Epoch, Spool
from jobs.train.checkpoints.store import Checkpoint
from shared.errors import StoreError

logger = logging.getLogger(__name__)

_PAUSE = 0.5  # seconds between looks at the spool
_PAUSE_AFTER_FAILURE = 15.0


class Keeper(Protocol):
    """Where checkpoints go: to the store, as a rule (`jobs.train.checkpoints.store`)."""

    def keep(self, epoch: Epoch, path: Path) -> Checkpoint | None:
        """Keep the checkpoint of an epoch, a file; None if none are kept. Raises StoreError."""


class CheckpointUploader:
    """Uploads the newest epoch and the best one; epochs between them are dropped."""

    def __init__(
        self,
        spool: Spool,
        checkpoints: Keeper,
        tell: Callable[[Epoch, Checkpoint | None], None],
        every: Callable[[Epoch], None] = lambda _: None,
    ) -> None:
        """`tell` hears of the newest epoch; `every` of each one, perhaps several times, and must not wait."""
        self._spool = spool
        self._checkpoints = checkpoints
        self._tell = tell
        self._every = every
        self._told: tuple[int, bool] | None = None  # the newest epoch told, and whether its checkpoint was stored
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Upload what is left in the spool, however the training ended."""
        self._done.set()
        self._thread.join()
        self.flush()

    def flush(self) -> bool:
        """Upload everything now; answers whether the store took all. What it did not take is tried again later."""
        with self._lock:
            epochs = list(self._spool.epochs())
            if not epochs:
                return True
            for epoch in epochs:
                self._every(epoch)
            newest = epochs[-1]
            best = next((epoch for epoch in reversed(epochs) if epoch.best), newest)
            for epoch in epochs:
                if epoch not in (newest, best):
                    self._spool.remove(epoch)
            checkpoint, all_taken = None, True
            try:
                checkpoint = self._upload(newest)
                if best is not newest:
                    self._upload(best)
            except StoreError as error:
                all_taken = False
                logger.warning(f"a checkpoint was not stored: {error}", extra={"event": "checkpoint_failed"})
            if self._told != (newest.number, checkpoint is not None):
                self._told = (newest.number, checkpoint is not None)
                self._tell(newest, checkpoint)
            return all_taken

    def _upload(self, epoch: Epoch) -> Checkpoint | None:
        checkpoint = self._checkpoints.keep(epoch, self._spool.checkpoint(epoch))
        self._spool.remove(epoch)
        return checkpoint

    def _run(self) -> None:
        pause = _PAUSE
        while not self._done.wait(pause):
            pause = _PAUSE if self.flush() else _PAUSE_AFTER_FAILURE
