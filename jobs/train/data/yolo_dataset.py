"""Samples as the files that ultralytics reads: images beside label files, or a folder a class.

Formats: https://docs.ultralytics.com/datasets
"""

import json
import os
import shutil
from abc import abstractmethod
from pathlib import Path
from typing import Protocol

from jobs.train.data.files import write_square
from jobs.train.data.samples import Sample
from jobs.train.data.split import Split
from jobs.train.data.yolo_labels import label_lines
from jobs.train.yolo.machine import task_image_size
from jobs.train.yolo.sides import mirrored_points
from shared.labelstudio.attributes import ATTRIBUTES
from shared.labelstudio.controls import Control

POINT_SIGMA = 0.15
"""How far from its place a point may be found (the sigma of COCO's OKS), for whoever validates a pose.

Where ultralytics does not know the points it takes 1 / points: 0.5 for two, with which every point near the object is
right. On an object of 80 pixels an error of 2 pixels counts at all ten thresholds now, one of 10 at seven, one of 20 at
one; smaller sigmas tell less of models that have just begun.
"""


class YoloFiles(Protocol):
    """The files of one dataset."""

    data: Path  # data.yaml

    @abstractmethod
    def add(self, split: Split, sample: Sample) -> int | None:
        """Write one sample. How many objects it shows; None: it cannot be learnt from and is left out."""


class LabelFiles:
    """`images/<split>/<name>.jpg` and `labels/<split>/<name>.txt`; without a line it is a background image."""

    def __init__(self, control: Control, classes: tuple[str, ...], folder: Path) -> None:
        self._yolo_task = control.yolo_task
        self._folders = {kind: folder / kind for kind in ("images", "labels")}
        for path in self._folders.values():
            for split in ("train", "val"):
                (path / split).mkdir(parents=True)
        self.data = _describe(folder, "images/", classes, control)

    def add(self, split: Split, sample: Sample) -> int | None:
        _link(sample.image, self._folders["images"] / split / f"{sample.name}{sample.image.suffix}")
        lines = label_lines(sample.found, self._yolo_task)
        (self._folders["labels"] / split / f"{sample.name}.txt").write_text("".join(lines))
        return len(lines)


class ClassFolders:
    """`<split>/<class>/<name>.png`; an image with several classes is in the folder of each, one without in none.

    They are squares, as predict makes them: of anything else ultralytics takes the middle.

    ultralytics sorts the folders and takes their names for classes, but when it validates a model, it looks for the
    model's own names among them first. So a folder is named by the index of its class (a label may hold any character),
    no folder is named like a label, and all of them are there, also without an image.
    """

    def __init__(self, control: Control, classes: tuple[str, ...], folder: Path, size: int) -> None:
        """`size`: pixels of a side."""
        mark = "class"
        while any(name.startswith(mark) for name in classes):
            mark += "_"
        self._folder = folder
        self._size = size
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
        write_square(sample.image, first, self._size)
        for other in others:
            _link(first, other)
        return len(chosen)


def classes_of(control: Control) -> tuple[str, ...]:
    """Class index → name, as the model will know it."""
    outside = ("",) if control.tag == "TimelineLabels" else ()  # of all ranges: frames of no label
    return control.class_names + outside


def files_for(control: Control, classes: tuple[str, ...], folder: Path, image_size: int) -> YoloFiles:
    """An empty dataset in an empty folder. `image_size`: of the run."""
    if control.yolo_task == "classify":
        return ClassFolders(control, classes, folder, task_image_size(control.yolo_task, image_size))
    return LabelFiles(control, classes, folder)


def chosen_classes(sample: Sample) -> list[int]:
    """Indices of all classes that a person chose for an image, ascending."""
    found = sample.found
    if found.class_scores is not None:
        return sorted({int(index) for index in found.class_scores.nonzero()[1]})
    return sorted(set(found.classes.tolist()))


def _describe(folder: Path, place: str, classes: tuple[str, ...], control: Control) -> Path:
    """Write data.yaml; under `control` what its config says about the training, which ultralytics does not read."""
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
        data["kpt_names"] = {index: list(points) for index in range(len(classes))}  # they stay with the weights
        if flip := mirrored_points(points, sides):
            data["flip_idx"] = list(flip)  # without it ultralytics does not mirror images
    path = folder / "data.yaml"
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")  # JSON is YAML
    return path


def _asked(control: Control, attribute: str) -> float | None:
    return ATTRIBUTES[attribute].number(control.attributes.get(attribute, ""))


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system knows none."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, target)
