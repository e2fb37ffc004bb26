"""Writes samples as the files that ultralytics reads: images and label files, or a folder for each class.

Formats: https://docs.ultralytics.com/datasets
"""

import json
import os
import shutil
from abc import abstractmethod
from pathlib import Path
from typing import Protocol

from jobs.train.data.image_file import write_square
from jobs.train.data.samples import Sample
from jobs.train.data.sides import mirrored_points
from jobs.train.data.split import Split
from jobs.train.data.yolo_labels import label_lines
from jobs.train.training import task_image_size
from shared.labelstudio.attributes import ATTRIBUTES
from shared.labelstudio.controls import Control

POINT_SIGMA = 0.15
"""The sigma of COCO's OKS, for every keypoint: how far off a point may be found, as part of the object's size.

ultralytics' default for points that it does not know is 1 / points: 0.5 for two, with which every point near the object
is right. With this sigma, on an object of 80 pixels, an error of 2 pixels is right at all ten thresholds, one of 10 at
seven, one of 20 at one. Smaller sigmas cannot tell apart models after little training.
"""


class YoloFiles(Protocol):
    """Writes the files of one dataset."""

    data: Path  # data.yaml

    @abstractmethod
    def add(self, split: Split, sample: Sample) -> int | None:
        """Write one sample; answers its number of objects, None if it was not written because it has no class."""


TILES = "val-tiles"
"""Folder beside `train` and `val`: the tiles of the val set, on which epochs are measured where pictures are cut."""


class LabelFiles:
    """`images/<split>/<name>.jpg` and `labels/<split>/<name>.txt`, which is empty for a background image."""

    def __init__(self, control: Control, classes: tuple[str, ...], folder: Path) -> None:
        self._yolo_task = control.yolo_task
        self._folders = {kind: folder / kind for kind in ("images", "labels")}
        for path in self._folders.values():
            for split in ("train", "val"):
                (path / split).mkdir(parents=True)
        self.data = _describe(folder, "images/", classes, control)

    def add(self, split: Split, sample: Sample) -> int | None:
        place = TILES if sample.tile and split == "val" else split
        images, labels = (self._folders[kind] / place for kind in ("images", "labels"))
        if place == TILES:
            for folder in (images, labels):
                folder.mkdir(exist_ok=True)
        link(sample.image, images / f"{sample.name}{sample.image.suffix}")
        lines = label_lines(sample.found, self._yolo_task)
        (labels / f"{sample.name}.txt").write_text("".join(lines))
        return len(lines)


class ClassFolders:
    """`<split>/<class>/<name>.png`; an image with several classes is in the folder of each.

    Images are squares, as predict makes them: of others ultralytics would use only the middle.

    ultralytics takes the sorted names of the folders as classes, but when it validates a model, it looks for the
    model's own names among them first. So a folder is named by the index of its class (a label may hold any character),
    no folder has the name of a label, and empty ones are made too.
    """

    def __init__(self, control: Control, classes: tuple[str, ...], folder: Path, size: int, *, reduced: bool) -> None:
        """`size`: of an image's side in pixels. `reduced`: see `write_square`."""
        mark = "class"
        while any(name.startswith(mark) for name in classes):
            mark += "_"
        self._folder = folder
        self._size = size
        self._reduced = reduced
        self._classes = [f"{mark}{index:06d}" for index in range(len(classes))]
        for split in ("train", "val"):
            for name in self._classes:
                (folder / split / name).mkdir(parents=True)
        self.data = _describe(folder, "", classes, control)

    def add(self, split: Split, sample: Sample) -> int | None:
        chosen = chosen_classes(sample)
        if not chosen:
            return None
        first, *others = (self._folder / split / self._classes[index] / f"{sample.name}.png" for index in chosen)
        write_square(sample.image, first, self._size, reduced=self._reduced)
        for other in others:
            link(first, other)
        return len(chosen)


class MakeFiles(Protocol):
    """Makes the writer of one dataset in an empty folder, as `files_for`."""

    def __call__(
        self, control: Control, classes: tuple[str, ...], folder: Path, image_size: int, *, reduced_decoding: bool
    ) -> YoloFiles:
        """`image_size`: the run's, in pixels."""


def classes_of(control: Control) -> tuple[str, ...]:
    """The names of the model's classes, by index."""
    outside = ("",) if control.tag == "TimelineLabels" else ()  # the class of frames without a label
    return control.class_names + outside


def files_for(
    control: Control, classes: tuple[str, ...], folder: Path, image_size: int, *, reduced_decoding: bool
) -> YoloFiles:
    """An empty dataset in an empty folder. `image_size`: the run's, in pixels."""
    if control.yolo_task == "classify":
        size = task_image_size(control.yolo_task, image_size)
        reduced = reduced_decoding and control.media == "image" and not control.per_region
        return ClassFolders(control, classes, folder, size, reduced=reduced)
    return LabelFiles(control, classes, folder)


def chosen_classes(sample: Sample) -> list[int]:
    """The indices of all classes in a sample, ascending."""
    found = sample.found
    if found.class_scores is not None:
        return sorted({int(index) for index in found.class_scores.nonzero()[1]})
    return sorted(set(found.classes.tolist()))


def _describe(folder: Path, place: str, classes: tuple[str, ...], control: Control) -> Path:
    """Write data.yaml. `control` in it is for our trainer; ultralytics ignores it."""
    points, sides = control.point_names, control.attributes.get("model_sides", "")
    data: dict[str, object] = {
        "path": str(folder.resolve()),
        "train": f"{place}train",
        "val": f"{place}val",
        "names": list(classes),
        "control": {
            "sides": sides,
            "fliplr": _asked(control, "model_fliplr"),
            "flipud": _asked(control, "model_flipud"),
            "predicted_values": {label.value: list(label.predicted_values) for label in control.classes},
        },
    }
    if points:
        data["kpt_shape"] = [len(points), 3]
        data["kpt_oks_sigmas"] = [POINT_SIGMA] * len(points)
        data["kpt_names"] = {index: list(points) for index in range(len(classes))}  # kept in the weights by ultralytics
        if flip := mirrored_points(points, sides):
            data["flip_idx"] = list(flip)  # without it ultralytics does not mirror images
    path = folder / "data.yaml"
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")  # JSON is YAML
    return path


def _asked(control: Control, attribute: str) -> float | None:
    return ATTRIBUTES[attribute].number(control.attributes.get(attribute, ""))


def link(source: Path, target: Path) -> None:
    """Make a hard link, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, target)
