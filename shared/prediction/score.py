"""The score of a prediction: Label Studio can hand out tasks by it, lowest first (docs/order.md). Pure."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

Order = Literal["off", "useful", "easy"]
"""LABELLOOP_ORDER."""


class Confidences(NamedTuple):
    """Of the objects that a control's model found in one image or video, 0–1."""

    shown: Sequence[float]
    hidden: Sequence[float]


def score_of(found: Sequence[Confidences], order: Order) -> float:
    """0–1, of one task; `found`: each control's.

    It depends on this task alone, not on a rank among all: tasks are predicted page by page, and imported later.
    """
    if order == "off":
        return sum(image_score(*each) for each in found) / len(found)
    sure = 1.0 / (1.0 + sum(doubt((*each.shown, *each.hidden)) for each in found))
    return sure if order == "useful" else 1.0 - sure


def image_score(shown: Sequence[float], hidden: Sequence[float]) -> float:
    """Confidence of an image: the mean of what is shown.

    If nothing is: 1 − the highest confidence of what is hidden (1 without any).
    """
    if shown:
        return sum(shown) / len(shown)
    return 1.0 - max(hidden, default=0.0)


def doubt(confidences: Sequence[float]) -> float:
    """The sum of the entropies, in nats, of whether each object is there."""
    return sum(-p * math.log(p) - (1.0 - p) * math.log1p(-p) for p in confidences if 0.0 < p < 1.0)
