"""Groups keypoints to objects: those below the same region, by Label Studio's `parentID`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from shared.labelstudio.regions.fields import region_id

Item = TypeVar("Item")


def owners(result: Sequence[Mapping[str, Any]], points: Iterable[str]) -> dict[str, str]:
    """Point id → id of its nearest ancestor that is not a point; without one, of its topmost ancestor.

    A point without a parent owns itself. Parents that are not regions are ignored; points in a circle are one group. A
    region without an id has no parent.
    """
    known = {region_id(region) for region in result} - {""}
    given = {region_id(region): region.get("parentID") for region in result if region_id(region)}
    parents = {child: parent for child, parent in given.items() if isinstance(parent, str) and parent in known}
    among = set(points)
    found: dict[str, str] = {}
    for point in among:
        path: set[str] = set()
        here = point
        while here in among and here in parents and here not in found and here not in path:
            path.add(here)
            here = parents[here]
        owner = point if here in path else found.get(here, here)
        found |= dict.fromkeys(path | {point}, owner)
    return found


def split_objects(points: Iterable[tuple[int, Item]]) -> list[dict[int, Item]]:
    """(index, point) in order → one dict an object; an index that the last object has begins the next object."""
    objects: list[dict[int, Item]] = []
    for place, point in points:
        if not objects or place in objects[-1]:
            objects.append({})
        objects[-1][place] = point
    return objects
