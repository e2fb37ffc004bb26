"""Which points belong to one object: those below the same region, by the `parentID` that Label Studio keeps."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from shared.labelstudio.regions.fields import region_id

Item = TypeVar("Item")


def owners(result: Sequence[Mapping[str, Any]], points: Iterable[str]) -> dict[str, str]:
    """Point id → id of the nearest region above it that is no point; without one, of the topmost point.

    Points that nobody arranged own themselves. Parents that are no region do not count; a circle is one group. What has
    no id (empty) has no parent either.
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


def shared_out(points: Iterable[tuple[int, Item]]) -> list[dict[int, Item]]:
    """Points of several objects, told apart by their place in an object: one that is taken already begins the next."""
    objects: list[dict[int, Item]] = []
    for place, point in points:
        if not objects or place in objects[-1]:
            objects.append({})
        objects[-1][place] = point
    return objects
