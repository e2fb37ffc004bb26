"""Weights of every YOLO task for tests: architectures of ultralytics with the tensors of trained detection weights."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from ultralytics.models import YOLO
from ultralytics.nn import tasks
from ultralytics.utils import ASSETS

from infra.demo.samples import base_weights
from shared.yolo_task import YoloTask

CLASSES = 147  # of the sample weights: with as many, the part that finds boxes fits
_MODELS: dict[YoloTask, Any] = {
    "detect": tasks.DetectionModel,
    "segment": tasks.SegmentationModel,
    "obb": tasks.OBBModel,
    "pose": tasks.PoseModel,
    "classify": tasks.ClassificationModel,
}


def make_weights(
    folder: Path, architecture: str, yolo_task: YoloTask, *, names: tuple[str, ...] = (), seed: int = 1
) -> Path:
    """A file of weights whose `yolov8n` parts were trained; what is random finds something all the same.

    `names`: of the classes, again and again.
    """
    torch.manual_seed(seed)
    yolo: Any = YOLO(f"{architecture}.yaml", task=yolo_task)
    model = _MODELS[yolo_task](f"{architecture}.yaml", nc=CLASSES, verbose=False)
    if architecture.startswith("yolov8n"):
        model.load(YOLO(base_weights(), task="detect").model, verbose=False)
    else:
        _make_sure(model)
    model.names = {index: names[index % len(names)] if names else f"class {index}" for index in range(CLASSES)}
    model.task = yolo_task
    yolo.ckpt = {"train_args": {"imgsz": 224 if yolo_task == "classify" else 448}}  # pixels; small ones are quick
    yolo.model = model
    path = folder / f"{architecture}.pt"
    yolo.save(path)
    return path


def untrained_weights(folder: Path, architecture: str) -> Path:
    """A file of weights as they begin, for small pictures: it is made in a moment, and finds nothing."""
    yolo: Any = YOLO(f"{architecture}.yaml")
    yolo.ckpt = {"train_args": {"imgsz": 64}}
    path = folder / f"{architecture}.pt"
    yolo.save(path)
    return path


def _make_sure(model: Any) -> None:
    """Let a network without training answer according to what it sees, and find something now and then."""
    photographs = [np.asarray(cv2.imread(str(ASSETS / name))) for name in ("bus.jpg", "zidane.jpg")]
    seen = np.stack([cv2.resize(image[::turn], (640, 640)) for image in photographs for turn in (1, -1)])
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0  # the statistics of what follows alone
    head, logits = model.model[-1], dict[Any, torch.Tensor]()
    last = [layers[-1] for name in ("cv3", "one2one_cv3") for layers in getattr(head, name, None) or ()]
    hooks = [layer.register_forward_hook(lambda layer, _, output: logits.update({layer: output})) for layer in last]
    with torch.no_grad():
        model.train()(torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 255)
    for hook in hooks:
        hook.remove()
    model.eval()
    for layer, output in logits.items():
        std, mean = torch.std_mean(output, dim=(0, 2, 3))
        layer.weight.data *= (0.5 / std)[:, None, None, None]
        layer.bias.data = (layer.bias.data - mean) * 0.5 / std - 4.5
