"""The `model_*` attributes of Label Studio's YOLO example: who reads them and what may be written.

Source: https://github.com/HumanSignal/label-studio-ml-backend, label_studio_ml/examples/yolo/README.md; `model_task`,
`model_fliplr`, `model_flipud` and `model_sides` are our own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

YES, NO = ("1", "true", "yes"), ("0", "false", "no")
_BOXES = ("RectangleLabels", "PolygonLabels", "BrushLabels", "EllipseLabels", "KeyPointLabels", "VideoRectangle")


@dataclass(frozen=True, slots=True)
class Attribute:
    """What may be written in an attribute: one of some words, or a number, or (with neither) anything."""

    tags: tuple[str, ...] = ()  # rows of CONTROL_TASKS that read it; empty: all
    words: tuple[str, ...] = ()
    least: float = -math.inf
    most: float = math.inf

    @property
    def expected(self) -> str:
        """For a person."""
        return " or ".join(self.words) if self.words else f"a number from {self.least:g} to {self.most:g}"

    def number(self, written: str) -> float | None:
        """None if it is none, or out of range."""
        try:
            value = float(written)
        except ValueError:
            return None
        return value if self.least <= value <= self.most else None

    def word(self, written: str) -> str | None:
        """None if it is none of the words."""
        word = written.strip().lower()
        return word if word in self.words else None

    def readable(self, written: str) -> bool:
        """Whether it is understood."""
        if self.words:
            return self.word(written) is not None
        return math.isinf(self.most) or self.number(written) is not None


ATTRIBUTES: dict[str, Attribute] = {
    "model_path": Attribute(),
    "model_skip": Attribute(words=YES + NO),
    "model_score_threshold": Attribute(least=0.0, most=1.0),
    "model_conf": Attribute(least=0.0, most=1.0),
    "model_iou": Attribute(_BOXES, least=0.0, most=1.0),
    "model_obb": Attribute(("RectangleLabels",), YES + NO),
    "model_task": Attribute(("EllipseLabels",), ("segment", "detect")),
    "model_tracker": Attribute(("VideoRectangle",), ("botsort", "bytetrack")),
    "model_add_bboxes": Attribute(("KeyPointLabels",), YES + NO),
    "model_point_size": Attribute(("KeyPointLabels",), least=0.0, most=1000.0),
    "model_point_threshold": Attribute(("KeyPointLabels",), least=0.0, most=1.0),
    "model_fliplr": Attribute(least=0.0, most=1.0),
    "model_flipud": Attribute(least=0.0, most=1.0),
    "model_sides": Attribute(),
}
"""Name of a control's attribute → what may be written in it."""
OLDER = {
    "score_threshold": "model_score_threshold",
    "conf": "model_conf",
    "iou": "model_iou",
    "tracker": "model_tracker",
}
"""What earlier versions of that example called them."""


def with_newer_names(written: Mapping[str, str]) -> dict[str, str]:
    """A tag's attributes, the older ones under their newer name unless that is written too."""
    return {new: written[old] for old, new in OLDER.items() if old in written} | dict(written)
