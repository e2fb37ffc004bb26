"""What an annotator's smart tool asks: `params.context` of `POST /predict`. Pure; the context is untrusted.

Label Studio sends the regions of one tool and one label that are not accepted or refused yet, in the order in which
they were drawn: points with `is_positive`, or boxes, which come after those that were accepted before. Whatever was
accepted is in the draft of the annotation, once that is saved (within seconds).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.labelstudio.controls import CLICK, Control
from shared.labelstudio.regions.fields import numbers, region_id, words_of

_MOST = 100  # of a context's regions, the last; nobody clicks so often for one object
_MOST_DRAWN = 1000  # regions of a draft, the last
_DRAW = ("RectangleLabels", "PolygonLabels", "BrushLabels", "EllipseLabels")

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """A click, in percent of the picture."""

    x: float
    y: float
    positive: bool  # False: what is meant is something else


@dataclass(frozen=True, slots=True)
class Gesture:
    """Clicks, or a rough box, of a smart tool."""

    from_name: str  # of the tool's tag; "" if it is not said
    to_name: str
    label: str | None  # that the annotator chose
    points: tuple[Point, ...] = ()  # in their order
    box: Item | None = field(default=None, repr=False)  # the value of a rectangle, if there are no points


def read_gesture(context: object) -> Gesture | None:
    """The gesture in a context; None if there is none: also when the last point was taken back."""
    items = list(_items(context, _MOST))
    for item in reversed(items):
        kind, value = item.get("type"), item["value"]
        if kind in ("keypointlabels", "keypoint") and _point(item):
            points = tuple(point for other in items if other.get("type") == kind and (point := _point(other)))
            return Gesture(*_names(item), _label(item, items), points)
        if kind in ("rectanglelabels", "rectangle") and numbers(value, "x", "y", "width", "height"):
            return Gesture(*_names(item), _label(item, items), box=value)
    return None


def draws(control: Control) -> bool:
    """Whether a smart tool can draw the objects of a control."""
    return control.tag in _DRAW and control.media == "image"


def control_of(gesture: Gesture, controls: Sequence[Control]) -> Control | None:
    """The control whose regions a gesture draws; None if there is none.

    The tool's own, or the one that it is named after (`<name>_click`), else the first of the picture with the label.
    """
    able = [
        control
        for control in controls
        if draws(control)
        and gesture.to_name in ("", control.to_name)
        and (gesture.label is None or gesture.label in control.label_values)
    ]
    names = gesture.from_name, gesture.from_name.removesuffix(CLICK)
    return min(able, key=lambda control: control.name not in names, default=None)


def drawn_values(drafts: object, to_name: str) -> list[Item]:
    """The values of the regions of one picture in the newest of a task's drafts; of hostile ones none."""
    given = [draft for draft in drafts if isinstance(draft, Mapping)] if isinstance(drafts, list) else []
    newest = max(given, key=lambda draft: str(draft.get("updated_at") or draft.get("created_at") or ""), default={})
    return [item["value"] for item in _items(newest, _MOST_DRAWN) if item.get("to_name", to_name) == to_name]


def _items(holder: object, most: int) -> Iterator[Item]:
    """The last well-formed items of a `result`."""
    result = holder.get("result") if isinstance(holder, Mapping) else None
    for item in result[-most:] if isinstance(result, list) else ():
        if isinstance(item, Mapping) and isinstance(item.get("value"), Mapping):
            yield item


def _point(item: Item) -> Point | None:
    place = numbers(item["value"], "x", "y")
    return Point(place[0], place[1], positive=item.get("is_positive") is not False) if place else None


def _names(item: Item) -> tuple[str, str]:
    names = item.get("from_name"), item.get("to_name")
    return (names[0] if isinstance(names[0], str) else "", names[1] if isinstance(names[1], str) else "")


def _label(item: Item, items: Sequence[Item]) -> str | None:
    """The first label of a region; that of a shape beside `<Labels>` is in another item with its id."""
    name = region_id(item)
    for other in (item, *(other for other in items if name and region_id(other) == name)):
        for key in ("keypointlabels", "rectanglelabels", "labels"):
            if labels := words_of(other["value"].get(key)):
                return labels[0]
    return None
