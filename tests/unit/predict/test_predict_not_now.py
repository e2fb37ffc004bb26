"""A version that cannot be loaded now: the old one is served, also by /setup; nothing is rejected; it is retried."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors import LabelloopError, StoreError
from shared.objectstore import ObjectStore
from shared.prediction.ports import NotNow
from shared.state.registry import Registry
from tests.fakes.live_parts import CONTROLS, Parts, stored_weights
from tests.fakes.predict_parts import FAR, UID, FakeModel, publish
from tests.fakes.threads import no_thread_can_be_started


class Store:
    """A store whose downloads do what the test says; the rest is real."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.before: Callable[[Path], None] = lambda path: None
        self.after: Callable[[Path], None] = lambda path: None
        self.downloads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def download(self, key: str, path: Path) -> None:
        self.downloads += 1
        self.before(path)
        self.store.download(key, path)
        self.after(path)


@pytest.fixture
def store(file_store: ObjectStore) -> Store:
    return Store(file_store)


def publish_names(store: Store, folder: Path, names: str) -> str:
    path = folder / "new.pt"
    path.write_text(names)
    return publish(store.store, path).files[0].sha256


def serving(store: Store, folder: Path, **changes: Any) -> Parts:
    """A process that serves v1 while v2 is published."""
    parts = Parts(store, folder, **changes)
    publish_names(store, folder, "Old")
    assert parts.serve() == ("v1", ("Old",))
    publish_names(store, folder, "New")
    return parts


def raising(error: BaseException) -> Callable[[Path], None]:
    def fail(_: Path) -> None:
        raise error

    return fail


def rejected(store: Store) -> set[int]:
    return Registry(store.store, UID).rejected("label")


def loads_have_ended() -> None:
    for thread in threading.enumerate():
        if thread.name in ("load", "prepare"):
            thread.join(10)


def after_a_pause(parts: Parts) -> tuple[str, tuple[str, ...]]:
    """What is served after the next retry has ended; requests do not wait for it if another version can be served."""
    parts.now += 10
    parts.serve()
    loads_have_ended()
    return parts.serve()


_NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
# What torch, cuDNN and cuBLAS raise when memory is short, and CPython when there is no thread to give.
_SHORT = [
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("can't start new thread"),
    MemoryError(),
]


@pytest.mark.parametrize("error", [_NO_SPACE, StoreError("cut off")], ids=["disk full", "store gone"])
def test_a_version_that_cannot_be_kept_leaves_the_old_one_also_in_setup(
    store: Store, tmp_path: Path, error: Exception
) -> None:
    parts = serving(store, tmp_path)
    store.before = raising(error)
    for _ in range(3):  # the pointer is read anew each time
        assert parts.serve() == ("v1", ("Old",))
        assert parts.answered_by_setup == "label:v1"
    assert store.downloads == 2
    store.before = lambda _: None
    assert after_a_pause(parts) == ("v2", ("New",))
    assert parts.answered_by_setup == "label:v2"
    assert rejected(store) == set()


@pytest.mark.parametrize("keep", [1, 4])
def test_while_a_download_hangs_the_old_version_goes_on_also_in_setup(store: Store, tmp_path: Path, keep: int) -> None:
    parts, leave = serving(store, tmp_path, patience=0.05, keep=keep), threading.Event()
    store.before = lambda _: assert_(leave.wait(10))
    for _ in range(3):
        assert parts.serve() == ("v1", ("Old",))
        assert parts.answered_by_setup == "label:v1"
    assert store.downloads == 2  # one hangs, however often somebody asks
    leave.set()
    loads_have_ended()
    assert parts.serve() == ("v2", ("New",))
    assert parts.answered_by_setup == "label:v2"
    assert parts.loader.loaded == ["Old", "New"]


def test_a_newer_version_than_the_one_that_hangs_is_served(store: Store, tmp_path: Path) -> None:
    parts, leave = serving(store, tmp_path, patience=0.05), threading.Event()
    store.before = lambda _: assert_(leave.wait(10))
    assert parts.serve() == ("v1", ("Old",))
    store.before = lambda _: None
    publish_names(store, tmp_path, "Newest")
    assert parts.answered_by_setup == "label:v3"
    parts.models._patience = 60.0
    assert parts.serve() == ("v3", ("Newest",))
    leave.set()
    loads_have_ended()


def test_base_weights_go_on_while_the_first_version_cannot_be_had(store: Store, tmp_path: Path) -> None:
    parts = Parts(store, tmp_path)
    assert parts.serve() == ("base-base", ("Thing",))
    publish_names(store, tmp_path, "Tree")
    store.before = raising(_NO_SPACE)
    for _ in range(2):
        assert parts.serve() == ("base-base", ("Thing",))
        assert parts.answered_by_setup == "label:base-base"


@pytest.mark.parametrize("error", _SHORT, ids=str)
def test_memory_and_threads_that_are_short_once_reject_nothing(store: Store, tmp_path: Path, error: Exception) -> None:
    parts = serving(store, tmp_path)
    load, failing = parts.loader.load, [error]

    def short(path: Path) -> FakeModel:
        if failing:
            raise failing[0]
        return load(path)

    parts.loader.load = short  # type: ignore[method-assign]
    assert parts.serve() == ("v1", ("Old",))
    assert parts.answered_by_setup == "label:v1"
    failing.clear()
    assert after_a_pause(parts) == ("v2", ("New",))
    assert rejected(store) == set()
    assert parts.value("labelloop_failed_loads_total") == 1


def test_pauses_between_two_tries_grow(store: Store, tmp_path: Path) -> None:
    parts = serving(store, tmp_path)
    store.before = raising(_NO_SPACE)
    tried = []
    for parts.now in (0, 9, 10, 29, 30, 69, 70, 149, 150, 309, 310, 609, 610, 909, 910):
        before = store.downloads
        parts.serve()
        loads_have_ended()
        tried += [parts.now] * (store.downloads - before)
    assert tried == [0, 10, 30, 70, 150, 310, 610, 910]


def test_a_process_that_served_nothing_yet_serves_the_version_behind(store: Store, tmp_path: Path) -> None:
    serving(store, tmp_path)
    store.before = raising(_NO_SPACE)
    parts = Parts(store, tmp_path)
    assert parts.serve() == ("v1", ("Old",))  # from the files of the process before
    assert parts.answered_by_setup == "label:v1"
    store.before = lambda _: None
    assert after_a_pause(parts) == ("v2", ("New",))


def test_without_another_version_the_reason_is_said(store: Store, tmp_path: Path) -> None:
    publish_names(store, tmp_path, "Tree")
    store.before = raising(_NO_SPACE)
    parts = Parts(store, tmp_path)
    for _ in range(2):
        with pytest.raises(LabelloopError, match="No space left"):
            parts.serve()
    assert store.downloads == 1


def test_weights_that_are_not_in_the_store_yet_reject_nothing(store: Store, tmp_path: Path) -> None:
    parts = Parts(store, tmp_path)
    publish_names(store, tmp_path, "Old")
    away, there = tmp_path / "away", stored_weights(tmp_path, publish_names(store, tmp_path, "New"))
    there.rename(away)
    assert parts.serve() == ("v1", ("Old",))
    assert rejected(store) == set()
    away.rename(there)
    assert after_a_pause(parts) == ("v2", ("New",))


def test_a_transfer_that_damages_the_file_once_rejects_nothing(store: Store, tmp_path: Path) -> None:
    parts = serving(store, tmp_path)

    def damage(path: Path) -> None:
        if store.downloads == 2:
            path.write_text("Evil")

    store.after = damage
    assert parts.serve() == ("v2", ("New",))
    assert rejected(store) == set()
    assert "Evil" not in parts.loader.loaded


def test_a_file_that_is_damaged_twice_is_rejected(store: Store, tmp_path: Path) -> None:
    parts = serving(store, tmp_path)
    store.after = lambda path: assert_(path.write_text("Evil"))
    assert parts.serve() == ("v1", ("Old",))
    assert rejected(store) == {2}


class TestWithoutThreads:
    def test_the_old_version_goes_on(self, store: Store, tmp_path: Path) -> None:
        parts = serving(store, tmp_path, max_age=60)
        parts.backend.pointers.expire(UID, "label")
        parts.backend.pointers.newest(UID, CONTROLS[0])
        with no_thread_can_be_started():
            assert parts.serve() == ("v1", ("Old",))
            assert parts.answered_by_setup == "label:v1"
        assert after_a_pause(parts) == ("v2", ("New",))

    def test_base_weights_come_back(self, store: Store, tmp_path: Path) -> None:
        parts = Parts(store, tmp_path, max_age=60)
        parts.backend.pointers.newest(UID, CONTROLS[0])
        with no_thread_can_be_started(), pytest.raises(NotNow, match="can't start new thread"):
            parts.serve()
        parts.now += 10
        assert parts.serve() == ("base-base", ("Thing",))

    def test_prepare_is_put_off(self, store: Store, tmp_path: Path) -> None:
        parts = serving(store, tmp_path)
        with no_thread_can_be_started():
            parts.models.prepare(UID, CONTROLS)
        parts.models.prepare(UID, CONTROLS)
        loads_have_ended()
        assert parts.loader.loaded == ["Old", "New"]


def test_one_prepare_a_project_at_a_time(store: Store, tmp_path: Path) -> None:
    parts, entered, leave = Parts(store, tmp_path), threading.Event(), threading.Event()
    publish_names(store, tmp_path, "Tree")

    def hang(_: Path) -> None:
        entered.set()
        assert leave.wait(10)

    store.before = hang
    for _ in range(20):  # every task that an annotator opens is a setup
        parts.models.prepare(UID, CONTROLS)
    assert entered.wait(10)
    assert [thread.name for thread in threading.enumerate()].count("prepare") == 1
    leave.set()
    loads_have_ended()
    publish_names(store, tmp_path, "New")
    parts.models.prepare(UID, CONTROLS)
    loads_have_ended()
    assert parts.loader.loaded == ["Tree", "New"]


def test_a_failure_that_is_answered_again_and_again_does_not_grow(store: Store, tmp_path: Path) -> None:
    publish_names(store, tmp_path, "Tree")
    store.before = raising(_NO_SPACE)
    parts = Parts(store, tmp_path)
    lengths = []
    for _ in range(5):
        with pytest.raises(LabelloopError) as caught:
            parts.models.serving(UID, CONTROLS[0], FAR)
        lengths.append(len(caught.traceback))
    assert len(set(lengths[1:])) == 1


def assert_(true: object) -> None:
    assert true
