"""Graphs that are made in a moment, without torch, with metadata as ultralytics' exporter writes them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_NUMBERS = 6  # of each box: its place, and two classes
_METADATA = {"task": "detect", "names": "{0: 'Tree', 1: 'Rock'}", "stride": "32", "imgsz": "[64, 64]"}
SEEN = 64  # pixels of the longer side of what they see


def tiny_graph(path: Path) -> Path:
    """Writes one of two layers; what it finds depends on each of its weights."""
    random = np.random.default_rng(0)
    sizes = {"first": (64, 3, 8, 8), "second": (_NUMBERS, 64, 4, 4)}
    weights = [
        numpy_helper.from_array(random.normal(0, 0.1, size).astype(np.float32), name) for name, size in sizes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["images", "first"], ["inner"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Conv", ["inner", "second"], ["logits"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Sigmoid", ["logits"], ["numbers"]),
        helper.make_node("Reshape", ["numbers", "shape"], ["output0"]),
    ]
    shape = numpy_helper.from_array(np.array([0, _NUMBERS, -1]), "shape")
    return _saved(path, nodes, [*weights, shape])


def blind_graph(path: Path, boxes: Sequence[tuple[float, float, float, float, float]]) -> Path:
    """Writes one that finds the same in every picture: centre x, y, width, height in pixels of what it sees, score."""
    found = np.array(boxes, dtype=np.float32).T
    constants = {
        "one": np.array([-1, 1, 1]),
        "nothing": np.zeros(1, dtype=np.float32),
        "found": np.concatenate([found, np.zeros_like(found[:1])])[None],  # no box of the second class
    }
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "one"], ["row"]),
        helper.make_node("Mul", ["row", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "found"], ["output0"]),
    ]
    return _saved(path, nodes, [numpy_helper.from_array(value, name) for name, value in constants.items()])


def _saved(path: Path, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> Path:
    shown = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    answer = helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", _NUMBERS, "boxes"])
    network = helper.make_graph(nodes, "tiny", [shown], [answer], constants)
    model = helper.make_model(network, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, _METADATA)
    onnx.save(model, path)
    return path
