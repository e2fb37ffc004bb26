"""KeyPointLabels, and KeyPoint with Labels: the keypoints of objects, with or without a box around each object.

Points are regions of their own; `parentID` is the region below which a point is listed. With a RectangleLabels that is
the object's box. Without boxes, the first point of an object is the parent of the others: they are written so here, and
annotators can arrange them so. Label Studio stores no visibility: every point that is set counts as visible.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shared.geometry.detections import Detections, Floats, clip_xyxy, xyxy_to_percent
from shared.labelstudio.class_labels import point_labels
from shared.labelstudio.controls import Control
from shared.labelstudio.regions.extents import upright_box
from shared.labelstudio.regions.fields import labelled, numbers, region_id, region_items, tool_of
from shared.labelstudio.regions.parents import owners, split_objects
from shared.labelstudio.regions.reading import Reading, finish_reading, region_name

_MARGIN = 0.1  # around points without a box: part of the larger side of their envelope
_MIN_MARGIN = 0.01  # part of the image's larger side, since one point has no extent
_ROUNDED = 1e-6  # percent by which a point at the border may be outside by rounding

Place = tuple[float, float]
"""x, y in pixels."""
_Object = tuple[int, Floats | None, Mapping[int, Place | None]]
"""(class, box or None: that of its points, point number → position or None outside the image)."""


@dataclass(frozen=True, slots=True)
class _Point:
    id: str
    label: str
    number: int  # index of the point in an object
    place: Place | None  # None: outside the image

    def __str__(self) -> str:
        return region_name({"id": self.id}, self.label)


@dataclass(frozen=True, slots=True, eq=False)
class _Box:
    class_: int | None  # None: without a known label
    xyxy: Floats | None  # None: without area in the image
    points: dict[int, Place | None]  # by number

    def holds(self, place: Place) -> bool:
        """Whether a point is in the box, or on its border."""
        return self.xyxy is not None and bool((self.xyxy[:2] <= place).all() and (place <= self.xyxy[2:]).all())


def write_keypoints(
    found: Detections, labels: Sequence[str | None], control: Control, *, trained: bool = False
) -> list[dict[str, Any]]:
    """A box and the points of each object, without points that have no label, are outside, or below the threshold.

    `trained`: the model was trained on this project, so its points are called like the labels. The width of a point is
    only how large Label Studio draws it. Boxes are written if the config has a RectangleLabels for them and not
    model_add_bboxes="false".
    """
    if found.keypoints is None:
        return []
    boxes = _boxes_control(control) if control.flag("model_add_bboxes", default=True) else None
    corners = xyxy_to_percent(found.xyxy, found.width, found.height).tolist()
    points = (found.keypoints * (100.0 / found.width, 100.0 / found.height, 1.0)).tolist()
    threshold = control.number("model_point_threshold", 0.0)
    size = control.number("model_point_size", 1.0) / found.width * 100.0
    count = found.keypoints.shape[1]
    of_class = [
        point_labels(found.point_names, count, control, name, label, trained=trained)
        for name, label in zip(found.names, labels, strict=True)
    ]
    regions: list[dict[str, Any]] = []
    for number, (class_, score) in enumerate(zip(found.classes.tolist(), found.scores.tolist(), strict=True)):
        parent, (x, y, across, down) = "", corners[number]
        if boxes is not None and across > 0 and down > 0:
            parent = f"{control.name}-{number}"
            value = {"x": x, "y": y, "width": across, "height": down, "rotation": 0}
            regions += region_items(value, boxes, parent, labels[class_], score, found)
        for place, (x, y, confidence) in enumerate(points[number]):
            label = of_class[class_][place]
            if label is None or not (confidence > 0 and confidence >= threshold and 0 <= x <= 100 and 0 <= y <= 100):
                continue
            name = f"{control.name}-{number}.{place}"
            items = region_items({"x": x, "y": y, "width": size}, control, name, label, confidence, found)
            regions += [item | {"parentID": parent} for item in items] if parent else items
            parent = parent or name
    return regions


def read_keypoints(
    result: Sequence[Mapping[str, Any]], control: Control, width: int, height: int
) -> Reading[Detections]:
    """One object for each box, and one for the points below any other region; classes index `control.class_names`.

    If the config has boxes, a point without a parent belongs to the only box that it is in. Without boxes, such points
    are grouped in the order of the annotation: a label that the object has already begins the next object, and its box
    is the envelope of its points with a margin. A point that is not set, or outside the image, is (0, 0, 0). Boxes
    without a known label are left out with their points.

    Unusable: a point without a parent that is in no box, in several, or the second of its label in a box; points
    without a box if boxes have several labels, as their class is unknown.
    """
    boxes, no_boxes = _read_boxes(result, control, width, height)
    points, no_points = _read_points(result, control, width, height)
    unusable = no_boxes + no_points
    owner = owners(result, {point.id for point in points})
    below: dict[str, list[_Point]] = {}
    for point in points:
        below.setdefault(owner[point.id], []).append(point)
    alone: list[_Point] = []
    groups: list[list[_Point]] = []
    for name, held in below.items():
        if name in boxes:
            boxes[name].points.update((point.number, point.place) for point in held)
        elif not name or (len(held) == 1 and name in owner):
            alone += held
        else:
            groups.append(held)
    if control.boxes_name:
        groups, homeless = _put_into_boxes(alone, groups, boxes.values())
        unusable += homeless
    elif alone:
        groups = [alone, *groups]
    objects: list[_Object] = [
        (box.class_, box.xyxy, box.points) for box in boxes.values() if box.class_ is not None and box.xyxy is not None
    ]
    for held in groups:
        for points_of_one in split_objects((point.number, point.place) for point in held):
            if len(control.class_names) > 1:
                unusable.append(f"{held[0]} is in no box, so its class is unknown")
            elif any(points_of_one.values()):
                objects.append((0, None, points_of_one))
            else:
                unusable.append(f"{held[0]} is outside the image")
    seen = {control.point_names[point.number] for point in points}
    seen |= {control.class_names[class_] for class_, _, _ in objects}
    return finish_reading(_detections(objects, control, width, height), seen, unusable, result, control)


def _put_into_boxes(
    alone: Sequence[_Point], groups: Sequence[list[_Point]], boxes: Collection[_Box]
) -> tuple[list[list[_Point]], list[str]]:
    """Put each single point, and each group with a common parent, into the only box that contains it.

    Returns the groups that are in no box, and a sentence for each point or group that cannot be used.
    """
    apart: list[list[_Point]] = []
    unusable: list[str] = []
    for held, arranged in [*(([point], False) for point in alone), *((group, True) for group in groups)]:
        places = [point.place for point in held if point.place]
        around = [box for box in boxes if places and all(box.holds(place) for place in places)]
        numbers = [point.number for point in held]
        if len(around) == 1 and not around[0].points.keys() & set(numbers) and len(set(numbers)) == len(numbers):
            around[0].points.update((point.number, point.place) for point in held)
        elif arranged and not around:
            apart.append(held)
        elif len(around) == 1:
            unusable.append(f"{held[0]} is not the only one of its label in its box")
        else:
            unusable.append(f"{held[0]} is in {len(around) or 'none'} of the boxes, and arranged below none of them")
    return apart, unusable


def _detections(objects: Sequence[_Object], control: Control, width: int, height: int) -> Detections:
    corners, keypoints = [], []
    for _, box, points in objects:
        table = np.zeros((len(control.point_names), 3))
        for number, place in points.items():
            if place is not None:
                table[number] = (*place, 1.0)
        corners.append(_around(table[table[:, 2] > 0, :2], width, height) if box is None else box)
        keypoints.append(table)
    return Detections.annotated(
        width,
        height,
        corners,
        [class_ for class_, _, _ in objects],
        control.class_names,
        keypoints=np.array(keypoints, dtype=np.float64).reshape(len(objects), len(control.point_names), 3),
        point_names=control.point_names,
    )


def _boxes_control(control: Control) -> Control | None:
    """The RectangleLabels for the boxes around the points, as a control; None without one."""
    if not control.boxes_name:
        return None
    return replace(
        control,
        name=control.boxes_name,
        tag="RectangleLabels",
        yolo_task="detect",
        labels=control.boxes,
        labels_name="",
    )


def _read_boxes(
    result: Sequence[Mapping[str, Any]], control: Control, width: int, height: int
) -> tuple[dict[str, _Box], list[str]]:
    """Region id → box (a made-up id if it has none), and a sentence for each unusable box. The first label counts."""
    control_of_boxes = _boxes_control(control)
    if control_of_boxes is None:
        return {}, []
    classes: dict[int, int] = {}  # Python's id of a region
    for region, class_ in labelled(result, control_of_boxes):
        classes.setdefault(id(region), class_)
    found: dict[str, _Box] = {}
    unusable: list[str] = []
    for number, region in enumerate(result):
        value = region.get("value")
        if region.get("from_name") != control_of_boxes.name or not isinstance(value, Mapping):
            continue
        box = _Box(classes.get(id(region)), upright_box(value, width, height), {})
        if box.class_ is not None and box.xyxy is None:
            unusable.append(f"{region_name(region, control.class_names[box.class_])} has no box inside the image")
        if found.setdefault(region_id(region) or f" {number}", box) is not box:
            unusable.append(f"{region_name(region)} occurs twice")
    return found, unusable


def _read_points(
    result: Sequence[Mapping[str, Any]], control: Control, width: int, height: int
) -> tuple[list[_Point], list[str]]:
    """All points with a known label, and a sentence for each unusable region."""
    points: list[_Point] = []
    unusable: list[str] = []
    order = {label: number for number, label in enumerate(control.point_names)}
    for region, index in labelled(result, control):
        label, tool = control.label_values[index], tool_of(region["value"])
        given = numbers(region["value"], "x", "y")
        if tool:
            unusable.append(f"{region_name(region, label)} was drawn with <{tool}>, which cannot become a point")
        elif given is None:
            unusable.append(f"{region_name(region, label)} has no position that can be read")
        else:
            points.append(_Point(region_id(region), label, order[label], _place(given, width, height)))
    return points, unusable


def _place(given: Sequence[float], width: int, height: int) -> Place | None:
    """Percent → pixels, clipped; None outside the image."""
    if min(given) < -_ROUNDED or max(given) > 100.0 + _ROUNDED:
        return None
    x, y = (min(max(one, 0.0), 100.0) / 100.0 for one in given)
    return x * width, y * height


def _around(points: Floats, width: int, height: int) -> Floats:
    """(K, 2) points → (4,) xyxy of their envelope with a margin, clipped to the image."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(_MARGIN * float((high - low).max()), _MIN_MARGIN * max(width, height))
    box: Floats = clip_xyxy(np.concatenate([low - margin, high + margin])[None], width, height)[0]
    return box
