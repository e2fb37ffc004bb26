"""What a prelabelling predicts with: what the pointers name, as predict would serve it."""

from pathlib import Path

import pytest

from jobs.prelabel.models import ChosenModels
from shared.errors import LabelloopError, StoreError
from shared.labelstudio.config import parse_label_config
from shared.objectstore import ObjectStore
from shared.prediction.ports import NothingToServe, NotMadeYet
from shared.prediction.weights import WeightsCache
from shared.state.base_weights import add_base_weights
from shared.state.registry import Registry
from shared.state.versions import GRAPH, WEIGHTS
from shared.yolo_task import YoloTask
from tests.fakes.predict_parts import FAR, UID, FakeLoader, FakeModel, label_config, publish

CONTROLS = parse_label_config(label_config())


class Chosen:
    """The models of a project, and versions of it, each a file with the names of its classes."""

    def __init__(self, store: ObjectStore, folder: Path, base: str = "Thing") -> None:
        self._folder, self.store = folder, store
        (folder / "base.pt").write_text(base)
        cache = WeightsCache(folder / "cache", 10**6)
        self.models = ChosenModels(store, UID, cache, FakeLoader(), base_weights=str(folder / "base.pt"))

    def publish(self, content: str, yolo_task: YoloTask = "detect") -> None:
        graph = self._folder / "graph.onnx"
        graph.write_text(content)
        publish(self.store, graph, yolo_task=yolo_task)

    def names(self) -> tuple[str, ...]:
        return self.models.serving(UID, CONTROLS[0], FAR).model.names


@pytest.fixture
def chosen(file_store: ObjectStore, tmp_path: Path) -> Chosen:
    return Chosen(file_store, tmp_path)


def test_the_version_that_the_pointer_names_and_before_one_the_base_weights(chosen: Chosen) -> None:
    assert (chosen.models.choose(CONTROLS), chosen.names()) == ("label:base-base", ("Thing",))
    chosen.publish("Tree")
    assert chosen.models.version(CONTROLS) == "label:v1"
    assert chosen.names() == ("Thing",), "one attempt predicts with one version"
    assert (chosen.models.choose(CONTROLS), chosen.names()) == ("label:v1", ("Tree",))


def test_a_bad_version_is_rejected_and_the_good_one_behind_it_taken(chosen: Chosen) -> None:
    chosen.publish("Tree")
    chosen.publish("broken")
    assert (chosen.models.choose(CONTROLS), chosen.names()) == ("label:v1", ("Tree",))
    assert Registry(chosen.store, UID).rejected("label") == {2}
    assert chosen.models.version(CONTROLS) == "label:v1"


def test_a_version_for_another_task_does_not_count(chosen: Chosen) -> None:
    chosen.publish("segment:Tree", "segment")
    assert (chosen.models.choose(CONTROLS), chosen.models.version(CONTROLS)) == ("label:base-base",) * 2


def test_a_control_that_nothing_can_serve_is_named_in_the_version(file_store: ObjectStore, tmp_path: Path) -> None:
    chosen = Chosen(file_store, tmp_path, base="segment:Thing")
    assert chosen.models.choose(CONTROLS) == "label:base-base"
    with pytest.raises(NothingToServe):
        chosen.names()


@pytest.mark.parametrize("error", [StoreError("it does not answer"), NotMadeYet("nobody has made them")])
def test_what_can_be_served_later_fails_the_attempt(
    file_store: ObjectStore, tmp_path: Path, error: LabelloopError
) -> None:
    """A prediction without a control's regions would never be made again: its version is the same."""

    class Unreachable(FakeLoader):
        def load_base(self, weights: str) -> FakeModel:
            raise error

    models = ChosenModels(file_store, UID, WeightsCache(tmp_path, 10**6), Unreachable(), base_weights="yolo11n.pt")
    with pytest.raises(type(error)):
        models.choose(CONTROLS)


def test_a_control_whose_base_weights_nobody_has_made_is_left_out_of_the_version(
    file_store: ObjectStore, tmp_path: Path
) -> None:
    chosen, both = Chosen(file_store, tmp_path), parse_label_config(label_config("label", "other"))
    chosen.publish("Tree")
    assert (chosen.models.choose(both), chosen.models.version(both)) == ("label:v1",) * 2
    assert chosen.names() == ("Tree",)
    with pytest.raises(NothingToServe) as caught:
        chosen.models.serving(UID, both[1], FAR)
    assert not caught.value.version, "predictions do not claim to have it"
    files = {WEIGHTS: tmp_path / "base.pt", GRAPH: tmp_path / "base.pt"}
    add_base_weights(file_store, "base.pt", "detect", ("Thing",), files)
    assert chosen.models.version(both) == "label:v1+other:base-base", "so the next run writes both"
