"""What a model found on a val set, and its scores on any sample of the val set's tasks. Pure.

A sample is a weight for each task: how often it was drawn. So the same code scores the val set itself (every weight is
1) and the thousand samples of the bootstrap (drawn with replacement, B. Efron 1979).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jobs.train.tracking_scores import TrackingCounts
from shared.geometry.detections import Floats, Ints
from shared.geometry.suppression import suppress_classes

IOUS = np.linspace(0.5, 0.95, 10)
"""The ten IoU thresholds of mAP50-95."""
_TINY = 1e-16


class Evidence(Protocol):
    """The results of one model on one val set."""

    tasks: tuple[str, ...]  # ids of Label Studio's tasks in a fixed order: the units that the bootstrap draws

    @property
    def objects(self) -> int:
        """Number of annotated objects; of a classifier: images, once for each of their classes."""

    def of(self, classes: Sequence[int]) -> "Evidence":
        """The same results, counting these classes only."""

    def score(self, weights: Floats) -> Floats:
        """(B, tasks) weights of tasks → (B,) the metric; NaN where it cannot be measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One image: its T annotated objects, and the F objects that a model found, highest confidence first."""

    task: str  # id
    truth: Ints  # (T,) classes
    found: Ints  # (F,) classes
    scores: Floats  # (F,) 0–1, descending
    overlap: Floats  # (T, F) 0–1: IoU of boxes or masks, OKS of points
    boxes: Floats  # (F, 4) x1, y1, x2, y2 or (F, 5) centre x, y, width, height, radians
    picture: str = ""  # its file in the dataset, below the folder of the val set
    annotated: Floats | None = None  # (T, 4) or (T, 5) boxes of the annotated objects
    size: tuple[int, int] = (0, 0)  # width and height of the picture, in pixels

    def right(self) -> NDArray[np.bool_]:
        """(F, 10) whether each object found matches an annotated one, at each threshold of IOUS.

        As ultralytics' `match_predictions`: in order of confidence, each takes the unmatched object of its class that
        it overlaps most.
        """
        same = self.overlap * (self.truth[:, None] == self.found)
        right = np.zeros((len(self.found), len(IOUS)), dtype=np.bool_)
        taken = np.zeros((len(self.truth), len(IOUS)), dtype=np.bool_)
        columns = np.arange(len(IOUS))
        for number in np.flatnonzero((same >= IOUS[0]).any(axis=0)):
            free = np.where(taken, 0.0, same[:, number, None])
            best = free.argmax(axis=0)
            right[number] = free[best, columns] >= IOUS
            taken[best, columns] |= right[number]
        return right

    def without_duplicates(self, overlap: float) -> "Outcome":
        """After suppression: of objects of a class that overlap by more than `overlap`, the most confident one."""
        return self.only(suppress_classes(self.boxes, self.scores, self.found, overlap))

    def only(self, which: NDArray[np.bool_]) -> "Outcome":
        """The same with some of the found objects; `which`: (F,) mask."""
        return replace(
            self,
            found=self.found[which],
            scores=self.scores[which],
            overlap=self.overlap[:, which],
            boxes=self.boxes[which],
        )


class Found:
    """Boxes, masks or poses; the metric is mAP50-95 over the classes with at least one annotated object."""

    def __init__(self, outcomes: Sequence[Outcome], classes: Sequence[int]) -> None:
        """`classes`: those that count; objects of other classes are ignored."""
        self.outcomes = tuple(outcomes)
        self.classes = tuple(classes)
        self.tasks = tuple(dict.fromkeys(outcome.task for outcome in outcomes))
        place = {task: number for number, task in enumerate(self.tasks)}
        of_image = [place[outcome.task] for outcome in outcomes]
        scores = np.concatenate([outcome.scores for outcome in outcomes] or [np.zeros(0)])
        order = np.argsort(-scores, kind="stable")
        right = [outcome.right() for outcome in outcomes]
        self._right = np.concatenate(right or [np.zeros((0, len(IOUS)), dtype=np.bool_)])[order]
        self._found = np.concatenate([outcome.found for outcome in outcomes] or [np.zeros(0, dtype=np.int64)])[order]
        self._place = np.repeat(of_image, [len(outcome.found) for outcome in outcomes]).astype(np.int64)[order]
        self._there = np.zeros((len(self.tasks), len(self.classes)))
        for number, outcome in zip(of_image, outcomes, strict=True):
            self._there[number] += (outcome.truth[:, None] == np.array(self.classes)).sum(axis=0)

    @property
    def objects(self) -> int:
        """Number of annotated objects."""
        return int(self._there.sum())

    def of(self, classes: Sequence[int]) -> "Found":
        """The same results, counting these classes only."""
        return Found(self.outcomes, classes)

    def score(self, weights: Floats) -> Floats:
        """mAP50-95 of each sample; see Evidence.score."""
        precision: Floats = self.average_precision(weights).mean(axis=2)
        return _mean_of_known(precision)

    def at_half(self) -> dict[str, float]:
        """mAP50 of the val set as it is."""
        return {"mAP50": float(_mean_of_known(self.average_precision(ones(self))[:, :, 0])[0])}

    def average_precision(self, weights: Floats) -> Floats:
        """(B, tasks) weights → (B, classes, 10) average precision at IOUS; NaN where a sample has none of a class."""
        table = np.full((len(weights), len(self.classes), len(IOUS)), np.nan)
        there = weights @ self._there
        for column, class_ in enumerate(self.classes):
            which = self._found == class_
            some = there[:, column] > 0
            drawn = weights[some][:, self._place[which]]
            for threshold, right in enumerate(self._right[which].T):
                table[some, column, threshold] = _area(right * drawn, drawn) / there[some, column]
        return table


class Classified:
    """Classes of images; the metric is balanced accuracy: the mean of the classes' recalls."""

    def __init__(
        self,
        tasks: Sequence[str],
        truth: NDArray[np.bool_],
        guessed: Ints,
        classes: Sequence[int],
        pictures: Sequence[str] = (),
        chances: Floats | None = None,
    ) -> None:
        """For N images: their tasks, `truth` (N, C) their classes, `guessed` (N,) the likeliest class, −1 for none.

        `classes`: those that count. An image with several classes is right if one of them was guessed. `pictures`:
        their files in the dataset, below the folder of the val set. `chances`: (N, C) the model's confidences.
        """
        self._images = tuple(tasks), truth, guessed
        self.truth, self.guessed, self.chances = truth, guessed, chances
        self.classes = tuple(classes)
        self.pictures = tuple(pictures)
        self.of_images = tuple(tasks)
        self.tasks = tuple(dict.fromkeys(tasks))
        place = {task: number for number, task in enumerate(self.tasks)}
        right = truth[np.arange(len(guessed)), guessed] & (guessed >= 0)
        self._there = np.zeros((len(self.tasks), len(classes)))
        self._right = np.zeros((len(self.tasks), len(classes)))
        for task, row, hit in zip(tasks, truth[:, list(classes)], right, strict=True):
            self._there[place[task]] += row
            self._right[place[task]] += row & hit

    @property
    def objects(self) -> int:
        """Images, once for each of their classes."""
        return int(self._there.sum())

    def of(self, classes: Sequence[int]) -> "Classified":
        """The same results, counting these classes only."""
        return Classified(*self._images, classes, self.pictures, self.chances)

    def score(self, weights: Floats) -> Floats:
        """Balanced accuracy; NaN for samples with fewer than two classes, where a constant answer would be right."""
        there, right = weights @ self._there, weights @ self._right
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = np.where(there > 0, right / there, np.nan)
        several = (there > 0).sum(axis=1) >= 2
        return np.where(several, _mean_of_known(recall), np.nan)

    def accuracy(self) -> float:
        """top1: part of all images whose guess is right, 0–1; NaN without images."""
        _, truth, guessed = self._images
        right = truth[np.arange(len(guessed)), guessed] & (guessed >= 0)
        return float(right.mean()) if len(right) else float("nan")


class Followed:
    """Objects tracked through videos; the metric is IDF1."""

    def __init__(self, videos: dict[str, TrackingCounts]) -> None:
        """`videos`: id of the task → counts of its video."""
        self.videos = videos
        self.tasks = tuple(videos)
        self._counts = np.array(
            [(each.identified, each.truth, each.found) for each in videos.values()], dtype=np.float64
        ).reshape(-1, 3)

    @property
    def objects(self) -> int:
        """Annotated boxes, each frame counted by itself."""
        return int(self._counts[:, 1].sum())

    def of(self, classes: Sequence[int]) -> "Followed":  # noqa: ARG002
        """The same object: tracks are counted for all classes together."""
        return self

    def score(self, weights: Floats) -> Floats:
        """IDF1 of each sample; NaN where it has no annotated box."""
        identified, truth, found = (weights @ self._counts).T
        with np.errstate(invalid="ignore", divide="ignore"):
            idf1: Floats = np.where(truth > 0, 2 * identified / (truth + found), np.nan)
        return idf1

    def metrics(self) -> dict[str, float]:
        """IDF1 and MOTA of all videos together."""
        total = TrackingCounts()
        for each in self.videos.values():
            total = total.plus(each)
        return total.scores()


def ones(evidence: Evidence) -> Floats:
    """(1, tasks) the weights of the val set itself."""
    return np.ones((1, len(evidence.tasks)))


def _mean_of_known(table: Floats) -> Floats:
    """(B, C) → (B,) mean of each row without its NaNs; NaN for a row of NaNs only."""
    known = ~np.isnan(table)
    total = np.where(known, table, 0.0).sum(axis=1)
    count = known.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _area(right: Floats, drawn: Floats) -> Floats:
    """(B,) area below the precision-recall curve, times the number of annotated objects.

    `drawn`: (B, F) weights of the found objects, highest confidence first; `right`: the same, 0 for those that are
    wrong. Precision at a recall is the best that is reached there or at a higher one. COCO and ultralytics sample the
    same curve at 101 points.
    """
    if not drawn.shape[1]:
        return np.zeros(len(drawn))
    precision = right.cumsum(axis=1) / np.maximum(drawn.cumsum(axis=1), _TINY)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area: Floats = (envelope * right).sum(axis=1)
    return area
