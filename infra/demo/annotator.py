"""An annotator who corrects what was predicted, and leaves behind what Label Studio's page would. Pure.

She leaves an object that lies well enough, moves one that is near, removes the others, and draws what is missing. The
page keeps the ids of predicted regions and says what became of them (`origin`): tests/contract/effort holds recordings.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from infra.demo.regions import objects_together
from infra.effort.edits import SAME_OBJECT
from infra.effort.likeness import Shape, likeness, shape_of
from infra.effort.objects import objects_of
from jobs.train.shown_choice import TIGHT
from shared.labelstudio.controls import Control

Region = Mapping[str, Any]


def corrected(predicted: Sequence[Region], true: Sequence[Region], control: Control) -> list[dict[str, Any]]:
    """The `result` of her annotation. `predicted`, `true`: the `result` of the prediction, and what is really there.

    From a likeness of TIGHT on an object is left as it is; down to SAME_OBJECT it is moved; below, it is another one.
    """
    shown, wanted = objects_together(predicted), objects_together(true)
    pairs = _pairs(shown, wanted, control)
    result: list[dict[str, Any]] = []
    for number, items in enumerate(wanted):
        found, alike = pairs.get(number, (None, 0.0))
        if found is None:
            result += [{**item, "origin": "manual"} for item in items]
        elif alike >= TIGHT and _labels(found) == _labels(items):
            result += [{**item, "origin": "prediction"} for item in found]
        else:
            result += _changed(found, items)
    return result


def _pairs(
    shown: Sequence[Sequence[Region]], wanted: Sequence[Sequence[Region]], control: Control
) -> dict[int, tuple[Sequence[Region], float]]:
    """Number of a wanted object → the one that was shown of it, and how alike they are; the most alike first."""
    shapes = [[_shapes(items, control) for items in each] for each in (shown, wanted)]
    alike = sorted(
        (
            (_likeness(one, other), row, column)
            for row, one in enumerate(shapes[0])
            for column, other in enumerate(shapes[1])
        ),
        reverse=True,
    )
    rows, found = set[int](), dict[int, tuple[Sequence[Region], float]]()
    for value, row, column in alike:
        if value >= SAME_OBJECT and row not in rows and column not in found:
            rows.add(row)
            found[column] = shown[row], value
    return found


def _shapes(items: Sequence[Region], control: Control) -> dict[str, Shape | None]:
    """What an object is made of: one shape, or each of its keypoints by its name."""
    several = control.yolo_task == "pose"
    return {one.label if several else "": shape_of(one, control) for one in objects_of(items, control)}


def _likeness(one: Mapping[str, Shape | None], other: Mapping[str, Shape | None]) -> float:
    """The mean over all keypoints of either; 0 for those that only one has."""
    names = one.keys() | other.keys()
    both = one.keys() & other.keys()
    return sum(likeness(one[name], other[name]) for name in both) / len(names) if names else 0.0


def _changed(found: Sequence[Region], items: Sequence[Region]) -> list[dict[str, Any]]:
    """The wanted items in place of those that were shown, whose ids they get."""
    ids: dict[Any, Any] = {}
    left = list(found)
    for item in items:
        same = [one for one in left if one["from_name"] == item["from_name"]]
        twin = next((one for one in same if _labels([one]) == _labels([item])), same[0] if same else None)
        if twin is not None:
            ids.setdefault(item["id"], twin["id"])
            left.remove(twin)
    known = set(ids.values())
    changed = [
        {**item, **{key: ids.get(item[key], item[key]) for key in ("id", "parentID") if key in item}} for item in items
    ]
    return [{**item, "origin": "prediction-changed" if item["id"] in known else "manual"} for item in changed]


def _labels(items: Sequence[Region]) -> list[str]:
    """All labels and choices in some items, sorted."""
    keys = ("labels", "choices", *(item["type"] for item in items))
    return sorted({word for item in items for key in keys for word in item["value"].get(key) or ()})
