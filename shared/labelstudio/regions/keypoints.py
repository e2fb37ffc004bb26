"""KeyPointLabels, and KeyPoint with Labels: the points of things, with or without a box around each thing.

Points are regions of their own; `parentID` says below which region they are listed. Inside a RectangleLabels that is
the thing's box. Without boxes the first point of a thing is the parent of its others: so they are written here, and
so anybody can arrange them in Label Studio. Whether a point is hidden is not stored: what is set counts as visible.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from shared.geometry import Detections, Floats, clip_xyxy, xyxy_to_percent
from shared.labelstudio.class_labels import point_labels
from shared.labelstudio.config import Control
from shared.labelstudio.regions.extents import upright_box
from shared.labelstudio.regions.labelled import labelled, numbers, region_id, written
from shared.labelstudio.regions.parents import owners, shared_out

_MARGIN = 0.1  # of the larger side of the points' envelope, around points without a box
_LEAST_MARGIN = 0.01  # of the larger side of the image: one point alone has no extent
_ROUNDED = 1e-6  # percent by which a point at the border may be outside

Place = tuple[float, float]
"""x, y in pixels."""
_Thing = tuple[int, Floats | None, Mapping[int, Place | None]]
"""Class, box (None: that of its points), points by their number; None for one outside the image."""


def write_keypoints(
    found: Detections, labels: Sequence[str | None], control: Control, *, trained: bool = False
) -> list[dict[str, Any]]:
    """A box and its points for each thing; points without label, outside the image or below the threshold are left out.

    `trained`: by a model that was trained on this project, whose points are called like the labels. The size of a point
    is only how large Label Studio draws it. Boxes are written if the config has a RectangleLabels for them and does not
    say model_add_bboxes="false".
    """
    if found.keypoints is None:
        return []
    boxes = _boxes_control(control) if control.flag("model_add_bboxes", default=True) else None
    corners = xyxy_to_percent(found.xyxy, found.width, found.height).tolist()
    points = (found.keypoints * (100.0 / found.width, 100.0 / found.height, 1.0)).tolist()
    least = control.number("model_point_threshold", 0.0)
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
            regions += written(value, boxes, parent, labels[class_], score, found)
        for place, (x, y, sure) in enumerate(points[number]):
            label = of_class[class_][place]
            if label is None or not (sure > 0 and sure >= least and 0 <= x <= 100 and 0 <= y <= 100):
                continue
            name = f"{control.name}-{number}.{place}"
            items = written({"x": x, "y": y, "width": size}, control, name, label, sure, found)
            regions += [item | {"parentID": parent} for item in items] if parent else items
            parent = parent or name
    return regions


def read_keypoints(result: Sequence[Mapping[str, Any]], control: Control, width: int, height: int) -> Detections:
    """One thing a box, and one for the points below any other region; classes index into `control.class_names`.

    Points that nobody arranged are shared out in the order in which they were set: a label that a thing has already
    begins the next thing. Without a box: the envelope of the points and a margin. Left out: points and boxes without a
    known label, points below such a box, points without a box where boxes have several labels (of which class are
    they?). A point that is not set, or outside the image, is (0, 0, 0).
    """
    points = list(labelled(result, control))
    boxes = _read_boxes(result, control, width, height)
    owner = owners(result, {region_id(region) for region, _ in points})
    order = {label: place for place, label in enumerate(control.point_names)}
    below: dict[str, list[tuple[int, Place | None]]] = {}
    for region, index in points:
        place = order[control.label_values[index]], _place(region["value"], width, height)
        below.setdefault(owner[region_id(region)], []).append(place)
    things: list[_Thing] = []
    for name, (class_, box) in boxes.items():
        held = below.pop(name, [])
        if box is not None:
            things.append((class_, box, dict(held)))
    if len(control.class_names) == 1:
        alone = [name for name, held in below.items() if not name or (len(held) == 1 and name in owner)]
        groups = [[place for name in alone for place in below.pop(name)], *below.values()]
        things += [(0, None, thing) for held in groups for thing in shared_out(held)]
    return _detections(things, control, width, height)


def _detections(things: Sequence[_Thing], control: Control, width: int, height: int) -> Detections:
    classes, corners, keypoints = [], [], []
    for class_, box, points in things:
        table = np.zeros((len(control.point_names), 3))
        for number, place in points.items():
            if place is not None:
                table[number] = (*place, 1.0)
        around = _around(table[table[:, 2] > 0, :2], width, height) if box is None else box
        if around is not None:
            classes.append(class_)
            corners.append(around)
            keypoints.append(table)
    return Detections(
        width,
        height,
        np.array(corners, dtype=np.float64).reshape(-1, 4),
        np.ones(len(classes)),
        np.array(classes, dtype=np.int64),
        control.class_names,
        keypoints=np.array(keypoints, dtype=np.float64).reshape(len(classes), len(control.point_names), 3),
        point_names=control.point_names,
    )


def _boxes_control(control: Control) -> Control | None:
    """The RectangleLabels around the points, as a control of its own."""
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
) -> dict[str, tuple[int, Floats | None]]:
    """Region id → class and box; None for one that does not count. Of several labels the first."""
    boxes = _boxes_control(control)
    if boxes is None:
        return {}
    found: dict[str, tuple[int, Floats | None]] = {}
    for region, class_ in labelled(result, boxes):
        found.setdefault(region_id(region), (class_, upright_box(region["value"], width, height)))
    for region in result:
        if region.get("from_name") == boxes.name:
            found.setdefault(region_id(region), (0, None))
    return found


def _place(value: Mapping[str, Any], width: int, height: int) -> Place | None:
    """None outside the image."""
    given = numbers(value, "x", "y")
    if given is None or min(given) < -_ROUNDED or max(given) > 100.0 + _ROUNDED:
        return None
    x, y = (min(max(one, 0.0), 100.0) / 100.0 for one in given)
    return x * width, y * height


def _around(points: Floats, width: int, height: int) -> Floats | None:
    """(K, 2) points → (4,) their envelope with a margin, inside the image; None without points."""
    if not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(_MARGIN * float((high - low).max()), _LEAST_MARGIN * max(width, height))
    box: Floats = clip_xyxy(np.concatenate([low - margin, high + margin])[None], width, height)[0]
    return box
