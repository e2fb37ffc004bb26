"""Scores of object tracking: MOTA and IDF1. Pure.

MOTA: K. Bernardin, R. Stiefelhagen, Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics (2008).
IDF1: E. Ristani et al., Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking (2016).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from shared.geometry.detections import Detections, Floats, Ints

MIN_IOU = 0.5
"""IoU from which two boxes of one class can be the same object, as in both papers' benchmarks."""
_KEPT = 1000.0  # makes a match of the frame before count more than any overlap


@dataclass(slots=True)
class Trajectories:
    """Where tracked objects went in one video."""

    steps: dict[int, list[tuple[int, float, float]]] = field(default_factory=dict)
    """Track id → (frame from 0, centre x, centre y as fractions of the picture)."""

    def add(self, frame: int, boxes: Detections) -> None:
        """The boxes of one frame."""
        assert boxes.tracks is not None
        centres = (boxes.xyxy[:, :2] + boxes.xyxy[:, 2:]) / 2 / (boxes.width, boxes.height)
        for track, (x, y) in zip(boxes.tracks.tolist(), centres.tolist(), strict=True):
            self.steps.setdefault(track, []).append((frame, x, y))


@dataclass(slots=True)
class TrackingCounts:
    """Counts over any number of videos."""

    truth: int = 0  # annotated boxes
    found: int = 0  # tracked boxes
    matched: int = 0  # annotated boxes that were found, frame by frame
    switches: int = 0  # times that the track id of an object changed
    identified: int = 0  # found boxes that are right if each object may have one track id in the whole video
    trajectories: tuple[Trajectories, Trajectories] | None = field(default=None, compare=False)
    """Of what is annotated and of what is tracked, if it is one video."""

    def scores(self) -> dict[str, float]:
        """IDF1 (0–1) and MOTA (at most 1, negative with more mistakes than boxes); both 1 without boxes."""
        if not self.truth + self.found:
            return {"IDF1": 1.0, "MOTA": 1.0}
        mistakes = self.truth + self.found - 2 * self.matched + self.switches
        return {
            "IDF1": 2 * self.identified / (self.truth + self.found),
            "MOTA": 1.0 - mistakes / max(self.truth, 1),
        }

    def plus(self, other: "TrackingCounts") -> "TrackingCounts":
        """The sums of both."""
        return TrackingCounts(
            self.truth + other.truth,
            self.found + other.found,
            self.matched + other.matched,
            self.switches + other.switches,
            self.identified + other.identified,
        )

    def add(self, frames: Iterable[tuple[Detections, Detections]]) -> None:
        """Add one video: (annotated, tracked) boxes of each frame in order, both with `tracks`."""
        video, annotated, tracked = _Video(), Trajectories(), Trajectories()
        for number, (truth, found) in enumerate(frames):
            annotated.add(number, truth)
            tracked.add(number, found)
            self.truth += len(truth)
            self.found += len(found)
            matched, switches = video.match(truth, found)
            self.matched += matched
            self.switches += switches
        self.identified += video.identified()
        self.trajectories = (annotated, tracked)


@dataclass(slots=True)
class _Video:
    """The state from one frame to the next."""

    last: dict[int, int] = field(default_factory=dict)  # object → its last track id
    before: dict[int, int] = field(default_factory=dict)  # object → its track id in the frame before
    # (object, track id) → frames in which they overlap
    together: Counter[tuple[int, int]] = field(default_factory=Counter)

    def match(self, truth: Detections, found: Detections) -> tuple[int, int]:
        """(objects found in a frame, how many of them with another track id than last time)."""
        assert truth.tracks is not None
        assert found.tracks is not None
        overlap = overlaps(truth, found)
        objects, numbers = truth.tracks.tolist(), found.tracks.tolist()
        for row, column in np.argwhere(overlap > 0).tolist():
            self.together[objects[row], numbers[column]] += 1
        kept = np.array(
            [[self.before.get(object_) == number for number in numbers] for object_ in objects], dtype=np.float64
        )
        worth = np.where(overlap > 0, overlap + _KEPT * kept.reshape(overlap.shape), 0.0)
        now = {objects[row]: numbers[column] for row, column in _assigned(worth)}
        switches = sum(self.last.get(object_, number) != number for object_, number in now.items())
        self.before = now
        self.last |= now
        return len(now), switches

    def identified(self) -> int:
        """Boxes that are right with the best pairing of objects and track ids for the whole video."""
        objects = sorted({object_ for object_, _ in self.together})
        numbers = sorted({number for _, number in self.together})
        worth = np.zeros((len(objects), len(numbers)))
        for (object_, number), frames in self.together.items():
            worth[objects.index(object_), numbers.index(number)] = frames
        return sum(int(worth[row, column]) for row, column in _assigned(worth))


def overlaps(truth: Detections, found: Detections) -> Floats:
    """(T, F) intersection over union; 0 below MIN_IOU and between classes."""
    low = np.maximum(truth.xyxy[:, None, :2], found.xyxy[None, :, :2])
    high = np.minimum(truth.xyxy[:, None, 2:], found.xyxy[None, :, 2:])
    common = np.prod(np.clip(high - low, 0.0, None), axis=2)
    area, other = (np.prod(one.xyxy[:, 2:] - one.xyxy[:, :2], axis=1) for one in (truth, found))
    iou: Floats = common / np.maximum(area[:, None] + other - common, 1e-9)
    iou[(iou < MIN_IOU) | (truth.classes[:, None] != found.classes)] = 0.0
    return iou


def _assigned(worth: Floats) -> list[tuple[int, int]]:
    """(row, column) pairs with the largest sum, each row and column used once; without pairs of worth 0."""
    import lap

    if not worth.size:
        return []
    _, columns, _ = lap.lapjv(-worth, extend_cost=True)
    pairs: Ints = np.column_stack([np.arange(len(columns)), columns])
    return [(row, column) for row, column in pairs.tolist() if column >= 0 and worth[row, column] > 0]
