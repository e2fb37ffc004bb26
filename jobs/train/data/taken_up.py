"""What annotators made of predictions, as far as annotations alone tell: only a prediction knows what was deleted.

Label Studio says of each region where it came from (`origin`), and of an annotation with which prediction it was begun:
docs/effort.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from shared.prediction.region_ids import is_smart

_PREDICTED = {"prediction": 0, "prediction-changed": 1}
_DRAWN, _SMART = 2, 3


class Objects(NamedTuple):
    """Numbers of objects in annotations that were begun with a prediction."""

    kept: int = 0  # as predicted
    changed: int = 0  # moved, relabelled or both
    drawn: int = 0  # by hand
    smart: int = 0  # drawn by a smart tool


class TakenUp(NamedTuple):
    """What became of one version's predictions."""

    version: str  # "v3", "the base weights"
    annotations: int
    objects: Objects

    def as_json(self) -> dict[str, Any]:
        """For a manifest's lineage."""
        return {"version": self.version, "annotations": self.annotations, **self.objects._asdict()}

    @property
    def final(self) -> int:
        """Objects in these annotations."""
        return sum(self.objects)


def objects_by_tag(annotation: Mapping[str, Any], regions: Iterable[Mapping[str, Any]]) -> dict[str, Objects]:
    """Name of a control tag → its objects in one annotation; empty if that was not begun with a prediction.

    Several items with one id are one object, which is as predicted if all of them are.
    """
    found: dict[tuple[str, object], int] = {}
    for number, region in enumerate(regions):
        name, made = region.get("from_name"), _PREDICTED.get(str(region.get("origin")), _DRAWN)
        if is_smart(region.get("id")):
            made = _SMART
        if isinstance(name, str):
            key = name, str(region.get("id") or number)
            found[key] = max(found.get(key, 0), made)
    if annotation.get("parent_prediction") is None and all(made >= _DRAWN for made in found.values()):
        return {}
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0] * len(Objects._fields))
    for (name, _), made in found.items():
        counts[name][made] += 1
    return {name: Objects(*each) for name, each in counts.items()}


def total(
    version: str, annotations: Iterable[tuple[datetime | None, Objects | None]], since: datetime | None
) -> TakenUp:
    """All annotations together that were submitted after `since`. Each: when, and its objects of one tag."""
    counted = [made for moment, made in annotations if made and (since is None or (moment and moment >= since))]
    return TakenUp(version, len(counted), Objects(*map(sum, zip(*counted, strict=True))) if counted else Objects())
