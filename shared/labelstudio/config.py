"""Parses a labeling config: the controls of a project that a YOLO model can serve.

The XML is untrusted (whoever edits a project writes it): it is parsed by defusedxml, and names are data, never paths.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from urllib.parse import quote
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from shared.errors import LabelConfigError
from shared.labelstudio.attributes import ATTRIBUTES, YES, with_newer_names
from shared.labelstudio.controls import CONTROL_TASKS, REGION_SELECTED, Control, Label, Media
from shared.labelstudio.task_values import has_variable

_SHAPES = {
    "Rectangle": "RectangleLabels",
    "Polygon": "PolygonLabels",
    "Brush": "BrushLabels",
    "Ellipse": "EllipseLabels",
    "KeyPoint": "KeyPointLabels",
    "VideoRectangle": "VideoRectangle",
}
"""Tag that draws and takes its labels from a `<Labels>` of the same image or video → tag in CONTROL_TASKS."""
_MEDIA_TAGS: dict[str, Media] = {"Image": "image", "Video": "video"}
_VIDEO_CONTROLS = {"VideoRectangle", "TimelineLabels"}
_TAGS = (*CONTROL_TASKS, *_SHAPES, *_MEDIA_TAGS, "Choice", "Label", "Labels", "Repeater")
_ATTRIBUTES = (
    *("alias", "allowNested", "choice", "frameRate", "perItem", "perRegion", "smart", "smartOnly", "value"),
    *("valueList", "visibleWhen", "whenChoiceValue", "whenLabelValue", "whenTagName"),
)
_OF_REGIONS = ("visibleWhen", "whenTagName", "whenLabelValue")
"""Attributes that say for which regions a control is shown."""
_TAG_OF = {tag.lower(): tag for tag in _TAGS}
_ATTRIBUTE_OF = {name.lower(): name for name in _ATTRIBUTES}
"""In lower case → as in Label Studio's documentation."""
_REPEATED = "{{idx}}"  # in the names and values of tags that a <Repeater> copies
_MAX_NAME = 200  # bytes; it becomes part of file names, which may have 255
_MAX_VALUE = 1000  # characters
_MAX_CONFIG = 1_000_000  # characters; a thousand labels take less than a tenth
_MAX_CONTROLS, _MAX_LABELS = 200, 2000


@lru_cache(maxsize=256)
def parse_label_config(xml: str) -> tuple[Control, ...]:
    """The controls that labelloop serves, in the order of the config.

    Tags that labelloop does not know, and those with model_skip="true", are left out without an error
    (`shared.labelstudio.config_review` names them). Raises LabelConfigError for XML that is broken or too large, for
    two controls with the same name, and as `read_tags`.
    """
    controls = [found for _, found in read_tags(parse_xml(xml)) if isinstance(found, Control)]
    names = [control.name for control in controls]
    if len(set(names)) < len(names):
        raise LabelConfigError("two controls of the labeling config have the same name")
    return tuple(controls)


def parse_xml(xml: str) -> Element:
    """The root of a labeling config. Raises LabelConfigError.

    Label Studio's editor reads tags and attributes in any case (`attrsToProps` in its core/Tree.tsx): here they are
    called as in its documentation. Not so `name` and `toName`, which Label Studio itself needs as they are.
    """
    if len(xml) > _MAX_CONFIG:
        raise LabelConfigError(f"the labeling config has {len(xml)} characters, more than {_MAX_CONFIG}")
    try:
        root: Element = fromstring(xml, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise LabelConfigError(f"the labeling config is not well-formed XML: {error}") from error
    for tag in root.iter():
        tag.tag = _TAG_OF.get(tag.tag.lower(), tag.tag)
        tag.attrib = {_ATTRIBUTE_OF.get(name.lower(), name): value for name, value in tag.attrib.items()}
    return root


def read_tags(root: Element) -> Iterator[tuple[Element, Control | str]]:
    """Every tag that could be a control, with its control, or why it is none: the end of a sentence about the tag.

    The reason is empty for a tag with model_skip="true", and for one that only asks (`is_click_tool`). Raises
    LabelConfigError.
    """
    found = [tag for tag in root.iter() if tag.tag in CONTROL_TASKS or tag.tag in _SHAPES]
    if len(found) > _MAX_CONTROLS:
        raise LabelConfigError(f"the labeling config has {len(found)} controls, more than {_MAX_CONTROLS}")
    tags = _Tags(root)
    for tag in found:
        if any(inner.tag in CONTROL_TASKS for child in tag for inner in child.iter()):
            raise LabelConfigError(f"a <{tag.tag}> of the labeling config holds another control")
        yield tag, _control(tag, tags)


class _Tags:
    """An index of all tags, in which a control finds those that belong to it."""

    def __init__(self, root: Element) -> None:
        self.by_name: dict[str, Element] = {}
        self.labels: dict[str | None, Element] = {}  # toName → its first <Labels>
        self.boxes: dict[str | None, list[Element]] = {}  # toName → all its <RectangleLabels>
        self.around = {inner: tag for tag in root.iter() for inner in tag}
        self.repeated: set[Element] = set()
        for repeater in root.iter("Repeater"):
            if repeater not in self.repeated:  # else one around it has added all that it holds
                self.repeated.update(repeater.iter())
        for tag in root.iter():
            if not (name := tag.get("name")):
                continue
            self.by_name.setdefault(name, tag)
            if tag.tag == "Labels":
                self.labels.setdefault(tag.get("toName"), tag)
            elif tag.tag == "RectangleLabels":
                self.boxes.setdefault(tag.get("toName"), []).append(tag)


def _control(tag: Element, tags: _Tags) -> Control | str:
    name, row = tag.get("name"), _SHAPES.get(tag.tag, tag.tag)
    if not name:
        return "has no name"
    if is_click_tool(tag):
        return ""
    looked_at = _looked_at(tag, tags, video=row in _VIDEO_CONTROLS)
    if isinstance(looked_at, str):
        return looked_at
    if tag in tags.repeated or looked_at in tags.repeated or _REPEATED in name + looked_at.get("value", ""):
        return f"is one of many in a <Repeater> ({_REPEATED}): which there are depends on the task"
    holder = tags.labels.get(tag.get("toName")) if tag.tag in _SHAPES else tag
    if holder is None:
        return f'has no labels: give it a <Labels> with toName="{tag.get("toName")}"'
    if row == "Choices" and (unclear := _unclear_choices(tag)):
        return unclear
    if not (labels := _labels(holder)):
        return "has no labels in the config: nothing can be learned, and nothing said of what is found"
    source = looked_at.get("value", "")
    if len(quote(name)) > _MAX_NAME or len(source) > _MAX_VALUE:
        raise LabelConfigError(f"the name of control {name[:40]!r}, or of the data that it looks at, is too long")
    boxes = _boxes_for(tag, tags) if row == "KeyPointLabels" else None
    control = Control(
        name=name,
        tag=row,
        yolo_task=CONTROL_TASKS[row],
        to_name=tag.get("toName", ""),
        value=source,
        labels=labels,
        attributes=with_newer_names(_asked_by_view(tag, tags) | tag.attrib),
        media=_MEDIA_TAGS[looked_at.tag],
        frame_rate=looked_at.get("frameRate", ""),
        labels_name="" if holder is tag else holder.get("name", ""),
        boxes_name="" if boxes is None else boxes.get("name", ""),
        boxes=() if boxes is None else _labels(boxes),
        per_region=row == "Choices" and tag.get("perRegion", "").lower() == "true",
    )
    if control.flag("model_skip"):
        return ""
    if row == "RectangleLabels" and control.flag("model_obb"):
        return replace(control, yolo_task="obb")
    if row == "EllipseLabels" and control.word("model_task", "segment") == "detect":
        return replace(control, yolo_task="detect")
    return control


def _asked_by_view(tag: Element, tags: _Tags) -> dict[str, str]:
    """The attributes of the `<View>` around a tag that say for which regions it is shown.

    Empty if the tag says so itself, or if several do: that is more than a control holds.
    """
    if any(tag.get(name) for name in _OF_REGIONS):
        return {}
    found, holder = [], tags.around.get(tag)
    while holder is not None:
        said = {name: holder.attrib[name] for name in _OF_REGIONS if holder.get(name)}
        if said.get("visibleWhen") == REGION_SELECTED and len(said) > 1:
            found.append(said)
        holder = tags.around.get(holder)
    return found[0] if len(found) == 1 else {}


def is_click_tool(tag: Element) -> bool:
    """Whether a tag draws points only to ask the model what is there: none of its regions is stored."""
    return tag.tag in ("KeyPoint", "KeyPointLabels") and tag.get("smartOnly", "").lower() == "true"


def _looked_at(tag: Element, tags: _Tags, *, video: bool) -> Element | str:
    """The image or video tag that a control refers to, or why there is none that can be served."""
    to_name = tag.get("toName", "")
    found = tags.by_name.get(to_name)
    if found is None and "," in to_name:
        return f'looks at several tags (toName="{to_name}"): labelloop looks at one image or video'
    if found is None:
        return f'looks at toName="{to_name}", which is no tag of the config'
    if found.tag not in _MEDIA_TAGS:
        return f"looks at a <{found.tag}>: labelloop reads <Image> and <Video>"
    if (_MEDIA_TAGS[found.tag] == "video") != video:
        return f"cannot be served on <{found.tag}>"
    if "valueList" in found.attrib:
        return f"looks at a <{found.tag}> with valueList: several files in one tag are not served"
    if not has_variable(found.get("value", "")):
        return f'looks at a <{found.tag}> without value="$…", one file of the task\'s data'
    return found


def _unclear_choices(tag: Element) -> str:
    """Why the choices of a Choices cannot be predicted; empty if they can."""
    if tag.get("allowNested", "").lower() == "true":
        return 'has allowNested="true": Label Studio takes no predictions of paths'
    if tag.get("perItem", "").lower() == "true":
        return 'has perItem="true", which is for several images in one tag'
    given = next((choice.get("value") for choice in label_tags(tag) if is_of_each_task(choice)), tag.get("value"))
    return f'takes its choices from the data of each task (value="{given}")' if given and not _labels(tag) else ""


def _boxes_for(tag: Element, tags: _Tags) -> Element | None:
    """The RectangleLabels with the boxes of keypoints: the one named `<name>_bbox`, or the image's only one."""
    boxes = tags.boxes.get(tag.get("toName"), [])
    named = [one for one in boxes if one.get("name") == f"{tag.get('name')}_bbox"]
    others = [one for one in boxes if not _draws_for_others(one)]
    return named[0] if named else others[0] if len(others) == 1 else None


def _draws_for_others(tag: Element) -> bool:
    """Whether a tag is the tool with which rough boxes are drawn for another control (docs/smart.md)."""
    return (
        tag.get("smartOnly", "").lower() == "true" and ATTRIBUTES["model_skip"].word(tag.get("model_skip", "")) in YES
    )


def _labels(holder: Element) -> tuple[Label, ...]:
    """The labels of a tag, in its order. Of two with the same value the second is left out, as in Label Studio."""
    labels: dict[str, Label] = {}
    for tag in label_tags(holder):
        value = tag.get("alias") or tag.get("value", "")
        if not value or value in labels or is_of_each_task(tag):
            continue
        predicted = tuple(part.strip() for part in tag.get("predicted_values", "").split(",") if part.strip())
        index = tag.get("model_index", "").strip()
        known = int(index) if index.isdecimal() and len(index) < 5 else None
        labels[value] = Label(value, predicted, tag.get("value", ""), known)
    if len(labels) > _MAX_LABELS:
        raise LabelConfigError(
            f"a <{holder.tag}> of the labeling config has {len(labels)} labels, more than {_MAX_LABELS}"
        )
    return tuple(labels.values())


def is_of_each_task(label: Element) -> bool:
    """Whether annotations hold what a task's data says for it. Not so of a `<Label>`, which is only shown otherwise."""
    return label.tag == "Choice" and not label.get("alias") and has_variable(label.get("value", ""))


def label_tags(holder: Element) -> Iterator[Element]:
    """Every `<Label>` and `<Choice>` that is not inside another one: Label Studio leaves those out too."""
    remaining = [holder]
    while remaining:
        tag = remaining.pop()
        if tag.tag in ("Label", "Choice"):
            yield tag
        else:
            remaining += reversed(tag)
