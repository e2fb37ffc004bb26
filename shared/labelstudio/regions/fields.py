"""Fields that all regions have: ids, numbers, labels (their format: `shared.labelstudio.items`)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shared.geometry.detections import FAR, Detections
from shared.labelstudio.controls import Control
from shared.labelstudio.items import result_items

_TOOLS = {
    "rle": "Brush",  # or MagicWand, with the same masks
    "points": "Polygon",
    "radiusX": "Ellipse",
    "height": "Rectangle",
    "vertices": "Vector",
    "imageDataURL": "Bitmask",
    "sequence": "VideoRectangle",
    "ranges": "TimelineLabels",
}
"""Key of a region's value → the tag that draws this shape."""


def labelled(result: Sequence[Mapping[str, Any]], control: Control) -> Iterator[tuple[Mapping[str, Any], int]]:
    """(region, class index) for each region of a control and each of its known labels; `value` is a mapping.

    If several tags share a `<Labels>`, regions of the other tags are included: `tool_of` tells them apart.
    """
    classes = {label: index for index, label in enumerate(control.label_values)}
    beside = label_holder(control)[0] != control.name
    shapes: dict[str, Mapping[str, Any]] = {}
    for region in result if beside else ():
        value = region.get("value")
        if isinstance(value, Mapping) and tool_of(value):
            shapes.setdefault(region_id(region), value)
    for region, given in label_items(result, control):
        value = region["value"]
        for label in dict.fromkeys(words_of(given) or ()):
            if label in classes:
                missing = shapes.get(region_id(region), {}) if beside and not tool_of(value) else {}
                yield ({**region, "value": {**missing, **value}} if missing else region), classes[label]


def label_items(result: Iterable[Mapping[str, Any]], control: Control) -> Iterator[tuple[Mapping[str, Any], object]]:
    """(item, its labels as they are, see `words_of`) for the items with a control's labels; `value` is a mapping."""
    holder, key = label_holder(control)
    for item in result:
        if item.get("from_name") == holder and isinstance(item.get("value"), Mapping):
            yield item, item["value"].get(key)


def label_holder(control: Control) -> tuple[str, str]:
    """(name of the tag whose items have a control's labels, key of the labels in their value)."""
    if control.tag == "VideoRectangle":  # Label Studio puts the labels into the item of the box
        return control.name, "labels"
    return (control.labels_name, "labels") if control.labels_name else (control.name, control.tag.lower())


def words_of(given: object) -> list[str] | None:
    """A stored value as a list of labels: empty for None; None if it is not a list of strings."""
    if given is None:
        return []
    return given if isinstance(given, list) and all(isinstance(label, str) for label in given) else None


def tool_of(value: Mapping[str, Any], own: str = "") -> str:
    """The tag that drew a region's shape, `own` if that is possible; "" for a point, or without a shape."""
    drawn = [tool for key, tool in _TOOLS.items() if key in value]
    return own if own in drawn else drawn[0] if drawn else ""


def is_used(result: Sequence[Mapping[str, Any]], control: Control) -> bool:
    """Whether anything was drawn or chosen with the control itself and one of its labels.

    Items of a timeline without spans do not count: Label Studio stores them beside the boxes of a video.
    """
    own = {region_id(region) for region in result if region.get("from_name") == control.name}
    for region, _ in labelled(result, control):
        value = region["value"]
        if control.tag == "TimelineLabels":
            used = bool(value.get("ranges"))
        else:
            used = not control.labels_name or region_id(region) in own or tool_of(value, control.tool) == control.tool
        if used:
            return True
    return False


def region_id(region: Mapping[str, Any]) -> str:
    """The region's id; "" without one, as in imports by other programs."""
    found = region.get("id")
    return found if isinstance(found, str) else ""


def numbers(value: Mapping[str, Any], *keys: str) -> list[float] | None:
    """The numbers under these keys; None if one is missing, not a number, or implausible (`FAR`)."""
    try:
        found = [float(value[key]) for key in keys]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return found if all(abs(number) < FAR for number in found) else None


def rotation_of(value: Mapping[str, Any]) -> float | None:
    """The rotation in degrees, 0 without one; None if it is not a number."""
    found = numbers(value, "rotation") if value.get("rotation") else [0.0]
    return found[0] if found else None


def region_items(
    value: dict[str, Any], control: Control, name: str, label: str | None, score: float, found: Detections
) -> list[dict[str, Any]]:
    """The result items of one region with the id `name`. `value`: its shape."""
    return result_items(value, control, name, label, score, found.width, found.height)
