"""What ultralytics is told beyond its defaults, so that what is learnt and measured is what was drawn and is served.

Read line by line: ultralytics/cfg/default.yaml.
"""

from typing import Any

from jobs.train.training import TrainingSettings

HEAD = {"nms": None}
"""Of models with two heads the one that finds a thing several times, followed by suppression: as predict serves them.

Releases differ in their default, and weights keep what they were saved with; with suppression the overlap above which
two boxes are one stays a choice."""
AS_DRAWN = {"overlap_mask": False, "single_cls": False}
"""A thing on top of another cuts no hole into it: by default all outlines of an image are painted into one mask."""


def measured(settings: TrainingSettings) -> dict[str, Any]:
    """Of a validation, in a training and for the gate."""
    return HEAD | AS_DRAWN | {"iou": settings.iou, "max_det": settings.max_objects}
