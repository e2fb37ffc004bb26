"""Which version is served: swaps, rejected versions, a store that is down."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.errors import StoreError
from shared.labelstudio.config import parse_label_config
from shared.objectstore import ObjectStore, Token
from shared.prediction.context import prepare
from shared.prediction.ports import DeadlineExceeded, NothingToServe, NotNow
from shared.prediction.unanswered import Unanswered
from shared.prediction.weights import WeightsCache
from shared.state.base_weights import add_base_weights
from shared.state.registry import Registry
from shared.state.versions import GRAPH, WEIGHTS, Shown
from tests.fakes.live_parts import CONTROLS, Parts, stored_weights
from tests.fakes.predict_parts import FAR, UID, FakeLoader, FakeModel, label_config, publish


class Switch:
    """A store that can be down."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.gone = False

    def __getattr__(self, name: str) -> Any:
        if self.gone and name != "url":
            raise StoreError("the store does not answer")
        return getattr(self.store, name)


def test_base_weights_before_the_first_version_then_each_version(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    parts = Parts(file_store, tmp_path)
    assert parts.serve() == ("base-base", ("Thing",))
    assert parts.answered_by_setup == "label:base-base"
    for version in (1, 2):
        publish_names(f"Tree{version}")
        assert parts.serve() == (f"v{version}", (f"Tree{version}",))
        assert parts.answered_by_setup == f"label:v{version}"
    assert parts.value("labelloop_model_swaps_total") == 2
    assert parts.loader.loaded == ["Thing", "Tree1", "Tree2"]  # each once


def test_versions_of_the_same_weights_show_what_each_of_them_chose(file_store: ObjectStore, tmp_path: Path) -> None:
    parts, weights = Parts(file_store, tmp_path), tmp_path / "new.pt"
    weights.write_text("Tree")
    chosen = [{"Tree": Shown(confidence=confidence, iou=0.5)} for confidence in (0.6, 0.3)]
    first, second = (
        publish(file_store, weights, shown=chosen[0]),
        publish(file_store, weights, control="b", shown=chosen[1]),
    )
    assert first.files == second.files
    for control, shown in (("label", chosen[0]), ("b", chosen[1]), ("label", chosen[0])):
        assert parts.models.serving(UID, replace(CONTROLS[0], name=control), FAR).shown == shown
    publish(file_store, weights, shown={})
    assert parts.models.serving(UID, CONTROLS[0], FAR).shown == {}
    assert parts.loader.loaded == ["Tree"]


def test_each_yolo_task_has_base_weights_of_its_own(file_store: ObjectStore, tmp_path: Path) -> None:
    parts = Parts(file_store, tmp_path, more="segment:Part,Whole")
    assert parts.serve("label") == parts.serve("other") == ("base-base", ("Thing",))
    assert parts.serve("poly", "segment") == ("base-base-seg", ("Part", "Whole"))
    assert parts.loader.loaded == ["Thing", "segment:Part,Whole"]  # each once


def test_setup_names_the_weights_that_a_control_asks_for_as_predict_does(
    file_store: ObjectStore, tmp_path: Path
) -> None:
    parts = Parts(file_store, tmp_path, more="Other")
    config = label_config("label", "other").replace('"other"', '"other" model_path="base-seg.pt"')
    controls = parse_label_config(config)
    served = {control.name: parts.models.serving(UID, control, FAR) for control in controls}
    assert {name: (one.version, one.model.names) for name, one in served.items()} == {
        "label": ("base-base", ("Thing",)),
        "other": ("base-base-seg", ("Other",)),
    }
    assert parts.backend.model_version(UID, controls) == "label:base-base+other:base-base-seg"


@pytest.mark.parametrize("base", ["Thing", "classify:Thing"])
def test_a_control_without_weights_of_its_task_waits_for_its_first_version(
    file_store: ObjectStore, tmp_path: Path, base: str
) -> None:
    parts = Parts(file_store, tmp_path, base=base)
    found = base.rpartition(":")[0] or "detect"
    for _ in range(2):
        with pytest.raises(
            NothingToServe, match=f"needs weights for segment, 'base.pt' are for {found}: .* LABELLOOP_BASE_WEIGHTS"
        ) as caught:
            parts.serve("poly", "segment")
        assert caught.value.version == "base-base"  # as setup stamps it
    assert parts.loader.loaded == [base]
    weights = tmp_path / "new.pt"
    weights.write_text("segment:Tree")
    publish(file_store, weights, control="poly", yolo_task="segment")
    assert parts.serve("poly", "segment") == ("v1", ("Tree",))


def test_base_weights_that_cannot_be_had_leave_the_controls_that_have_a_version(
    file_store: ObjectStore, tmp_path: Path
) -> None:
    parts = Parts(file_store, tmp_path, base="broken")
    with pytest.raises(NothingToServe, match=r"base\.pt is no model") as caught:
        parts.serve("kind")
    assert caught.value.version == "base-base"
    weights = tmp_path / "new.pt"
    weights.write_text("Tree")
    publish(file_store, weights)
    assert parts.serve("label") == ("v1", ("Tree",))


def test_weights_whose_name_says_no_task_serve_the_one_they_are_for(file_store: ObjectStore, tmp_path: Path) -> None:
    assert Parts(file_store, tmp_path, base="segment:Part").serve("poly", "segment") == ("base-base", ("Part",))


def test_a_version_for_another_task_leaves_the_base_weights(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    parts = Parts(file_store, tmp_path, more="segment:Part")
    publish_names("Tree")
    assert parts.serve() == ("v1", ("Tree",))
    assert parts.serve("label", "segment") == ("base-base-seg", ("Part",))  # the config was changed
    assert parts.serve() == ("v1", ("Tree",))
    assert Registry(file_store, UID).rejected("label") == set()


def test_a_version_whose_weights_are_not_for_its_task_is_rejected(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    publish_names("Tree")
    publish_names("pose:Tree")
    assert Parts(file_store, tmp_path).serve() == ("v1", ("Tree",))
    assert Registry(file_store, UID).rejected("label") == {2}


def test_while_the_store_fails_a_changed_control_is_not_served_with_what_was_for_another_task(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    parts = Parts(file_store, tmp_path)
    publish_names("Tree")
    parts.serve()
    weights = tmp_path / "new.pt"
    weights.write_text("segment:Tree")
    publish(file_store, weights, yolo_task="segment")
    parts.cache.rename(tmp_path / "elsewhere")
    parts.cache.write_text("a file where the folder should be")
    with pytest.raises(NotNow):
        parts.serve("label", "segment")


def test_a_request_under_way_keeps_its_version(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    parts = Parts(file_store, tmp_path, keep=1)
    publish_names("Old")
    before = parts.models.serving(UID, CONTROLS[0], FAR)
    publish_names("New")
    assert parts.serve() == ("v2", ("New",))
    assert (before.version, before.model.names) == ("v1", ("Old",))


@pytest.mark.parametrize("damage", ["tampered", "no model"])
def test_a_version_that_fails_is_rejected_and_the_one_behind_it_is_served(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str], damage: str
) -> None:
    parts = Parts(file_store, tmp_path, max_age=60)  # setup must not wait for the pointer's age to agree
    publish_names("Good")
    digest = publish_names("broken" if damage == "no model" else "Bad")
    if damage == "tampered":
        stored_weights(tmp_path, digest).write_text("Evil")
    assert parts.answered_by_setup == "label:v2"
    assert parts.serve() == ("v1", ("Good",))
    assert parts.answered_by_setup == "label:v1"
    assert Registry(file_store, UID).rejected("label") == {2}
    assert "Evil" not in parts.loader.loaded
    assert parts.value("labelloop_versions_rejected_total") == 1
    publish_names("Better")
    assert Parts(file_store, tmp_path).serve() == ("v3", ("Better",))


def test_all_versions_rejected_leaves_the_base_weights(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    parts = Parts(file_store, tmp_path)
    publish_names("broken 1")
    publish_names("broken 2")
    assert parts.serve()[0] == "base-base"
    assert Registry(file_store, UID).rejected("label") == {1, 2}


def test_the_store_is_gone_midway(file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]) -> None:
    switch = Switch(file_store)
    parts = Parts(switch, tmp_path)
    publish_names("Tree")
    assert parts.serve()[0] == "v1"
    switch.gone = True
    assert parts.serve() == ("v1", ("Tree",))
    assert parts.answered_by_setup == "label:v1"


def test_the_store_is_gone_between_pointer_and_weights(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    class NoDownloads(Switch):
        def download(self, key: str, path: Path) -> None:
            raise StoreError("cut off")

    parts = Parts(file_store, tmp_path)
    publish_names("Tree")
    parts.serve()
    parts.models._registry = lambda uid: Registry(NoDownloads(file_store), uid)
    publish_names("New")
    assert parts.serve() == ("v1", ("Tree",))
    assert Registry(file_store, UID).rejected("label") == set()  # it may be good


def test_a_rejection_that_cannot_be_recorded_serves_the_last_version(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    class ReadOnly(Switch):
        def create(self, key: str, data: bytes) -> Token:
            raise StoreError("not allowed")

    parts = Parts(ReadOnly(file_store), tmp_path)
    publish_names("Tree")
    parts.serve()
    publish_names("broken")
    assert parts.serve() == ("v1", ("Tree",))


def test_a_store_that_never_answered_is_an_error(file_store: ObjectStore, tmp_path: Path) -> None:
    switch = Switch(file_store)
    switch.gone = True
    with pytest.raises(StoreError, match="does not answer"):
        Parts(switch, tmp_path).serve()


def test_many_requests_load_a_version_once(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    parts = Parts(file_store, tmp_path)
    publish_names("Tree")
    entered, leave = threading.Event(), threading.Event()
    load = parts.loader.load

    def slow(path: Path) -> FakeModel:
        entered.set()
        assert leave.wait(10)
        return load(path)

    parts.loader.load = slow  # type: ignore[method-assign]
    served: list[str] = []
    requests = [threading.Thread(target=lambda: served.append(parts.serve()[0])) for _ in range(8)]
    for request in requests:
        request.start()
    assert entered.wait(10)
    with pytest.raises(DeadlineExceeded):
        parts.models.serving(UID, CONTROLS[0], time.monotonic() + 0.05)
    leave.set()
    for request in requests:
        request.join(10)
    assert served == ["v1"] * 8
    assert parts.loader.loaded == ["Tree"]


class StoredLoader(FakeLoader):
    """Takes base weights out of the store, as predict does."""

    def __init__(self, store: ObjectStore, cache: Path) -> None:
        super().__init__()
        self.cache, self.store = WeightsCache(cache, 10**6), store

    def load_base(self, weights: str) -> FakeModel:
        return self.load(self.cache.base_path(self.store, weights))


def test_base_weights_that_nobody_has_made_yet_are_not_in_the_stamp(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    """Else Label Studio would never ask again for the control that these predictions lack (as the job that pushes)."""
    store = Switch(file_store)
    parts = Parts(store, tmp_path, more="segment:Thing", loader=StoredLoader(store, tmp_path / "base"))
    outline = '<PolygonLabels name="outline" toName="image"><Label value="Tree"/></PolygonLabels></View>'
    controls = parse_label_config(label_config().replace("</View>", outline))

    def stamps() -> tuple[str, str]:
        """What /predict stamps, and what /setup answers."""
        found = prepare(parts.models, UID, controls, parts.settings, FAR)
        stamped = found.message if isinstance(found, Unanswered) else found.stamp
        return stamped, parts.backend.model_version(UID, controls)

    both = "label:base-base+outline:base-base-seg"
    stamped, setup = stamps()
    assert ("are not in the store" in stamped, setup) == (True, both), "nothing is stored before there is a model"
    publish_names("Tree")
    assert stamps() == ("label:v1", "label:v1")
    graph = tmp_path / "base-seg.pt"
    add_base_weights(file_store, "base-seg.pt", "segment", ("Thing",), {WEIGHTS: graph, GRAPH: graph})
    parts.now += 3
    assert stamps() == ("label:v1+outline:base-base-seg", "label:v1+outline:base-base-seg")
    store.gone = True
    assert stamps() == ("label:v1+outline:base-base-seg", "label:v1+outline:base-base-seg"), "it is loaded"


def test_base_weights_that_the_store_does_not_give_now_are_not_in_the_stamp(
    file_store: ObjectStore, tmp_path: Path, publish_names: Callable[[str], str]
) -> None:
    graph = tmp_path / "base-seg.pt"
    parts = Parts(file_store, tmp_path, more="segment:Thing")
    add_base_weights(file_store, "base-seg.pt", "segment", ("Thing",), {WEIGHTS: graph, GRAPH: graph})
    publish_names("Tree")
    gone = Switch(file_store)
    gone.gone = True
    parts = Parts(file_store, tmp_path, more="segment:Thing", loader=StoredLoader(gone, tmp_path / "base"))
    outline = '<PolygonLabels name="outline" toName="image"><Label value="Tree"/></PolygonLabels></View>'
    controls = parse_label_config(label_config().replace("</View>", outline))
    found = prepare(parts.models, UID, controls, parts.settings, FAR)
    assert not isinstance(found, Unanswered)
    assert (found.stamp, parts.backend.model_version(UID, controls)) == (
        "label:v1", "label:v1+outline:base-base-seg",
    ), "Label Studio asks again"  # fmt: skip
