"""Checkpoints of one control in the store: the newest, the one before it and the best, each with its digest.

`checkpoints/<control>/<attempt>-<epoch>.pt`, and one index for each attempt, which only that attempt writes. A
checkpoint is a pickle, so it is loaded only if its digest is in an index.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from jobs.train.checkpoints.spool import Epoch
from shared.digest import sha256_of
from shared.errors import AlreadyExists, NotFound
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.jobs import Jobs
from shared.state.records import Record

logger = logging.getLogger(__name__)


class Checkpoint(Record):
    """One checkpoint in the store."""

    key: str
    sha256: str
    epoch: int  # finished, from 1
    epochs: int  # that its training will have


class Index(Record):
    """The checkpoints that one attempt keeps."""

    newest: Checkpoint
    previous: Checkpoint | None = None
    best: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """Verified local files to continue a training from."""

    last: Path
    best: Path | None
    epoch: int  # finished, from 1
    epochs: int

    @property
    def finished(self) -> bool:
        """Whether no epoch is left."""
        return self.epoch >= self.epochs


class Checkpoints:
    """The checkpoints of one control in one run, written by one attempt."""

    def __init__(
        self,
        store: ObjectStore,
        jobs: Jobs,
        run_id: str,
        control: str,
        attempt: int,
        *,
        read_from: ObjectStore | None = None,
    ) -> None:
        """`read_from`: the store to read earlier attempts' checkpoints with; None: `store`."""
        self._store = store
        self._read_from = read_from or store
        self._folder = keys.checkpoints(jobs.uid, run_id, control)
        self._attempt = attempt
        self._index: Index | None = None

    def keep(self, epoch: Epoch, path: Path) -> Checkpoint:
        """Upload a checkpoint, write the index, then remove this attempt's files that it no longer names."""
        stored = self._upload(epoch, path)
        old = self._index
        if old and old.newest.epoch > stored.epoch:  # the best one, uploaded after a newer one
            index = evolve(old, best=stored)
        else:
            best = stored if epoch.best else (old.best if old else None)
            index = Index(newest=stored, previous=old.newest if old else None, best=best)
        self._store.put(f"{self._folder}/{keys.checkpoint_index(self._attempt)}", index.to_json())
        self._index = index
        for gone in _keys(old) - _keys(index):
            if gone.startswith(f"{self._folder}/{self._attempt}-"):
                self._store.delete(gone)
        return stored

    def resume(self, folder: Path) -> Resumed | None:
        """Download the newest checkpoint with the right digest, and the best one of its index; None: there is none."""
        folder.mkdir(parents=True, exist_ok=True)
        indexes = list(self._indexes())
        found = {
            (checkpoint.epoch, checkpoint.key): checkpoint for index in indexes for checkpoint in _checkpoints_of(index)
        }
        for _, checkpoint in sorted(found.items(), reverse=True):
            last = folder / "resume.pt"
            if not self._download(checkpoint, last):
                continue
            index = next(index for index in indexes if checkpoint in _checkpoints_of(index))
            best = folder / "resume-best.pt"
            have_best = index.best is not None and self._download(index.best, best)
            self._index = evolve(index, newest=checkpoint, previous=None, best=index.best if have_best else None)
            return Resumed(last, best if have_best else None, checkpoint.epoch, checkpoint.epochs)
        return None

    def are_left(self) -> bool:
        """Whether any attempt wrote an index."""
        return next(self._indexes(), None) is not None

    def _upload(self, epoch: Epoch, path: Path) -> Checkpoint:
        key = f"{self._folder}/{self._attempt}-{epoch.number}.pt"
        try:
            self._store.upload(key, path)
        except AlreadyExists:  # an earlier try succeeded unnoticed, or the epoch was trained again (out of memory)
            self._store.delete(key)
            self._store.upload(key, path)
        return Checkpoint(key=key, sha256=sha256_of(path), epoch=epoch.number, epochs=epoch.epochs)

    def _download(self, checkpoint: Checkpoint, path: Path) -> bool:
        try:
            self._read_from.download(checkpoint.key, path)
        except NotFound:
            found = "nothing"
        else:
            found = sha256_of(path)
        if found == checkpoint.sha256:
            return True
        path.unlink(missing_ok=True)
        logger.warning(
            f"checkpoint {checkpoint.key} is not used: its index says {checkpoint.sha256}, found {found}",
            extra={"event": "checkpoint_refused", "key": checkpoint.key},
        )
        return False

    def _indexes(self) -> Iterator[Index]:
        """The indexes of all attempts, newest first."""
        keys = [key for key in self._read_from.list(f"{self._folder}/") if key.endswith(".json")]
        for key in reversed(keys):
            stored = self._read_from.get(key)
            assert stored is not None
            try:
                yield Index.model_validate_json(stored.data)
            except ValidationError:
                logger.warning(
                    f"{key} is not an index of checkpoints", extra={"event": "checkpoint_refused", "key": key}
                )


def _checkpoints_of(index: Index) -> list[Checkpoint]:
    return [checkpoint for checkpoint in (index.newest, index.previous, index.best) if checkpoint]


def _keys(index: Index | None) -> set[str]:
    return {checkpoint.key for checkpoint in _checkpoints_of(index)} if index else set()
