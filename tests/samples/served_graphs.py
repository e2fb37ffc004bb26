"""Graphs as predict gets them: base weights of the store, and a loader that is quick."""

import shutil
from pathlib import Path

from infra.demo.samples import base_weights
from shared.inference.graph import read_graph
from shared.objectstore import ObjectStore, open_store
from shared.prediction.model.loader import GraphLoader
from shared.state.base_weights import add_base_weights
from shared.state.versions import GRAPH, WEIGHTS
from tests.samples.graphs import export


def base_graph(folder: Path, weights: Path | None = None) -> Path:
    """The graph of base weights; of the sample's if none are named."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / (weights or base_weights()).name
    shutil.copyfile(weights or base_weights(), copy)
    return export(copy).graph


def store_base_graph(store: str, folder: Path, weights: Path | None = None) -> None:
    """Adds base weights to the store at an address, as whoever has torch does before predict can serve them."""
    keep_base_weights(open_store(store), base_graph(folder, weights))


def keep_base_weights(store: ObjectStore, graph: Path) -> None:
    """Adds a graph that lies beside its weights."""
    weights, made = graph.with_suffix(".pt"), read_graph(graph)
    add_base_weights(store, weights.name, made.yolo_task, made.names, {WEIGHTS: weights, GRAPH: graph})


def quick_loader(**options: object) -> GraphLoader:
    """predict's loader, on one thread of the processor; base weights are graphs, by their file."""
    usual = {"device": "cpu", "threads": 1, "float32": True, "iou": 0.7, "image_size": 640, "base_graph": Path}
    return GraphLoader(**usual | options)  # type: ignore[arg-type]
