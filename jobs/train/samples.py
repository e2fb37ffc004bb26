"""What a task teaches a control: its image as it is, a crop a region, or frames of its video."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from jobs.train.frozen import FrozenTask
from jobs.train.images import Picture, Pictures
from shared.geometry import Detections
from shared.images.crop import crop
from shared.labelstudio.config import Control
from shared.labelstudio.regions import CONTROLS


@dataclass(frozen=True, slots=True)
class Sample:
    """One image to learn from."""

    name: str  # of its files in the dataset, without suffix
    image: Path
    found: Detections  # what was annotated in it


def samples_of(task: FrozenTask, control: Control, pictures: Pictures, folder: Path) -> list[Sample]:
    """The samples of one task; what has to be made (crops, frames) is written to `folder`. Raises ImageError.

    Thread-safe: files are named by the task.
    """
    address = task.file_of(control)
    if control.media == "video":
        from jobs.train.video_frames import video_samples

        video = pictures.file(task.id, control.value, address)
        return video_samples(
            task, control, video, folder, max_pixels=pictures.max_pixels, image_size=pictures.image_size
        )
    # A part of a large picture may need all of its pixels.
    picture = pictures.get(task.id, control.value, address, whole=control.per_region)
    found = CONTROLS[control.tag].read(task.regions, control, picture.width, picture.height)
    if control.yolo_task == "classify" and control.per_region:
        return _crops(task, picture, found, folder)
    return [Sample(str(task.id), picture.path, found)]


def _crops(task: FrozenTask, picture: Picture, found: Detections, folder: Path) -> list[Sample]:
    """One a region."""
    if not len(found):
        return []
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
