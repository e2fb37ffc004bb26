"""Measures a network on the val set as predict runs it: an Outcome for each picture.

The same steps as in predict: how pictures are read and resized, the head, suppression, one class for each box, and the
outlines of masks as they are drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jobs.train.evidence import Classified, Found, Outcome
from jobs.train.training import Contender, Measured, Seen
from jobs.train.yolo.overlaps import overlaps
from jobs.train.yolo.val_set import ValSet, picture_of, task_of
from shared.geometry.detections import Detections, Floats, Ints
from shared.inference.graph import Graph
from shared.inference.network import Network
from shared.labelstudio.class_labels import class_labels, point_labels
from shared.labelstudio.controls import Control
from shared.media.fit import Side
from shared.side_by_side import side_by_side

_CUT_AT_ONCE = 4  # one of 108 million pixels takes 1 GB of memory while it is decoded
_LIKELIEST = 3  # classes that are told of a picture
MIN_CONFIDENCE = 0.001
"""Objects with less confidence are ignored. Lower than predict's thresholds, because mAP needs the whole curve."""


def measure(network: Network, contender: Contender, data: Path, *, at_once: int) -> Measured:
    """Measure a network on the val set of `data` (a data.yaml), `at_once` pictures at a time. Raises ModelError."""
    val = ValSet.of(data)
    class_of = _class_of(network, contender, val)
    known = tuple(sorted(set(class_of.tolist()) - {-1}))
    if network.graph.yolo_task == "classify":
        return _classified(network, val, class_of, known, at_once)
    looking = _Looking.of(network, contender, val)

    def outcome(picture: Path) -> Outcome:
        _, _, found = looking.at(picture)
        return found

    # A picture that is cut is in memory with all its pixels.
    outcomes = side_by_side(outcome, val.pictures(), at_once=min(at_once, _CUT_AT_ONCE) if network.tiling else at_once)
    return Measured(Found(outcomes, range(len(val.classes))), known)


def look(network: Network, contender: Contender, data: Path, pictures: Sequence[str]) -> list[Seen]:
    """What a network finds in some pictures of the val set. `pictures`: their files. See also measure."""
    val = ValSet.of(data)
    if network.graph.yolo_task == "classify":
        class_of = _class_of(network, contender, val)
        return [_guessed(network, val, val.folder / each, class_of) for each in pictures]
    looking = _Looking.of(network, contender, val)
    return [Seen(val.folder / each, *looking.at(val.folder / each)) for each in pictures]


@dataclass(frozen=True, slots=True)
class _Looking:
    """Asks a network about pictures, and compares what it finds with what is annotated."""

    network: Network
    val: ValSet
    iou: float  # overlap for suppression
    side: Side  # how many pixels of the longer side are decoded
    class_of: Ints
    place: list[int]  # see `_places`
    ignored: list[int]  # keypoints that are not compared

    @classmethod
    def of(cls, network: Network, contender: Contender, val: ValSet) -> "_Looking":
        """See measure."""
        settings = contender.settings
        # The frames of a video come in all pixels.
        as_predict = settings.reduced_decoding and contender.control.media == "image"
        return cls(
            network,
            val,
            settings.iou,
            network.needs if as_predict else None,
            _class_of(network, contender, val),
            _places(network.graph, val.points, contender.control, contender.trained),
            [number for number, name in enumerate(val.points) if name not in contender.points],
        )

    def at(self, picture: Path) -> tuple[Detections, Detections, Outcome]:
        """(what is annotated, what is found, how they match)"""
        network, val = self.network, self.val
        image, (height, width) = picture_of(picture, self.side)
        truth = val.annotated(picture, width, height, network.graph.yolo_task)
        if truth.keypoints is not None:
            truth.keypoints[:, self.ignored, 2] = 0.0
        every = network.find(image, MIN_CONFIDENCE, self.iou, whole=(height, width), cut_is_said=False)
        every = replace(every, classes=self.class_of[every.classes])
        found = _rearranged(every.only(every.classes >= 0), self.place, len(val.points))
        boxes = found.xyxy if found.rotated is None else found.rotated
        alike = overlaps(truth, found, val.sigmas)
        name = picture.relative_to(val.folder).as_posix()
        outcome = Outcome(
            task_of(picture),
            truth.classes,
            found.classes,
            found.scores,
            alike,
            boxes,
            picture=name,
            annotated=truth.xyxy if truth.rotated is None or found.rotated is None else truth.rotated,
            size=(width, height),
        )
        return truth, found, outcome


def _classified(network: Network, val: ValSet, class_of: Ints, known: tuple[int, ...], at_once: int) -> Measured:
    """Of a classifier. A picture is in the folder of each of its classes, which end with their index (ClassFolders)."""
    of_name: dict[str, list[Path]] = {}
    for picture in val.pictures():
        of_name.setdefault(picture.stem, []).append(picture)

    def chances_in(picture: Path) -> tuple[int, Floats]:
        """(likeliest class, (C,) confidence of each)."""
        pixels, whole = picture_of(picture, None)  # a square of the size that it sees
        found, chances = network.find(pixels, 0.0, whole=whole), np.zeros(len(val.classes))
        if not len(found):
            return -1, chances
        assert found.class_scores is not None
        np.add.at(chances, class_of[class_of >= 0], found.class_scores[0][class_of >= 0])
        return int(class_of[int(found.classes[0])]), chances

    pictures = [files[0] for files in of_name.values()]
    answers = side_by_side(chances_in, pictures, at_once=at_once)
    guessed = np.array([likeliest for likeliest, _ in answers], dtype=np.int64)
    chances = np.array([each for _, each in answers]).reshape(len(pictures), -1)
    truth = np.zeros((len(pictures), len(val.classes)), dtype=np.bool_)
    for row, files in zip(truth, of_name.values(), strict=True):
        row[[_class_in(file) for file in files]] = True
    names = [each.relative_to(val.folder).as_posix() for each in pictures]
    tasks = [task_of(each) for each in pictures]
    return Measured(Classified(tasks, truth, guessed, range(len(val.classes)), names, chances), known)


def _guessed(network: Network, val: ValSet, picture: Path, class_of: Ints) -> Seen:
    """The classes of a picture, and the likeliest ones."""
    pixels, (height, width) = picture_of(picture, None)
    found = network.find(pixels, 0.0, whole=(height, width))
    chances = np.zeros(len(val.classes))
    if len(found) and found.class_scores is not None:
        chances[class_of[class_of >= 0]] = found.class_scores[0][class_of >= 0]
    likeliest = np.argsort(-chances, kind="stable")[:_LIKELIEST]
    files = [file for file in val.pictures() if file.stem == picture.stem]

    def classes(numbers: Sequence[int]) -> Detections:
        whole = [(0.0, 0.0, width, height)] * len(numbers)
        return Detections.annotated(width, height, whole, numbers, val.classes)

    guessed = replace(classes(likeliest.tolist()), scores=chances[likeliest])
    return Seen(picture, classes([_class_in(file) for file in files]), guessed.only(guessed.scores > 0), None)


def _class_in(file: Path) -> int:
    """The class whose folder a file is in."""
    return int(file.parent.name[-6:])


def _class_of(network: Network, contender: Contender, val: ValSet) -> Ints:
    """(model's classes,) index of the dataset's class for each, −1 for none."""
    held, names = network.graph.names, val.classes
    if contender.trained:
        labels: Sequence[str | None] = [name if name in names else None for name in held]
    else:
        labels = class_labels(held, contender.control, trained=False)
    return np.array([-1 if label is None else names.index(label) for label in labels], dtype=np.int64)


def _places(graph: Graph, held: Sequence[str], control: Control, trained: bool) -> list[int]:
    """For each keypoint of a model its index in the dataset, −1 for none.

    `held`: names of the dataset's. They are matched by name, those of base weights by `model_index` too.
    """
    label = control.class_names[0] if control.class_names else None
    meant = point_labels(graph.point_names, graph.point_shape[0], control, graph.names[0], label, trained=trained)
    return [held.index(name) if name in held else -1 for name in meant]


def _rearranged(found: Detections, places: Sequence[int], count: int) -> Detections:
    """With the dataset's keypoints, `count` of them; zeros for those that the model lacks."""
    if found.keypoints is None:
        return found
    keypoints = np.zeros((len(found), count, 3))
    for number, place in enumerate(places):
        if place >= 0:
            keypoints[:, place] = found.keypoints[:, number]
    return replace(found, keypoints=keypoints)
