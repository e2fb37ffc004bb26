"""What a smart tool saves where an object is not shown: she clicks each such object once, in its middle or beside it.

What she gets from one click is `shared.prediction.smart.choosing.clicked` of the served version's candidates. It is the
object from an IoU of 0.5 on, and moved below 0.8; anything else she refuses, and draws the box by hand.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bench.labour.tally import Tally
from infra.effort.counts import DEFAULT_WEIGHTS
from jobs.train.evidence import Outcome
from jobs.train.shown_choice import ADD, MOVE, TIGHT
from shared.geometry.detections import Detections
from shared.prediction.smart.choosing import clicked, holding, ious

CLICK = DEFAULT_WEIGHTS.smart
SAME = 0.5
"""IoU from which a candidate is the object that she means."""


@dataclass(frozen=True, slots=True)
class Clicks:
    """One click on each object of some tiles that was not shown."""

    objects: int = 0
    drawn: int = 0  # by their click
    tight: int = 0  # of these: they stay as they are, the others are moved
    nothing: int = 0  # clicks that no candidate answers
    there: int = 0  # objects that some candidate at the clicked point would have drawn

    @classmethod
    def of(cls, shown: Outcome, candidates: Detections, *, beside: float = 0.0) -> "Clicks":
        """Of one tile. `beside`: how far from the middle at most, as a part of the object's width and height."""
        assert shown.annotated is not None
        left, counts, aim = (
            missed(shown),
            dict.fromkeys((one.name for one in fields(cls)), 0),
            random.Random(shown.task),
        )
        boxes = shown.annotated
        drawn = boxes[~left]
        for box in boxes[left]:
            size = box[2:] - box[:2]
            point = (box[:2] + box[2:]) / 2 + size * [aim.uniform(-beside, beside), aim.uniform(-beside, beside)]
            alike = ious(candidates.xyxy, box)
            found = clicked(candidates, point[None], np.ones(1, dtype=np.bool_), drawn)
            overlap = float(alike[found]) if found is not None else 0.0
            counts["objects"] += 1
            counts["nothing"] += found is None
            counts["drawn"] += overlap >= SAME
            counts["tight"] += overlap >= TIGHT
            counts["there"] += bool((alike[holding(candidates, point)] >= SAME).any())
            drawn = np.vstack([drawn, box])
        return cls(**counts)

    @classmethod
    def sum(cls, clicks: Iterable["Clicks"]) -> "Clicks":
        """Of all their tiles together."""
        each = list(clicks)
        return cls(**{field.name: sum(getattr(one, field.name) for one in each) for field in fields(cls)})

    @property
    def work(self) -> float:
        """In drawn boxes, of all objects that were not shown."""
        return CLICK * self.objects + MOVE * (self.drawn - self.tight) + ADD * (self.objects - self.drawn)

    def saved(self, tally: Tally) -> float:
        """Part of the work of drawing every tree that is saved by predictions and clicks together."""
        by_hand = ADD * self.objects
        return tally.saved + (by_hand - self.work) / (ADD * tally.trees) if tally.trees else 0.0

    def __str__(self) -> str:
        share = self.drawn / self.objects if self.objects else 0.0
        return (
            f"{self.objects} clicks: {self.drawn} drawn ({share:.0%}), {self.tight} tight, {self.nothing} without an "
            f"answer, {self.there} could be drawn"
        )


def missed(shown: Outcome) -> NDArray[np.bool_]:
    """(T,) which annotated objects no shown one is: matched as `Outcome.right` does, at an IoU of 0.5."""
    same = shown.overlap * (shown.truth[:, None] == shown.found)
    left = np.ones(len(shown.truth), dtype=np.bool_)
    for column in same.T:
        free = np.where(left, column, 0.0)
        if len(free) and free.max() >= SAME:
            left[free.argmax()] = False
    return left
