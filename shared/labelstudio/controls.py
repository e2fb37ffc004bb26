"""The controls of a labeling config: tags that annotators use, with their labels and YOLO tasks."""

from dataclasses import dataclass, field, replace
from typing import Literal

from shared.labelstudio.attributes import ATTRIBUTES, NO, YES
from shared.yolo_task import YoloTask

Media = Literal["image", "video"]

CONTROL_TASKS: dict[str, YoloTask] = {
    "RectangleLabels": "detect",  # obb with model_obb="true"
    "PolygonLabels": "segment",
    "BrushLabels": "segment",
    "EllipseLabels": "segment",  # detect with model_task="detect"
    "KeyPointLabels": "pose",
    "Choices": "classify",
    "VideoRectangle": "detect",
    "TimelineLabels": "classify",
}
"""Tag of a control → YOLO task."""
REGION_SELECTED = "region-selected"
"""Value of `visibleWhen` for a tag that is shown while a region is selected."""

CLICK = "_click"
"""A KeyPointLabels with the name of a control and this is its tool for clicks (`labelloop connect --smart`)."""


@dataclass(frozen=True, slots=True)
class Label:
    """One `<Label>` or `<Choice>`."""

    value: str  # what regions hold: the tag's alias if it has one, else its value
    predicted_values: tuple[str, ...] = ()  # classes of models that mean this label: predicted_values="car,truck"
    shown: str = ""  # what annotators see: the tag's value
    model_index: int | None = None  # of a keypoint: its place in the model's order of points


@dataclass(frozen=True, slots=True)
class Control:
    """One control that labelloop serves: a tag with its labels, or a shape and the `<Labels>` beside it."""

    name: str  # of the tag that draws; versions are stored by this name
    tag: str  # a tag of CONTROL_TASKS: "PolygonLabels", also for a <Polygon> with <Labels>
    yolo_task: YoloTask
    to_name: str  # name of the image or video tag
    value: str  # of that tag, as written: "$image", "$page.image" (see shared.labelstudio.task_values)
    labels: tuple[Label, ...]
    attributes: dict[str, str] = field(default_factory=dict)  # of the tag that draws; see shared.labelstudio.attributes
    media: Media = "image"
    frame_rate: str = ""  # frameRate of its video tag, as written: "25", "$fps"; empty: Label Studio takes 24
    labels_name: str = ""  # of the <Labels> beside a shape; empty if the tag holds its labels itself
    boxes_name: str = ""  # of a KeyPointLabels: the RectangleLabels whose regions are the parents of its points
    boxes: tuple[Label, ...] = ()  # the labels of those
    per_region: bool = False  # Choices that are asked for each region instead of once an image

    @property
    def tool(self) -> str:
        """The tag that draws its shapes, as `tool_of` (in `regions.fields`) names it: "Polygon"; "" for points."""
        return "" if self.yolo_task == "pose" else self.tag.removesuffix("Labels")

    @property
    def several(self) -> bool:
        """Whether several choices may be chosen at once."""
        return self.attributes.get("choice") == "multiple"

    @property
    def label_values(self) -> tuple[str, ...]:
        """The label names in the order of the config."""
        return tuple(label.value for label in self.labels)

    @property
    def classes(self) -> tuple[Label, ...]:
        """The labels that the classes of a model for this control stand for, in the order of the classes.

        They are the control's labels, except for a pose model, which finds objects with points. Its classes are the
        labels of the boxes around the points; without boxes there is one class, named like the control. If there is one
        class, it also has the `predicted_values` of all points.
        """
        if self.yolo_task != "pose" or len(self.boxes) > 1:
            return self.boxes or self.labels
        only = self.boxes[0] if self.boxes else Label(self.name)
        named = dict.fromkeys(value for label in self.labels for value in label.predicted_values)
        return (replace(only, predicted_values=(*only.predicted_values, *named)),)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of training."""
        return tuple(label.value for label in self.classes)

    @property
    def point_names(self) -> tuple[str, ...]:
        """The labels of a pose model's points, ordered by `model_index` if each has its own, else as in the config."""
        if self.yolo_task != "pose":
            return ()
        indices = {label.model_index for label in self.labels}
        if None in indices or len(indices) < len(self.labels):
            return self.label_values
        return tuple(label.value for label in sorted(self.labels, key=lambda label: label.model_index or 0))

    def flag(self, attribute: str, default: bool = False) -> bool:
        """The value of a yes-or-no attribute; the default if it is missing or cannot be read."""
        word = ATTRIBUTES[attribute].word(self.attributes.get(attribute, ""))
        return word in YES if word in YES + NO else default

    def number(self, attribute: str, default: float) -> float:
        """The value of an attribute that is a number; the default if it is missing or cannot be read."""
        value = ATTRIBUTES[attribute].number(self.attributes.get(attribute, ""))
        return default if value is None else value

    def word(self, attribute: str, default: str) -> str:
        """The value of an attribute that is one of some words; the default if it is missing or cannot be read."""
        return ATTRIBUTES[attribute].word(self.attributes.get(attribute, "")) or default
