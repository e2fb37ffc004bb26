"""Which models stay in memory, which files stay in the cache, and when a load is tried again."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import ModelError
from shared.objectstore import ObjectStore
from shared.prediction.ports import Model, NothingToServe, NotNow
from shared.prediction.weights import WeightsCache
from shared.state.base_weights import add_base_weights
from shared.state.registry import Registry
from shared.state.versions import GRAPH, WEIGHTS
from tests.fakes.live_parts import CONTROLS, Parts
from tests.fakes.predict_parts import UID, FakeModel, publish


def test_least_recently_used_models_leave_memory_and_come_back_from_the_cache(
    file_store: ObjectStore, tmp_path: Path
) -> None:
    parts = Parts(file_store, tmp_path, keep=2)
    for control in ("a", "b", "c"):
        (tmp_path / control).write_text(control)
        publish(file_store, tmp_path / control, control=control)
    for control in ("a", "b", "a", "c", "a", "b"):
        assert parts.serve(control) == ("v1", (control,))
    assert parts.loader.loaded == ["a", "b", "c", "b"]


def test_a_version_that_no_control_is_served_with_any_more_leaves_memory(
    file_store: ObjectStore, tmp_path: Path
) -> None:
    parts = Parts(file_store, tmp_path)

    def serve(control: str, names: str) -> list[str]:
        (tmp_path / "new").write_text(names)
        publish(file_store, tmp_path / "new", control=control)
        assert parts.serve(control)[1] == (names,)
        return parts.loader.loaded

    assert serve("a", "Tree") == serve("b", "Tree") == ["Tree"]
    assert serve("a", "Road") == serve("b", "Tree") == ["Tree", "Road"]  # b still needs it
    assert serve("b", "Road") == ["Tree", "Road"]
    assert serve("a", "Tree") == ["Tree", "Road", "Tree"]


@pytest.mark.parametrize("keep", [4, 1])
def test_a_version_is_loaded_before_its_turn_comes_where_there_is_room(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str], keep: int
) -> None:
    parts = Parts(file_store, tmp_path, max_age=60.0, keep=keep)
    known = parts.backend.pointers._known

    def wait_for(seconds: float) -> None:
        known._readings[UID, "label"] = known._readings[UID, "label"]._replace(at=time.monotonic() - seconds)

    publish_names("Tree1")
    assert parts.serve() == ("v1", ("Tree1",))
    publish_names("Tree2")
    wait_for(40)
    assert parts.serve() == ("v1", ("Tree1",))
    assert parts.answered_by_setup == "label:v1"
    for thread in threading.enumerate():  # it looks first, then it loads
        if thread.name == "look":
            thread.join(10)
    for thread in threading.enumerate():
        if thread.name == "load":
            thread.join(10)
    assert parts.loader.loaded == ["Tree1", *(["Tree2"] if keep > 1 else [])]
    assert parts.serve() == ("v1", ("Tree1",))
    wait_for(61)
    assert parts.serve() == ("v2", ("Tree2",))
    assert parts.loader.loaded == ["Tree1", "Tree2"]


def test_files_leave_the_cache_least_recently_used_first(file_store: ObjectStore, tmp_path: Path) -> None:
    parts = Parts(file_store, tmp_path, keep=1, bytes_=2500)
    digests = {}
    for age, control in enumerate(("a", "b", "c")):
        (tmp_path / control).write_text(control * 1000)
        digests[control] = publish(file_store, tmp_path / control, control=control).files[0].sha256
        parts.serve(control)
        os.utime(parts.cache / f"{digests[control]}.onnx", (1000.0 + age, 1000.0 + age))
    assert {path.stem for path in parts.cache.glob("*.onnx")} == {digests["b"], digests["c"]}
    assert not list(parts.cache.glob("*.part"))


def test_a_damaged_or_partial_file_in_the_cache_never_counts(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    digest = publish_names("Tree")
    parts = Parts(file_store, tmp_path)
    parts.cache.mkdir()
    (parts.cache / f"{digest}.onnx").write_text("Tr")
    (parts.cache / f"{digest}.123-abc.part").write_text("T")
    assert parts.serve() == ("v1", ("Tree",))
    assert Registry(file_store, UID).rejected("label") == set()


def test_what_killed_downloads_left_behind_goes_after_a_day(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    digest = publish_names("Tree")
    parts = Parts(file_store, tmp_path)
    old, young = parts.cache / ".unverified-old", parts.cache / ".unverified-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "file").write_text("T")
    os.utime(old, (1000.0, 1000.0))
    parts.serve()
    assert set(parts.cache.iterdir()) == {young, parts.cache / f"{digest}.onnx"}


def test_a_cache_folder_that_cannot_be_written_rejects_nothing(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    publish_names("Tree")
    parts = Parts(file_store, tmp_path)
    parts.cache.write_text("a file where the folder should be")
    with pytest.raises(NotNow, match="LABELLOOP_CACHE_DIR"):
        parts.serve()
    assert Registry(file_store, UID).rejected("label") == set()


def test_base_weights_that_fail_are_not_tried_at_every_request(file_store: ObjectStore, tmp_path: Path) -> None:
    parts = Parts(file_store, tmp_path)
    (tmp_path / "base.pt").write_text("broken")
    for _ in range(3):
        with pytest.raises(ModelError):
            parts.serve()
    assert parts.loader.loaded == ["broken"]


def test_base_weights_that_are_made_later_are_noticed_within_seconds(file_store: ObjectStore, tmp_path: Path) -> None:
    parts, cache, looks = Parts(file_store, tmp_path), WeightsCache(tmp_path / "base cache", 10**6), list[float]()

    def load_base(weights: str) -> FakeModel:
        looks.append(parts.now)
        return parts.loader.load(cache.base_path(file_store, weights))

    parts.loader.load_base = load_base  # type: ignore[method-assign]
    for parts.now in (0.0, 1.0, 2.9, 3.0, 1000.0, 1003.0):
        with pytest.raises(NothingToServe, match=r"'base\.pt' are not in the store"):
            parts.serve()
    assert looks == [0.0, 3.0, 1000.0, 1003.0]
    assert parts.value("labelloop_failed_loads_total") == 0
    files = dict.fromkeys((WEIGHTS, GRAPH), tmp_path / "base.pt")
    add_base_weights(file_store, "base.pt", "detect", ("Thing",), files)
    parts.now += 3.0
    assert parts.serve() == ("base-base", ("Thing",))


def test_prepare_loads_in_the_background(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    publish_names("Tree")
    parts = Parts(file_store, tmp_path)
    loaded = threading.Event()
    load = parts.loader.load

    def load_and_tell(path: Path) -> Model:
        model = load(path)
        loaded.set()
        return model

    parts.loader.load = load_and_tell  # type: ignore[method-assign, assignment]
    parts.models.prepare(UID, CONTROLS)
    assert loaded.wait(10)
    assert parts.serve() == ("v1", ("Tree",))
    assert parts.loader.loaded == ["Tree"]
