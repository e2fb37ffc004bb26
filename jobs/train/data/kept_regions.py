"""Reduces the regions of an annotation to what the controls need of them."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.labelstudio.controls import Control
from shared.labelstudio.regions.reading import drawn_labels

_KEPT = ("id", "parentID", "from_name", "to_name", "type", "value", "original_width", "original_height")
"""The fields of a region that readers need."""
_UNREAD = ("imageDataURL", "maskDataURL", "touches")
"""Images in a region's value, which no reader reads: stored as empty text."""


class KeptRegions:
    """The regions that some controls need, and the fields that their readers need of each."""

    def __init__(self, controls: tuple[Control, ...]) -> None:
        self._names = {name for one in controls for name in (one.name, one.labels_name, one.boxes_name) if name}
        self._labels = {label for one in controls for label in one.label_values}
        self._looked_at = [None, *(one.to_name for one in controls)]
        self._all = any(one.per_region or one.yolo_task == "pose" for one in controls)  # which read regions of any tag

    def of(self, regions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Those of the regions that are needed, reduced."""
        return [kept for region in regions if (kept := self._reduced(region)) is not None]

    def _reduced(self, region: Mapping[str, Any]) -> dict[str, Any] | None:
        """None if nothing is needed. Of other tags on the same image only labels that a control has too."""
        name, value = region.get("from_name"), region.get("value")
        if not isinstance(name, str) or "is_positive" in region:  # a click that asked a smart tool is no object
            return None
        kept = {key: region[key] for key in _KEPT if key in region}
        if self._all or name in self._names:
            if isinstance(value, Mapping):
                kept["value"] = {key: "" if key in _UNREAD else one for key, one in value.items()}
            return kept
        if region.get("to_name") not in self._looked_at or not isinstance(value, Mapping):
            return None
        drawn = sorted(drawn_labels(value) & self._labels)
        return kept | {"value": {"labels": drawn}} if drawn else None
