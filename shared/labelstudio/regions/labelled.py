"""What all regions have in common: ids, numbers, labels (`shared.labelstudio.items` says how they are kept)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.geometry import FAR, Detections
from shared.labelstudio.config import Control
from shared.labelstudio.items import result_items


def labelled(result: Sequence[Mapping[str, Any]], control: Control) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Every region of a control, once for each of its known labels, and the class index; its `value` is a mapping."""
    classes = {label: index for index, label in enumerate(control.label_values)}
    holder, key = (control.labels_name, "labels") if control.labels_name else (control.name, control.tag.lower())
    shapes = {region_id(region) for region in result if region.get("from_name") == control.name}
    for region in result:
        value = region.get("value")
        if region.get("from_name") != holder or not isinstance(value, Mapping) or region_id(region) not in shapes:
            continue
        given = value.get(key)
        named = [label for label in given if isinstance(label, str)] if isinstance(given, list) else []
        for label in dict.fromkeys(named):
            if label in classes:
                yield region, classes[label]


def region_id(region: Mapping[str, Any]) -> str:
    """Empty if it has none: another program's import."""
    found = region.get("id")
    return found if isinstance(found, str) else ""


def numbers(value: Mapping[str, Any], *keys: str) -> list[float] | None:
    """What the keys hold; None if one is missing, or is no number that a person drew."""
    try:
        found = [float(value[key]) for key in keys]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return found if all(abs(number) < FAR for number in found) else None


def written(
    value: dict[str, Any], control: Control, name: str, label: str | None, score: float, found: Detections
) -> list[dict[str, Any]]:
    """The result items of one region called `name`. `value`: its shape."""
    return result_items(value, control, name, label, score, found.width, found.height)
