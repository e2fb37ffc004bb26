"""Weights of every YOLO task for tests: architectures of ultralytics with the tensors of trained detection weights."""

from pathlib import Path
from typing import Any

import torch
from ultralytics.models import YOLO
from ultralytics.nn import tasks

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


def _make_sure(model: Any) -> None:
    """Raise the scores of a head without training, which are all but 0."""
    head = model.model[-1]
    for branch in ("cv3", "one2one_cv3"):
        for layers in getattr(head, branch, ()):
            layers[-1].bias.data += 9.0
