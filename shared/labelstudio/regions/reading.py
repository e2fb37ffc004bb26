"""The result of reading an annotation, with what could not be read: that must never be taken for an empty image."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.labelstudio.controls import CLICK, Control
from shared.labelstudio.regions.fields import label_items, region_id, words_of

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Reading(Generic[Found]):
    """The objects of one control in one annotation."""

    found: Found
    unusable: tuple[str, ...]
    """The reason for each region that is, or may be, an object of the control but is not in `found`."""
    converted: tuple[str, ...] = ()
    """For each object in `found` that was drawn with another tool than the control's, that tool."""


def region_name(region: Mapping[str, Any], label: str = "") -> str:
    """A region's id and label, for messages."""
    name = region_id(region)
    return f"region {name[:40]!r}" + (f" ({label[:40]!r})" if label else "")


def finish_reading(
    found: Found, seen: Collection[str], unusable: Sequence[str], result: Sequence[Mapping[str, Any]], control: Control
) -> Reading[Found]:
    """A Reading with further unusable regions. `seen`: labels in `found`; `unusable`: the reader's own reasons.

    Added are: labels that are not a list of strings; labels of the control drawn with another control's tag only, which
    may or may not be objects of this one; and, if there is nothing else, regions without a label of the config. Clicks
    of a smart tool are no objects: they only asked the model, and stay where their answer was refused.
    """
    own = [name for name in (control.name, control.labels_name, control.boxes_name) if name]
    labels, sentences, own_items = set(control.label_values) - set(seen), list(unusable), 0
    for region, given in label_items(result, control):
        if words_of(given) is None:
            sentences.append(f"{region_name(region)} has labels that cannot be read")
    for region in result:
        name, value = region.get("from_name"), region.get("value")
        if name == control.name + CLICK or "is_positive" in region:
            continue
        if name in own:
            own_items += 1
        elif isinstance(value, Mapping) and region.get("to_name", control.to_name) == control.to_name:
            for label in sorted(labels & drawn_labels(value)):
                sentences.append(
                    f"{region_name(region, label)} was drawn with {str(name)[:40]!r}, and none with {own[0]!r}"
                )
    if own_items and not seen and not sentences:
        sentences.append(f"of {own_items} regions none has a label that the labeling config has")
    return Reading(found, tuple(sentences))


def drawn_labels(value: Mapping[str, Any]) -> set[str]:
    """The labels of a region of any tag; none for a timeline's item without spans, which Label Studio leaves over."""
    keys = (key for key in value if key.endswith("labels") and (key != "timelinelabels" or value.get("ranges")))
    return {label for key in keys for label in words_of(value[key]) or ()}
