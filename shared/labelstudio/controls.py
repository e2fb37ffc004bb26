"""A control of a labeling config: the tag that annotators use, its labels, and the YOLO task that it asks for."""

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
"""`visibleWhen` of a tag that is on the page while a region is selected."""


@dataclass(frozen=True, slots=True)
class Label:
    """One `<Label>` or `<Choice>`, known in annotations by its value, or by its alias if it has one."""

    value: str  # what regions hold
    predicted_values: tuple[str, ...] = ()  # model classes that a person named for it: predicted_values="car,truck"
    shown: str = ""  # what annotators see, where an alias makes that another word
    model_index: int | None = None  # of a keypoint: its place in the model's order


@dataclass(frozen=True, slots=True)
class Control:
    """One control that labelloop serves: a tag that holds its labels, or a shape and the `<Labels>` beside it."""

    name: str  # of the tag that draws; versions are kept under it
    tag: str  # row of CONTROL_TASKS: "PolygonLabels", also for a <Polygon> with <Labels>
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
    def label_values(self) -> tuple[str, ...]:
        """The label names in the order of the config."""
        return tuple(label.value for label in self.labels)

    @property
    def classes(self) -> tuple[Label, ...]:
        """What the classes of a model that learns this control stand for, in their order.

        The control's labels; but what a pose model finds are objects that have points. Their classes are the labels of
        the boxes around the points; without such boxes all objects are of one class, which is named like the control.
        `predicted_values` of the points name classes of the model: as there is one label only, they name it.
        """
        if self.yolo_task != "pose" or len(self.boxes) > 1:
            return self.boxes or self.labels
        only = self.boxes[0] if self.boxes else Label(self.name)
        named = dict.fromkeys(value for label in self.labels for value in label.predicted_values)
        return (replace(only, predicted_values=(*only.predicted_values, *named)),)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes: the class order of training."""
        return tuple(label.value for label in self.classes)

    @property
    def point_names(self) -> tuple[str, ...]:
        """The labels of a pose model's points, in its order: by `model_index` if each has one, else as written."""
        if self.yolo_task != "pose":
            return ()
        indices = {label.model_index for label in self.labels}
        if None in indices or len(indices) < len(self.labels):
            return self.label_values
        return tuple(label.value for label in sorted(self.labels, key=lambda label: label.model_index or 0))

    def flag(self, attribute: str, default: bool = False) -> bool:
        """A yes-or-no attribute; the default where it is not written or cannot be read."""
        word = ATTRIBUTES[attribute].word(self.attributes.get(attribute, ""))
        return word in YES if word in YES + NO else default

    def number(self, attribute: str, default: float) -> float:
        """A number; the default where it is not written or cannot be read."""
        value = ATTRIBUTES[attribute].number(self.attributes.get(attribute, ""))
        return default if value is None else value

    def word(self, attribute: str, default: str) -> str:
        """One of some words; the default where it is not written or cannot be read."""
        return ATTRIBUTES[attribute].word(self.attributes.get(attribute, "")) or default
