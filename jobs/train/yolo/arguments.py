"""The arguments of ultralytics that differ from its defaults (ultralytics/cfg/default.yaml)."""

import math
from collections.abc import Mapping
from typing import Any

from jobs.train.data.sides import Mirroring, mirroring
from jobs.train.training import TrainingSettings

HEAD = {"nms": None}
"""Of models with two heads the one that needs suppression, as predict uses it.

Set because releases of ultralytics differ in the default, and weights keep the one they were saved with. Only with
suppression can its overlap be chosen."""
AS_DRAWN = {"overlap_mask": False, "single_cls": False}
"""One mask for each object. By default all masks of an image share one, and objects on top cut holes into others."""


def measured(settings: TrainingSettings) -> dict[str, Any]:
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
