"""The labeling config: which controls a project has that a YOLO model can serve.

The XML is untrusted (whoever edits a project writes it): it is parsed by defusedxml, and names are data, never paths.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal
from urllib.parse import quote
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from shared.errors import LabelConfigError

YoloTask = Literal["detect", "segment", "obb", "pose", "classify"]
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
_SHAPES = {
    "Rectangle": "RectangleLabels",
    "Polygon": "PolygonLabels",
    "Brush": "BrushLabels",
    "Ellipse": "EllipseLabels",
    "KeyPoint": "KeyPointLabels",
    "VideoRectangle": "VideoRectangle",
}
"""Tag that draws, and finds its labels in a `<Labels>` of the same image or video → row of CONTROL_TASKS."""
_OBJECTS: dict[str, Media] = {"Image": "image", "Video": "video"}
_VIDEO_CONTROLS = {"VideoRectangle", "TimelineLabels"}
_LONGEST_NAME, _LONGEST_KEY = 200, 100  # bytes; they become parts of file names, which hold 255
_YES = {"1", "true", "yes"}
_LONGEST = 1_000_000  # characters; a thousand labels take less than a tenth


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
    value_key: str  # key of the task's data that holds the image: "image" for value="$image"
    labels: tuple[Label, ...]
    attributes: dict[str, str] = field(default_factory=dict)  # of the tag that draws, as written
    media: Media = "image"
    frame_rate: str = ""  # frameRate of its video tag, as written: "25", "$fps"; empty: Label Studio takes 24
    labels_name: str = ""  # of the <Labels> beside a shape; empty if the tag holds its labels itself
    boxes_name: str = ""  # of a KeyPointLabels: the RectangleLabels whose regions are the parents of its points
    per_region: bool = False  # Choices that are asked for each region instead of once an image

    @property
    def label_values(self) -> tuple[str, ...]:
        """The label names in the order of the config: the class order of training."""
        return tuple(label.value for label in self.labels)

    def flag(self, attribute: str, default: bool = False) -> bool:
        """A yes-or-no attribute, as Label Studio's YOLO example reads it."""
        written = self.attributes.get(attribute)
        return default if written is None else written.strip().lower() in _YES


@lru_cache(maxsize=256)
def parse_label_config(xml: str) -> tuple[Control, ...]:
    """The controls that labelloop serves, in the order of the config.

    Raises LabelConfigError for broken or endless XML, and for controls whose labels cannot be told apart.

    A control that labelloop does not know, or that says model_skip="true", is left out: other people's tags are no
    error.
    """
    if len(xml) > _LONGEST:
        raise LabelConfigError(f"the labeling config has {len(xml)} characters, more than {_LONGEST}")
    try:
        root = fromstring(xml, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise LabelConfigError(f"the labeling config is not well-formed XML: {error}") from error
    controls = []
    for tag in root.iter():
        if tag.tag not in CONTROL_TASKS and tag.tag not in _SHAPES:
            continue
        if any(inner.tag in CONTROL_TASKS for child in tag for inner in child.iter()):
            raise LabelConfigError(f"a <{tag.tag}> of the labeling config holds another control")
        control = _control(tag, root)
        if control is not None:
            controls.append(control)
    names = [control.name for control in controls]
    if len(set(names)) < len(names):
        raise LabelConfigError("two controls of the labeling config have the same name")
    return tuple(controls)


def _control(tag: Element, root: Element) -> Control | None:
    name, to_name = tag.get("name"), tag.get("toName", "")
    shown = next((one for one in root.iter() if one.tag in _OBJECTS and one.get("name") == to_name), None)
    row = _SHAPES.get(tag.tag, tag.tag)
    if not name or shown is None or (_OBJECTS[shown.tag] == "video") != (row in _VIDEO_CONTROLS):
        return None
    source = shown.get("value", "")
    if not source.startswith("$"):
        return None
    holder = _labels_beside(tag, root) if tag.tag in _SHAPES else tag
    if holder is None:
        return None
    if len(quote(name)) > _LONGEST_NAME or len(source.encode()) > _LONGEST_KEY:
        raise LabelConfigError(f"the name of control {name[:40]!r}, or of the data that it looks at, is too long")
    control = Control(
        name=name,
        tag=row,
        yolo_task=CONTROL_TASKS[row],
        to_name=to_name,
        value_key=source[1:],
        labels=tuple(_labels(holder)),
        attributes=dict(tag.attrib),
        media=_OBJECTS[shown.tag],
        frame_rate=next((value for key, value in shown.attrib.items() if key.lower() == "framerate"), ""),
        labels_name="" if holder is tag else holder.get("name", ""),
        boxes_name=_boxes_for(tag, root) if row == "KeyPointLabels" else "",
        per_region=tag.get("perRegion", "").lower() == "true",
    )
    if control.flag("model_skip"):
        return None
    if row == "RectangleLabels" and control.flag("model_obb"):
        return replace(control, yolo_task="obb")
    if row == "EllipseLabels" and control.attributes.get("model_task") == "detect":
        return replace(control, yolo_task="detect")
    return control


def _labels_beside(tag: Element, root: Element) -> Element | None:
    same = (one for one in root.iter("Labels") if one.get("toName") == tag.get("toName") and one.get("name"))
    return next(same, None)


def _boxes_for(tag: Element, root: Element) -> str:
    """The RectangleLabels that holds the boxes around keypoints: `<name>_bbox`, or the only one of the image."""
    boxes = [one.get("name", "") for one in root.iter("RectangleLabels") if one.get("toName") == tag.get("toName")]
    wanted = f"{tag.get('name')}_bbox"
    return wanted if wanted in boxes else boxes[0] if len(boxes) == 1 else ""


def _labels(holder: Element) -> Iterable[Label]:
    for tag in holder.iter():
        if tag.tag not in ("Label", "Choice") or not (tag.get("alias") or tag.get("value")):
            continue
        shown = tag.get("value", "")
        predicted = tuple(part.strip() for part in tag.get("predicted_values", "").split(",") if part.strip())
        index = tag.get("model_index", "")
        yield Label(tag.get("alias") or shown, predicted, shown, int(index) if index.isdecimal() else None)
