"""Samples as the files that ultralytics reads: images beside label files, or a folder a class.

Formats: https://docs.ultralytics.com/datasets
"""

import json
import os
import re
from abc import abstractmethod
from pathlib import Path
from typing import Protocol

from jobs.train.annotations import Split
from jobs.train.samples import Sample
from jobs.train.yolo_labels import label_lines
from shared.labelstudio.config import Control

_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)


class YoloFiles(Protocol):
    """The files of one dataset."""

    data: Path  # data.yaml

    @abstractmethod
    def add(self, split: Split, sample: Sample) -> int | None:
        """Write one sample. How many things it shows; None: it cannot be learnt from and is left out."""

    @abstractmethod
    def share(self, source: Split, target: Split) -> None:
        """Let one part of the data be in the other one too."""


class LabelFiles:
    """`images/<split>/<name>.jpg` and `labels/<split>/<name>.txt`; without a line it is a background image."""

    def __init__(self, control: Control, classes: tuple[str, ...], folder: Path) -> None:
        self._yolo_task = control.yolo_task
        self._folders = {kind: folder / kind for kind in ("images", "labels")}
        for path in self._folders.values():
            for split in ("train", "val"):
                (path / split).mkdir(parents=True)
        self.data = _describe(folder, "images/", classes, control.point_names)

    def add(self, split: Split, sample: Sample) -> int | None:
        os.link(sample.image, self._folders["images"] / split / f"{sample.name}{sample.image.suffix}")
        lines = label_lines(sample.found, self._yolo_task)
        (self._folders["labels"] / split / f"{sample.name}.txt").write_text("".join(lines))
        return len(lines)

    def share(self, source: Split, target: Split) -> None:
        for path in self._folders.values():
            _link_files(path / source, path / target)


class ClassFolders:
    """`<split>/<class>/<name>.jpg`; an image with several classes is in the folder of each, one without in none.

    ultralytics sorts the folders and takes their names for classes, but when it validates a model, it looks for the
    model's own names among them first. So a folder is named by the index of its class (a label may hold any character),
    no folder is named like a label, and all of them are there, also without an image.
    """

    def __init__(self, classes: tuple[str, ...], folder: Path) -> None:
        mark = "class"
        while any(name.startswith(mark) for name in classes):
            mark += "_"
        self._folder = folder
        self._classes = [f"{mark}{index:06d}" for index in range(len(classes))]
        for split in ("train", "val"):
            for name in self._classes:
                (folder / split / name).mkdir(parents=True)
        self.data = _describe(folder, "", classes)

    def add(self, split: Split, sample: Sample) -> int | None:
        chosen = chosen_classes(sample)
        for index in chosen:
            os.link(sample.image, self._folder / split / self._classes[index] / f"{sample.name}{sample.image.suffix}")
        return len(chosen) or None

    def share(self, source: Split, target: Split) -> None:
        _link_files(self._folder / source, self._folder / target)


def classes_of(control: Control) -> tuple[str, ...]:
    """Class index → name, as the model will know it."""
    outside = ("",) if control.tag == "TimelineLabels" else ()  # of all ranges: frames of no label
    return control.class_names + outside


def files_for(control: Control, classes: tuple[str, ...], folder: Path) -> YoloFiles:
    """An empty dataset in an empty folder."""
    if control.yolo_task == "classify":
        return ClassFolders(classes, folder)
    return LabelFiles(control, classes, folder)


def chosen_classes(sample: Sample) -> list[int]:
    """Indices of all classes that a person chose for an image, ascending."""
    found = sample.found
    if found.class_scores is not None:
        return sorted({int(index) for index in found.class_scores.nonzero()[1]})
    return sorted(set(found.classes.tolist()))


def mirrored(names: tuple[str, ...]) -> list[int] | None:
    """For each keypoint the one that it is in a mirrored image, by the words left and right; None if nobody can say.

    Without any such word the points may be sides all the same (corners, numbers): then images must not be mirrored.
    """
    places = {name.casefold(): index for index, name in enumerate(names)}
    other = {"left": "right", "right": "left"}
    turned = [_SIDE.sub(lambda found: other[found[0].lower()], name.casefold()) for name in places]
    if turned == list(places) or any(name not in places for name in turned) or len(places) < len(names):
        return None
    return [places[name] for name in turned]


def _describe(folder: Path, place: str, classes: tuple[str, ...], points: tuple[str, ...] = ()) -> Path:
    """Write data.yaml."""
    data: dict[str, object] = {
        "path": str(folder.resolve()),
        "train": f"{place}train",
        "val": f"{place}val",
        "names": list(classes),
    }
    if points:
        data["kpt_shape"] = [len(points), 3]
        data["kpt_names"] = {index: list(points) for index in range(len(classes))}  # they stay with the weights
        if flip := mirrored(points):
            data["flip_idx"] = flip  # without it ultralytics does not mirror images
    path = folder / "data.yaml"
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")  # JSON is YAML
    return path


def _link_files(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            os.link(path, target / path.relative_to(source))
