"""Turns a task with an image into samples to train on: the whole image, its tiles too, or a crop for each region."""

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from jobs.train.data.cutting import cuts
from jobs.train.data.files import ImageFiles, Picture
from jobs.train.data.image_file import write_part
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.data.split import Split
from shared.errors import ImageError
from shared.geometry.detections import Detections
from shared.geometry.tiles import Tiling, pixels_needed
from shared.inference.looks import looks_at
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
    tile: bool = False  # a part of a picture, or less of its pixels: beside the picture itself


@dataclass(frozen=True, slots=True)
class Views:
    """What is made of each picture."""

    tiling: Tiling | None = None  # None: nothing but the picture
    in_full: tuple[Split, ...] = ()  # of which sides pictures keep all their pixels


PLAIN = Views()
"""The picture alone, not much larger than a model sees it."""


def image_samples(
    task: SnapshotTask, control: Control, images: ImageFiles, folder: Path, views: Views = PLAIN
) -> list[Sample]:
    """The samples of one task; crops and tiles are written to `folder`, named by the task. Raises ImageError."""
    if views.tiling:
        return _tiles(task, control, images, folder, views.tiling)
    # Crops of a large image need all of its pixels.
    whole = control.per_region or task.split in views.in_full
    picture = images.get(task.id, control.value, task.file_of(control), whole=whole)
    reading = CONTROLS[control.tag].read(task.regions, control, picture.width, picture.height)
    if control.per_region:
        return _crops(task, control, picture, reading, folder)
    return [Sample(str(task.id), picture.path, usable(reading, control), reading.converted)]


def _tiles(task: SnapshotTask, control: Control, images: ImageFiles, folder: Path, tiling: Tiling) -> list[Sample]:
    """The picture and its tiles, of pixels no finer than predict would look at.

    Of the val set the picture has all its pixels, for the gate; in fewer it is a tile itself.
    """
    name = str(task.id)
    needed = partial(pixels_needed, image_size=images.image_size, tiling=tiling)
    with images.opened(task.id, control.value, task.file_of(control), needed) as opened:
        pixels, (height, width) = opened.seen
        reading = CONTROLS[control.tag].read(task.regions, control, width, height)
        *looks, _ = looks_at((pixels.shape[0], pixels.shape[1]), (height, width), tiling)
        found, shown = usable(reading, control), {look.place: look for look in looks}
        tiles = []
        for number, cut in enumerate(cuts(found, np.array(list(shown))) if len(shown) > 1 else ()):
            path = folder / f"{name}-{number}.jpg"
            write_part(shown[cut.window].of(pixels), path, images.image_size)
            tiles.append(Sample(path.stem, path, cut.found, tile=True))
        small = opened.kept(False).path
        if task.split == "train":
            return [Sample(name, small, found, reading.converted), *tiles]
        picture = Sample(name, opened.kept(True).path, found, reading.converted)
        return [picture, Sample(name, small, found, tile=True), *tiles]


def usable(reading: Reading[Found], control: Control) -> Found:
    """What a control's reader found in an annotation.

    Raises ImageError if a region cannot be used, with the reasons of the first three: the image would
    otherwise be trained on with an object missing.
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
