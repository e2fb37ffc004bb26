"""Checkpoints in the store: newest wins, the best survives, nothing unverified is used."""

import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.train.checkpoints.spool import Epoch, Spool, named_metrics
from jobs.train.checkpoints.store import Checkpoint, Checkpoints
from jobs.train.checkpoints.uploader import CheckpointUploader
from jobs.train.progress import ProgressWriter
from shared.errors import StoreError
from shared.objectstore import ObjectStore
from shared.state.jobs import Jobs
from tests.fakes.train_parts import UID


def epoch(number: int, *, best: bool = False) -> Epoch:
    return Epoch(number, 10, {"mAP50": number / 10}, best, 1000.0 + number)


def checkpoints(store: ObjectStore, attempt: int = 1) -> Checkpoints:
    return Checkpoints(store, Jobs(store, UID), "run", "a/b", attempt)


def keep(kept: Checkpoints, tmp_path: Path, number: int, *, best: bool = False) -> Checkpoint:
    path = tmp_path / "last.pt"
    path.write_text(f"epoch {number}")
    return kept.keep(epoch(number, best=best), path)


def test_what_is_no_number_is_no_metric(file_store: ObjectStore) -> None:
    """A training that diverges: the record of the run's progress could not be read for the rest of it."""
    metrics = named_metrics({"metrics/mAP50(B)": float("nan"), "metrics/mAP50-95(B)": 0.5})
    assert metrics == {"mAP50-95": 0.5}
    writer = ProgressWriter(jobs := Jobs(file_store, UID), "run", 1)
    writer.epoch(Epoch(1, 10, metrics, True, 1000.0), None)
    progress = jobs.runs.progress("run")
    assert progress is not None
    assert progress.metrics == {"mAP50-95": 0.5}


def test_nothing_to_resume(file_store: ObjectStore, tmp_path: Path) -> None:
    assert checkpoints(file_store).resume(tmp_path / "resume") is None


def test_newest_the_one_before_and_the_best_are_kept(file_store: ObjectStore, tmp_path: Path) -> None:
    kept = checkpoints(file_store)
    for number in range(1, 8):
        keep(kept, tmp_path, number, best=number == 3)
    folder = f"runs/{UID}/run/checkpoints/a%2Fb"
    assert list(file_store.list(folder)) == [f"{folder}/{name}" for name in ("0001.json", "1-3.pt", "1-6.pt", "1-7.pt")]
    resumed = checkpoints(file_store, attempt=2).resume(tmp_path / "resume")
    assert resumed is not None
    assert (resumed.epoch, resumed.epochs, resumed.finished) == (7, 10, False)
    assert resumed.last.read_text() == "epoch 7"
    assert resumed.best is not None
    assert resumed.best.read_text() == "epoch 3"


def test_a_corrupt_checkpoint_is_never_used(file_store: ObjectStore, tmp_path: Path) -> None:
    kept = checkpoints(file_store)
    keep(kept, tmp_path, 1, best=True)
    broken = keep(kept, tmp_path, 2)
    file_store.put(broken.key, b"epoch 2, tampered with")
    resumed = checkpoints(file_store, attempt=2).resume(tmp_path / "resume")
    assert resumed is not None
    assert (resumed.epoch, resumed.last.read_text()) == (1, "epoch 1")


def test_a_later_attempt_goes_on_from_the_attempt_before(file_store: ObjectStore, tmp_path: Path) -> None:
    keep(checkpoints(file_store, 1), tmp_path, 4, best=True)
    second = checkpoints(file_store, 2)
    second.resume(tmp_path / "resume")
    keep(second, tmp_path, 5)
    resumed = checkpoints(file_store, 3).resume(tmp_path / "again")
    assert resumed is not None
    assert resumed.epoch == 5
    assert resumed.best is not None
    assert resumed.best.read_text() == "epoch 4", "the best epoch of an earlier attempt is not lost"


def test_an_index_that_is_broken_costs_only_its_attempt(file_store: ObjectStore, tmp_path: Path) -> None:
    keep(checkpoints(file_store, 1), tmp_path, 4)
    file_store.put(f"runs/{UID}/run/checkpoints/a%2Fb/0002.json", b"{")
    resumed = checkpoints(file_store, 3).resume(tmp_path / "resume")
    assert resumed is not None
    assert resumed.epoch == 4


class Deaf:
    """A store that takes no file while `deaf`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.deaf = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def upload(self, key: str, path: Path) -> None:
        if self.deaf:
            raise StoreError("the store is not reachable")
        self._store.upload(key, path)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", tmp_path / "abort", time.time() + 3600)


def add(spool: Spool, number: int, *, best: bool = False) -> None:
    path = spool.folder.parent / "last.pt"
    path.write_text(f"epoch {number}")
    spool.add(epoch(number, best=best), path)


def test_courier_carries_the_newest_and_the_best(file_store: ObjectStore, spool: Spool, tmp_path: Path) -> None:
    told: list[tuple[int, bool]] = []
    courier = CheckpointUploader(
        spool, checkpoints(file_store), lambda epoch, stored: told.append((epoch.number, stored is not None))
    )
    for number in range(1, 6):
        add(spool, number, best=number == 2)
    courier.flush()
    assert told == [(5, True)]
    assert [key.rsplit("/", 1)[1] for key in file_store.list("runs/")] == ["0001.json", "1-2.pt", "1-5.pt"]
    assert not list(spool.epochs())


def test_courier_keeps_what_the_store_refuses_and_tells_once(
    file_store: ObjectStore, spool: Spool, tmp_path: Path
) -> None:
    deaf = Deaf(file_store)
    told: list[tuple[int, bool]] = []
    courier = CheckpointUploader(
        spool, checkpoints(deaf), lambda epoch, stored: told.append((epoch.number, stored is not None))
    )
    deaf.deaf = True
    for number in range(1, 4):
        add(spool, number)
        courier.flush()
        courier.flush()
    assert told == [(1, False), (2, False), (3, False)]
    assert [epoch.number for epoch in spool.epochs()] == [3], "an outage does not fill the disk"
    deaf.deaf = False
    courier.flush()
    assert told[-1] == (3, True)


def test_callbacks_survive_pickling(spool: Spool) -> None:
    """ultralytics sends them to its multi-GPU processes."""
    again = pickle.loads(pickle.dumps(spool.callbacks()))
    assert again["on_model_save"].__self__ == spool
