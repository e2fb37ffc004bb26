"""Graphs that are made in a moment, without torch: two layers, with metadata as ultralytics' exporter writes them."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_NUMBERS = 6  # of each box: its place, and two classes
_METADATA = {"task": "detect", "names": "{0: 'Tree', 1: 'Rock'}", "stride": "32", "imgsz": "[64, 64]"}


def tiny_graph(path: Path) -> Path:
    """Writes one; what it finds depends on each of its weights."""
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
    shown = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    answer = helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", _NUMBERS, "boxes"])
    shape = numpy_helper.from_array(np.array([0, _NUMBERS, -1]), "shape")
    network = helper.make_graph(nodes, "tiny", [shown], [answer], [*weights, shape])
    model = helper.make_model(network, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, _METADATA)
    onnx.save(model, path)
    return path
