"""The labeling config: which controls a project has that a YOLO model can serve.

The XML is untrusted (whoever edits a project writes it): it is parsed by defusedxml, and names are data, never paths.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from shared.errors import LabelConfigError

CONTROL_TASKS = {"RectangleLabels": "detect"}
"""Tag of a control → YOLO task."""
_LONGEST_NAME, _LONGEST_KEY = 200, 100  # bytes; they become parts of file names, which hold 255
_LONGEST = 1_000_000  # characters; a thousand labels take less than a tenth


@dataclass(frozen=True, slots=True)
class Label:
    """One `<Label>`, known in annotations by its value, or by its alias if it has one."""

    value: str  # what regions hold
    predicted_values: tuple[str, ...] = ()  # model classes that a person named for it: predicted_values="car,truck"
    shown: str = ""  # what annotators see, where an alias makes that another word


@dataclass(frozen=True, slots=True)
class Control:
    """One control tag that labelloop serves."""

    name: str
    tag: str  # "RectangleLabels"
    yolo_task: str  # "detect"
    to_name: str  # name of the image tag
    value_key: str  # key of the task's data that holds the image: "image" for value="$image"
    labels: tuple[Label, ...]
    attributes: dict[str, str] = field(default_factory=dict)  # of the tag, as written

    @property
    def label_values(self) -> tuple[str, ...]:
        """The label names in the order of the config: the class order of training."""
        return tuple(label.value for label in self.labels)


@lru_cache(maxsize=256)
def parse_label_config(xml: str) -> tuple[Control, ...]:
    """The controls that labelloop serves, in the order of the config.

    Raises LabelConfigError for broken or endless XML, and for controls whose labels cannot be told apart.

    A control that labelloop does not know is left out: other people's tags are no error.
    """
    if len(xml) > _LONGEST:
        raise LabelConfigError(f"the labeling config has {len(xml)} characters, more than {_LONGEST}")
    try:
        root = fromstring(xml, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise LabelConfigError(f"the labeling config is not well-formed XML: {error}") from error
    images = {tag.get("name", ""): tag for tag in root.iter("Image")}
    controls = []
    for tag in root.iter():
        if tag.tag not in CONTROL_TASKS:
            continue
        if any(inner.tag in CONTROL_TASKS for child in tag for inner in child.iter()):
            raise LabelConfigError(f"a <{tag.tag}> of the labeling config holds another control")
        control = _control(tag, images)
        if control is not None:
            controls.append(control)
    names = [control.name for control in controls]
    if len(set(names)) < len(names):
        raise LabelConfigError("two controls of the labeling config have the same name")
    return tuple(controls)


def _control(tag: Element, images: dict[str, Element]) -> Control | None:
    name, to_name = tag.get("name"), tag.get("toName", "")
    image = images.get(to_name)
    if not name or image is None:
        return None
    source = image.get("value", "")
    if not source.startswith("$"):
        return None
    if len(quote(name)) > _LONGEST_NAME or len(source.encode()) > _LONGEST_KEY:
        raise LabelConfigError(f"the name of control {name[:40]!r}, or of the data that it looks at, is too long")
    labels = tuple(_label(label) for label in tag.iter("Label") if label.get("alias") or label.get("value"))
    return Control(
        name=name,
        tag=tag.tag,
        yolo_task=CONTROL_TASKS[tag.tag],
        to_name=to_name,
        value_key=source[1:],
        labels=labels,
        attributes=dict(tag.attrib),
    )


def _label(tag: Element) -> Label:
    shown = tag.get("value", "")
    predicted = tuple(part.strip() for part in tag.get("predicted_values", "").split(",") if part.strip())
    return Label(tag.get("alias") or shown, predicted, shown)
