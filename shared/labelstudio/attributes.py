"""The `model_*` attributes of Label Studio's YOLO example: which tags have them, and which values are valid.

Source: https://github.com/HumanSignal/label-studio-ml-backend, label_studio_ml/examples/yolo/README.md; `model_task`,
`model_fliplr`, `model_flipud`, `model_sides` and `model_tiles` are labelloop's own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from shared.setting_values import LARGEST_TILE, LEAST_TILE

YES, NO = ("1", "true", "yes"), ("0", "false", "no")
_OBJECTS = ("RectangleLabels", "PolygonLabels", "BrushLabels", "EllipseLabels", "KeyPointLabels")
_BOXES = (*_OBJECTS, "VideoRectangle")


@dataclass(frozen=True, slots=True)
class Attribute:
    """Valid values of an attribute: one of `words`, a number in a range, either; or (with neither) any text."""

    tags: tuple[str, ...] = ()  # tags of controls that have the attribute; empty: all
    words: tuple[str, ...] = ()
    minimum: float = -math.inf
    maximum: float = math.inf

    @property
    def expected(self) -> str:
        """The valid values, for a message."""
        number = () if math.isinf(self.maximum) else (f"a number from {self.minimum:g} to {self.maximum:g}",)
        return " or ".join((*self.words, *number))

    def number(self, written: str) -> float | None:
        """The value as a number; None if it is not one or is out of range."""
        try:
            value = float(written)
        except ValueError:
            return None
        return value if self.minimum <= value <= self.maximum else None

    def word(self, written: str) -> str | None:
        """The value as one of `words`, in lower case; None if it is none of them."""
        word = written.strip().lower()
        return word if word in self.words else None

    def accepts(self, written: str) -> bool:
        """Whether the value is valid."""
        if self.word(written) is not None:
            return True
        return not self.words if math.isinf(self.maximum) else self.number(written) is not None


ATTRIBUTES: dict[str, Attribute] = {
    "model_path": Attribute(),
    "model_skip": Attribute(words=YES + NO),
    "model_score_threshold": Attribute(minimum=0.0, maximum=1.0),
    "model_conf": Attribute(minimum=0.0, maximum=1.0),
    "model_iou": Attribute(_BOXES, minimum=0.0, maximum=1.0),
    "model_obb": Attribute(("RectangleLabels",), YES + NO),
    "model_task": Attribute(("EllipseLabels",), ("segment", "detect")),
    "model_tracker": Attribute(("VideoRectangle",), ("botsort", "bytetrack")),
    "model_add_bboxes": Attribute(("KeyPointLabels",), YES + NO),
    "model_point_size": Attribute(("KeyPointLabels",), minimum=0.0, maximum=1000.0),
    "model_point_threshold": Attribute(("KeyPointLabels",), minimum=0.0, maximum=1.0),
    "model_fliplr": Attribute(minimum=0.0, maximum=1.0),
    "model_flipud": Attribute(minimum=0.0, maximum=1.0),
    "model_sides": Attribute(),
    "model_tiles": Attribute(_OBJECTS, ("auto", "off"), minimum=LEAST_TILE, maximum=LARGEST_TILE),
}
"""Name of a control's attribute → its valid values."""
OLDER = {
    "score_threshold": "model_score_threshold",
    "conf": "model_conf",
    "iou": "model_iou",
    "tracker": "model_tracker",
}
"""Name of an attribute in earlier versions of that example → its name now."""


def with_newer_names(written: Mapping[str, str]) -> dict[str, str]:
    """A tag's attributes, where an older name is also given under its newer one, unless that is present."""
    return {new: written[old] for old, new in OLDER.items() if old in written} | dict(written)
