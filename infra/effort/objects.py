"""The objects of one control in a prediction or an annotation: the units that a person keeps, moves or deletes.

Counted is what a person handles at once: a box, polygon, ellipse or mask with its label, one keypoint, the track of one
object, one span of a timeline, the choices of an image or of a region.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shared.labelstudio.controls import Control
from shared.labelstudio.regions.fields import label_holder, region_id, tool_of, words_of

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Object:
    """One object. Its items are Label Studio's: a shape with its labels, or several items with one id."""

    id: str  # "" without one, as in imports by other programs
    label: str  # several labels joined; "" without one
    items: tuple[Item, ...] = field(repr=False)

    @property
    def untouched(self) -> bool:
        """Whether Label Studio says that it is as it was predicted."""
        return all(item.get("origin") == "prediction" for item in self.items)


def objects_of(result: Iterable[object], control: Control) -> list[Object]:
    """The objects of a control in a `result` (any JSON). Their labels need not be in the config any more."""
    holder, key = label_holder(control)
    groups: dict[str | int, list[Item]] = {}
    for number, item in enumerate(result):
        if not isinstance(item, Mapping) or not isinstance(item.get("value"), Mapping):
            continue
        if item.get("from_name") in (control.name, holder) and not _is_left_over(item["value"], control):
            groups.setdefault(region_id(item) or number, []).append(item)
    objects = []
    for name, items in groups.items():
        if any(item["from_name"] == control.name or _tool_fits(item["value"], control) for item in items):
            given = [words_of(item["value"].get(key)) or () for item in items if item["from_name"] == holder]
            labels = list(dict.fromkeys(label for each in given for label in each))
            objects.append((Object(name if isinstance(name, str) else "", "", tuple(items)), labels))
    if control.yolo_task != "classify" or control.tag == "TimelineLabels":
        return [replace(one, label=" + ".join(labels)) for one, labels in objects]
    # Choices are set and taken back one by one; an image has one item of them, whatever its id is.
    return [
        replace(one, id=f"{one.id if control.per_region else ''} {label if control.several else ''}", label=label)
        for one, labels in objects
        for label in labels
    ]


def _is_left_over(value: Item, control: Control) -> bool:
    """Whether it is a timeline's item without spans, which Label Studio stores beside the boxes of a video."""
    return control.tag == "TimelineLabels" and not value.get("ranges")


def _tool_fits(value: Item, control: Control) -> bool:
    """Whether the control's own tool drew it: other tools may share its `<Labels>`."""
    return tool_of(value, control.tool) == control.tool
