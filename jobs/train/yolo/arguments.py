"""The arguments of ultralytics that differ from its defaults (ultralytics/cfg/default.yaml)."""

import math
from collections.abc import Mapping
from typing import Any

from jobs.train.data.sides import Mirroring, mirroring
from jobs.train.training import TrainingSettings, task_image_size
from jobs.train.yolo.machine import step_images
from shared.yolo_task import YoloTask

HEAD = {"nms": None}
"""Of models with two heads the one that needs suppression, as predict uses it.

Set because releases of ultralytics differ in the default, and weights keep the one they were saved with. Only with
suppression can its overlap be chosen."""
AS_DRAWN = {"overlap_mask": False, "single_cls": False}
"""One mask for each object. By default all masks of an image share one, and objects on top cut holes into others."""


_CLASSIFY = {"auto_augment": None, "erasing": 0.0, "scale": 0.1}
"""Augmentation of a classifier. ultralytics' defaults distort colours, hide parts of the image and cut half of it away,
which suits ImageNet's millions of images. On dozens, whose classes often differ in just these, a classifier learnt in
half of the epochs without."""


def of_learning(settings: TrainingSettings, mirrored: Mirroring, classes: int) -> dict[str, Any]:
    """Arguments that change what is learnt, against ultralytics' defaults; the manifest holds them too.

    `classes`: their number.
    """
    flips = {"fliplr": mirrored.fliplr, "flipud": mirrored.flipud}
    return validation(settings) | schedule(settings.epochs) | optimizer(settings.learning_rate, classes) | flips


def of_first_attempt(
    settings: TrainingSettings, yolo_task: YoloTask, *, images: int, batch: int, layers: int
) -> dict[str, Any]:
    """The other arguments of a training that does not continue an earlier one, whose checkpoint would hold them.

    `images` to learn from; `batch`: images a step, −1 if ultralytics has not chosen yet; `layers` of the model.
    """
    return {
        "epochs": settings.epochs,
        "imgsz": task_image_size(yolo_task, settings.image_size),
        "nbs": step_images(images, batch),
        "freeze": min(settings.freeze, layers - 1) or None,  # never the head itself
        "patience": settings.patience,
        "seed": settings.seed,
        "deterministic": True,
        "exist_ok": True,
        "verbose": False,
        "cls_remap": False,  # ours is `class_rows`
    } | (_CLASSIFY if yolo_task == "classify" else {})


def validation(settings: TrainingSettings) -> dict[str, Any]:
    """Arguments of a validation in a training: as the gate measures."""
    return HEAD | AS_DRAWN | {"iou": settings.iou, "max_det": settings.max_objects}


def schedule(epochs: int) -> dict[str, Any]:
    """Epochs of warm-up, and last epochs with whole images instead of mosaics of four.

    ultralytics' defaults, 3 and 10, are for hundreds of epochs; of five they would be most, or all.
    """
    return {"warmup_epochs": min(3.0, epochs / 10), "close_mosaic": min(10, math.ceil(epochs / 5)) if epochs > 1 else 0}


def optimizer(learning_rate: float, classes: int) -> dict[str, Any]:
    """AdamW with a rate of at most `learning_rate`; 0: nothing, so that ultralytics chooses.

    For less than 10,000 steps it would choose AdamW too, with the rate 0.002 · 5 / (4 + classes)
    (ultralytics/engine/trainer.py, build_optimizer).
    """
    if not learning_rate:
        return {}
    return {"optimizer": "AdamW", "lr0": min(learning_rate, round(0.002 * 5 / (4 + classes), 6))}


def mirroring_of(described: Mapping[str, Any], settings: TrainingSettings) -> Mirroring:
    """The mirroring for a dataset; `described`: the contents of its data.yaml."""
    control = described.get("control", {})
    return mirroring(
        described["names"],
        next(iter(described.get("kpt_names", {}).values()), ()),
        fliplr=settings.fliplr,
        flipud=settings.flipud,
        sides=control.get("sides", ""),
        asked=(control.get("fliplr"), control.get("flipud")),
    )
