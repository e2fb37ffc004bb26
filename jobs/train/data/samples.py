"""Turns a task with an image into samples to train on: the whole image, or a crop for each region."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from jobs.train.data.files import ImageFiles, Picture
from jobs.train.data.snapshot import SnapshotTask
from shared.errors import ImageError
from shared.geometry.detections import Detections
from shared.labelstudio.controls import Control
from shared.labelstudio.regions import CONTROLS
from shared.labelstudio.regions.reading import Reading
from shared.media.crop import crop

logger = logging.getLogger(__name__)

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image to train on."""

    name: str  # of its files in the dataset, without ending
    image: Path
    found: Detections  # what was annotated in it
    converted: tuple[str, ...] = ()  # for each object drawn with another tool: that tool


def image_samples(task: SnapshotTask, control: Control, images: ImageFiles, folder: Path) -> list[Sample]:
    """The samples of one task; crops are written to `folder`, named by the task. Raises ImageError."""
    # Crops of a large image need all of its pixels.
    picture = images.get(task.id, control.value, task.file_of(control), whole=control.per_region)
    reading = CONTROLS[control.tag].read(task.regions, control, picture.width, picture.height)
    if control.per_region:
        return _crops(task, control, picture, reading, folder)
    return [Sample(str(task.id), picture.path, usable(reading, control), reading.converted)]


def usable(reading: Reading[Found], control: Control) -> Found:
    """What a control's reader found in an annotation.

    Raises ImageError if a region cannot be used, with the reasons of the first three: the image would else be taught
    with an object missing.
    """
    if not reading.unusable:
        return reading.found
    more = f", and {len(reading.unusable) - 3} more" if len(reading.unusable) > 3 else ""
    raise ImageError(
        "unusable",
        f"{control.name!r} cannot learn from all that is annotated here: {'; '.join(reading.unusable[:3])}{more}. "
        f"Draw it again with {control.name!r}, or delete it",
    )


def _crops(
    task: SnapshotTask, control: Control, picture: Picture, reading: Reading[Detections], folder: Path
) -> list[Sample]:
    """One sample for each region. A region that cannot be used loses only its own crop, as long as another can."""
    if not len(reading.found):
        usable(reading, control)
        return []
    found = reading.found
    if reading.unusable:
        logger.warning(
            f"task {task.id}: {len(reading.unusable)} regions cannot be used: {'; '.join(reading.unusable[:3])}",
            extra={"event": "regions_unusable", "task": task.id, "regions": len(reading.unusable)},
        )
    with Image.open(picture.path) as image:
        pixels = np.asarray(image.convert("RGB"))
    samples = []
    for number in range(len(found)):
        part = crop(pixels, found.xyxy[number])
        height, width = part.shape[:2]
        name = f"{task.id}-{number}"
        path = folder / f"{name}.png"
        Image.fromarray(np.ascontiguousarray(part)).save(path, "PNG", compress_level=1)
        whole = np.array([[0.0, 0.0, width, height]])
        one = replace(found.only(np.array([number])), width=width, height=height, xyxy=whole)
        samples.append(Sample(name, path, one))
    return samples
