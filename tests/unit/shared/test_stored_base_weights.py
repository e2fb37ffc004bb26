"""Base weights in the store: published once, whoever makes them, and what projects lack of them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.errors import ModelError
from shared.evolve import evolve
from shared.labelstudio.config import parse_label_config
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.base_weights import (
    BaseWeights,
    add_base_weights,
    all_base_weights,
    download_base_file,
    find_base_weights,
)
from shared.state.registry import Registry
from shared.state.servable import lacks_of
from shared.state.versions import GRAPH, WEIGHTS, FileEntry
from tests.samples.versions import UID, manifest

CONFIG = (
    '<View><Image name="image" value="$image"/>'
    '<RectangleLabels name="label" toName="image"><Label value="tree"/></RectangleLabels>'
    '<PolygonLabels name="outline" toName="image"><Label value="tree"/></PolygonLabels></View>'
)


def add(store: ObjectStore, folder: Path, name: str = "yolo11n.pt", text: str = "made") -> BaseWeights:
    folder.mkdir(exist_ok=True)
    files = {kept: folder / kept for kept in (WEIGHTS, GRAPH)}
    for kept, path in files.items():
        path.write_text(f"{text} {kept}")
    return add_base_weights(store, name, "detect", ("person", "car"), files)


def test_what_is_added_is_found_by_name_and_by_file(file_store: ObjectStore, tmp_path: Path) -> None:
    assert find_base_weights(file_store, "yolo11n.pt") is None
    added = add(file_store, tmp_path)
    assert find_base_weights(file_store, "yolo11n.pt") == find_base_weights(file_store, "/models/yolo11n.pt") == added
    assert (added.yolo_task, added.names, [entry.name for entry in added.files]) == (
        "detect",
        ("person", "car"),
        [WEIGHTS, GRAPH],
    )
    download_base_file(file_store, added, WEIGHTS, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == f"made {WEIGHTS}"
    odd = add(file_store, tmp_path, "..x y.pt")
    assert all_base_weights(file_store) == ([odd, added], [])


def test_two_makers_at_once_give_one_result(file_store: ObjectStore, tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def make(number: int) -> BaseWeights:
        both.wait(10)
        return add(file_store, tmp_path / str(number), text=f"maker {number}")

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(make, range(2))
    assert first == second == find_base_weights(file_store, "yolo11n.pt")
    for kept in (WEIGHTS, GRAPH):
        download_base_file(file_store, first, kept, tmp_path / kept)
    texts = {(tmp_path / kept).read_text().removesuffix(kept) for kept in (WEIGHTS, GRAPH)}
    assert len(texts) == 1, "both files are of one maker"


def test_a_maker_that_was_killed_leaves_nothing_that_counts(file_store: ObjectStore, tmp_path: Path) -> None:
    added = add(file_store, tmp_path)
    file_store.delete(keys.base_weights("yolo11n.pt"))  # the files alone are there
    assert find_base_weights(file_store, "yolo11n.pt") is None
    assert all_base_weights(file_store) == ([], [])
    assert add(file_store, tmp_path) == added


def test_files_that_are_missing_or_wrong_are_said(file_store: ObjectStore, tmp_path: Path) -> None:
    added = add(file_store, tmp_path)
    key = keys.base_file("yolo11n.pt", added.file(GRAPH).sha256, GRAPH)
    file_store.delete(key)
    with pytest.raises(ModelError, match=r"weights\.onnx of the base weights 'yolo11n\.pt' is not in the store"):
        download_base_file(file_store, added, GRAPH, tmp_path / "graph")
    file_store.put(key, b"other bytes")
    with pytest.raises(ModelError, match="has SHA-256"):
        download_base_file(file_store, added, GRAPH, tmp_path / "graph")
    assert not (tmp_path / "graph").exists()


def test_a_file_of_the_same_name_with_other_bytes_is_not_what_is_used(file_store: ObjectStore, tmp_path: Path) -> None:
    added = add(file_store, tmp_path, "mine.pt")
    mine = tmp_path / "mine.pt"
    assert added.problem_with(str(mine)) == "", "no file here: the store's copy is meant"
    mine.write_text(f"made {WEIGHTS}")
    assert added.problem_with(str(mine)) == ""
    mine.write_text("trained further")
    assert "give the file another name" in added.problem_with(str(mine))


def test_what_controls_cannot_be_served_without(file_store: ObjectStore, tmp_path: Path) -> None:
    controls = parse_label_config(CONFIG)

    def lacking() -> list[str]:
        return [str(lack) for lack in lacks_of(file_store, UID, controls, "yolo11n.pt")]

    assert lacking() == ["the base weights yolo11n.pt", "the base weights yolo11n-seg.pt"]
    assert len(lacks_of(file_store, UID, controls, "/models/mine.pt")) == 1, "that both begin with"
    add(file_store, tmp_path, "yolo11n-seg.pt")
    assert lacking() == ["the base weights yolo11n.pt"]
    registry = Registry(file_store, UID)
    registry.publish("label", manifest)  # by an older labelloop
    registry.promote("label", 1, fence=1000, run_id="run", expected=None)
    assert lacking() == ["the graph of v1 of 'label'"]
    graph = FileEntry(name=GRAPH, sha256="1" * 64, size=1)
    with_graph = registry.publish(
        "label", lambda number: evolve(manifest(number, "next"), files=(*manifest(1).files, graph))
    )
    registry.promote("label", with_graph.version, fence=2000, run_id="next", expected=1)
    assert lacking() == []
