"""Base weights in the store, and predict's cache of their graphs."""

from pathlib import Path

import pytest

from shared.errors import ModelError
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.prediction.ports import NotNow
from shared.prediction.weights import WeightsCache, graph_of
from shared.state.base_weights import add_base_weights
from shared.state.versions import GRAPH, WEIGHTS
from tests.fakes.predict_parts import publish


def add(store: ObjectStore, tmp_path: Path, *, graph: str = "graph") -> None:
    files = {WEIGHTS: "weights", **({GRAPH: graph} if graph else {})}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    add_base_weights(store, "yolo11n.pt", "detect", ("person",), {name: tmp_path / name for name in files})


@pytest.mark.parametrize("weights", ["yolo11n.pt", "/models/yolo11n.pt"])
def test_predict_takes_the_graph_out_of_the_store(file_store: ObjectStore, tmp_path: Path, weights: str) -> None:
    add(file_store, tmp_path)
    cache = WeightsCache(tmp_path / "cache", 10**6)
    path = cache.base_path(file_store, weights)
    assert (path.read_text(), path.suffix) == ("graph", ".onnx")
    path.write_text("gra")
    assert cache.base_path(file_store, weights).read_text() == "graph", "verified before every use"


def test_until_somebody_adds_them_the_reason_says_how(file_store: ObjectStore, tmp_path: Path) -> None:
    cache = WeightsCache(tmp_path / "cache", 10**6)
    with pytest.raises(ModelError, match=r"'yolo11n\.pt' are not in the store.*labelloop base add yolo11n\.pt"):
        cache.base_path(file_store, "yolo11n.pt")
    add(file_store, tmp_path)
    assert cache.base_path(file_store, "yolo11n.pt").is_file()


def test_base_weights_without_a_graph_are_named(file_store: ObjectStore, tmp_path: Path) -> None:
    add(file_store, tmp_path, graph="")
    with pytest.raises(ModelError, match=r"hold no weights\.onnx"):
        WeightsCache(tmp_path / "cache", 10**6).base_path(file_store, "yolo11n.pt")


def test_a_version_of_an_older_labelloop_is_not_rejected(file_store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("Tree")
    manifest = publish(file_store, tmp_path / "weights")
    old = evolve(manifest, files=tuple(evolve(entry, name=WEIGHTS) for entry in manifest.files))
    assert graph_of(manifest).name == GRAPH
    with pytest.raises(NotNow, match=r"v1 of 'label' was published without weights\.onnx"):
        graph_of(old)
