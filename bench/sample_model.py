"""A model of YOLOv8s's size for benchmarks: from its yaml, since its real weights cannot be had everywhere.

Weights are random. Class 0, "Tree", is made to be found in photographs: some twenty times from confidence 0.25 on, two
hundred times from 0.05 on, so that what follows the network has something to do. Masks are most of their box.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from bench.yardsticks import letterboxed
from jobs.train.yolo.graph import export_graph
from shared.yolo_task import YoloTask
from tests.samples.graphs import Exported

NAMES = ("Tree", *(f"other {number}" for number in range(1, 80)))
_FOUND = ((20, 0.25), (200, 0.05))  # boxes of a photograph, confidence from which on
_YAML: dict[YoloTask, str] = {"detect": "yolov8s.yaml", "segment": "yolov8s-seg.yaml"}


def make_model(folder: Path, files: list[bytes], yolo_task: YoloTask = "detect") -> Exported:
    """Weights and graph. `files`: photographs (JPEG, 1280×720)."""
    import torch
    from torch.nn import BatchNorm2d
    from ultralytics.models import YOLO

    torch.manual_seed(0)
    yolo: Any = YOLO(_YAML[yolo_task], task=yolo_task, verbose=False)
    network = yolo.model
    pixels = np.stack([letterboxed(file) for file in files])[..., ::-1].transpose(0, 3, 1, 2)
    batch = torch.from_numpy(pixels.copy()).float() / 255
    norms = [module for module in network.modules() if isinstance(module, BatchNorm2d)]
    with torch.no_grad():
        if yolo_task == "segment":
            _make_masks_smooth(network.model[-1])
        for norm in norms:
            norm.momentum = 1.0
        network.train()(batch)  # they learn what photographs look like inside
        for norm in norms:
            norm.momentum = 0.03
        few, many = _logits(network.eval()(batch))
        few_wanted, many_wanted = (math.log(confidence / (1 - confidence)) for _, confidence in _FOUND)
        times = (few_wanted - many_wanted) / (few - many)
        for branch in network.model[-1].cv3:
            branch[-1].weight[0] *= times
            branch[-1].bias[0] = branch[-1].bias[0] * times + few_wanted - times * few
    network.names = dict(enumerate(NAMES))
    weights = folder / f"yolov8s-{yolo_task}-bench.pt"
    yolo.save(weights)
    return Exported(weights, export_graph(weights))


def _make_masks_smooth(head: Any) -> None:
    """What objects are filled with is an average of all that the network sees there; random it would be noise."""
    proto = head.proto
    for layer in (proto.cv1.conv, proto.upsample, proto.cv2.conv, proto.cv3.conv):
        layer.weight.fill_(1 / layer.weight[0].numel())
    proto.cv3.bn.bias.fill_(1.0)
    for branch in head.cv4:
        branch[-1].weight.zero_()
        branch[-1].bias.fill_(1.0)


def _logits(output: Any) -> list[float]:
    """Of "Tree", at the places of `_FOUND` in the order of confidence, on average over the photographs."""
    import torch

    while not isinstance(output, torch.Tensor):  # behind it are prototypes of masks, and what losses need
        output = output[0]
    ordered = torch.logit(output[:, 4].double()).sort(dim=1, descending=True).values.mean(0)
    return [ordered[place].item() for place, _ in _FOUND]
