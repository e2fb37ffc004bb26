"""What ultralytics is told beyond its defaults, so that what is learnt and measured is what was drawn and is served.

Read line by line: ultralytics/cfg/default.yaml.
"""

import math
from collections.abc import Mapping
from typing import Any

from jobs.train.training import TrainingSettings
from jobs.train.yolo.sides import Mirroring, mirroring

HEAD = {"nms": None}
"""Of models with two heads the one that finds an object several times, followed by suppression: as predict serves them.

Releases differ in their default, and weights keep what they were saved with; with suppression the overlap above which
two boxes are one stays a choice."""
AS_DRAWN = {"overlap_mask": False, "single_cls": False}
"""An object on top of another cuts no hole into it: by default all outlines of an image are painted into one mask."""


def measured(settings: TrainingSettings) -> dict[str, Any]:
    """Of a validation, in a training and for the gate."""
    return HEAD | AS_DRAWN | {"iou": settings.iou, "max_det": settings.max_objects}


def schedule(epochs: int) -> dict[str, Any]:
    """How long a training warms up, and how many epochs it ends with on whole images instead of mosaics of four.

    ultralytics' own 3 and 10 are meant for hundreds of epochs: of five they would be most, or all.
    """
    return {"warmup_epochs": min(3.0, epochs / 10), "close_mosaic": min(10, math.ceil(epochs / 5)) if epochs > 1 else 0}


def mirroring_of(described: Mapping[str, Any], settings: TrainingSettings) -> Mirroring:
    """Of a dataset, as its `data.yaml` describes it."""
    control = described.get("control", {})
    return mirroring(
        described["names"],
        next(iter(described.get("kpt_names", {}).values()), ()),
        fliplr=settings.fliplr,
        flipud=settings.flipud,
        sides=control.get("sides", ""),
        asked=(control.get("fliplr"), control.get("flipud")),
    )
