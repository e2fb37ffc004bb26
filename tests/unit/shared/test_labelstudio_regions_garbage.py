"""Imported annotations may contain anything: every reader accepts them, and leaves out what is not a region."""

import copy
import random
from typing import Any

import numpy as np
import pytest

from jobs.train.data.annotations import foreign_labels, regions_of
from jobs.train.data.yolo_labels import label_lines
from shared.geometry.detections import Detections
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.regions import CONTROLS
from shared.labelstudio.regions.brush_rle import encode_runs
from shared.labelstudio.regions.choices import region_boxes
from shared.labelstudio.regions.timeline import labels_at, read_spans
from shared.labelstudio.regions.tracks import detections_at, read_tracks
from tests.samples.shapes import taken_by_ultralytics

WIDTH, HEIGHT = 20, 10
_LABELS = '<Label value="a"/><Label value="b"/>'
_CHOICES = '<Choice value="a"/><Choice value="b"/>'
CONFIG = f"""<View><Image name="image" value="$image"/><Video name="video" value="$video"/>
<RectangleLabels name="box" toName="image">{_LABELS}</RectangleLabels>
<RectangleLabels name="turned" toName="image" model_obb="true">{_LABELS}</RectangleLabels>
<PolygonLabels name="polygon" toName="image">{_LABELS}</PolygonLabels>
<BrushLabels name="brush" toName="image">{_LABELS}</BrushLabels>
<EllipseLabels name="ellipse" toName="image">{_LABELS}</EllipseLabels>
<RectangleLabels name="point_bbox" toName="image" model_skip="true">{_LABELS}</RectangleLabels>
<KeyPointLabels name="point" toName="image">{_LABELS}</KeyPointLabels>
<KeyPointLabels name="alone" toName="person">{_LABELS}</KeyPointLabels><Image name="person" value="$image"/>
<Choices name="whole" toName="image">{_CHOICES}</Choices>
<Choices name="each" toName="image" perRegion="true">{_CHOICES}</Choices>
<Rectangle name="beside" toName="image"/><Labels name="labels" toName="image">{_LABELS}</Labels>
<VideoRectangle name="track" toName="video"/><Labels name="kinds" toName="video">{_LABELS}</Labels>
<TimelineLabels name="span" toName="video">{_LABELS}</TimelineLabels></View>"""
CONTROL = {control.name: control for control in parse_label_config(CONFIG)}
BOX = {"x": 10, "y": 10, "width": 40.5, "height": 30, "rotation": 20}
SIZE = {"original_width": WIDTH, "original_height": HEIGHT, "to_name": "image"}
CODE = encode_runs(np.array([22, 42]), np.array([28, 47]), WIDTH * HEIGHT)
FRAMES = [{"frame": frame, "enabled": frame < 9, "time": frame / 24} | BOX for frame in (1, 5, 9)]


def one(name: str, key: str, shape: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [SIZE | {"id": "r1", "from_name": name, "value": shape | {key: ["a"]}} | more]


BELOW = one("point", "keypointlabels", {"x": 20, "y": 20, "width": 1}, id="p1", parentID="r1")
WELL_FORMED: dict[str, list[dict[str, Any]]] = {
    "box": one("box", "rectanglelabels", BOX),
    "turned": one("turned", "rectanglelabels", BOX),
    "polygon": one("polygon", "polygonlabels", {"points": [[10, 10], [90, 20], [50, 80]], "closed": True}),
    "brush": one("brush", "brushlabels", {"format": "rle", "rle": CODE}),
    "ellipse": one("ellipse", "ellipselabels", {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 30}),
    "point": one("point_bbox", "rectanglelabels", BOX) + BELOW,
    "alone": one("alone", "keypointlabels", {"x": 20, "y": 20, "width": 1}, parentID="r2"),
    "whole": one("whole", "choices", {}),
    "each": one("each", "choices", BOX),
    "beside": one("beside", "other", BOX) + one("labels", "labels", BOX),
    "track": one("track", "labels", {"sequence": FRAMES, "framesCount": 9, "duration": 1}),
    "span": one("span", "timelinelabels", {"ranges": [{"start": 2, "end": 5}]}),
}
GARBAGE: list[Any] = [
    *(None, True, "", "a", "1", "nan", "1e400", "²", [], {}, [None], {"x": 1}, [["a"]], [[1, 2], [3]], [[1, 2, 3]]),
    *(0, -1, 5e-324, 1e9, 0.99e9, 1e308, -1e308, float("nan"), float("inf"), -float("inf"), 2**64, 10**400, -(10**400)),
    *([[0, 0]] * 3, [[1e308, -1e308]] * 4, [[float("nan"), 1]] * 4, list(range(9)), [0] * 60, CODE[:9], CODE[:4] * 9),
]


def seen(name: str, result: list[Any]) -> int:
    """Number of objects that are read for one control; fails if a dataset cannot store them."""
    control, regions = CONTROL[name], regions_of({"result": result})
    foreign_labels(regions, control)
    if control.tag == "TimelineLabels":
        return int(labels_at(np.arange(1, 10), read_spans(regions, control).found, control).sum())
    if control.tag == "VideoRectangle":
        drawn = read_tracks(regions, control).found
        found = [detections_at(frame, drawn, control, WIDTH, HEIGHT) for frame in (1, 4, 1000)]
        return sum(held_by_a_dataset(one, "detect") for one in found)
    if control.per_region:
        region_boxes(regions, control, WIDTH, HEIGHT)
    return held_by_a_dataset(CONTROLS[control.tag].read(regions, control, WIDTH, HEIGHT).found, control.yolo_task)


def held_by_a_dataset(found: Detections, yolo_task: Any) -> int:
    assert ((found.xyxy >= 0) & (found.xyxy <= [WIDTH, HEIGHT, WIDTH, HEIGHT])).all()  # nor NaN
    for line in label_lines(found, yolo_task) if yolo_task != "classify" else ():
        assert taken_by_ultralytics(line, yolo_task)
    return len(found)


def spoilt(result: list[Any], chance: random.Random) -> list[Any]:
    """One inner value is replaced, removed or doubled."""
    result = copy.deepcopy(result)
    for _ in range(chance.choice((1, 1, 2, 4))):
        here: Any = result
        while True:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            if not keys:
                break
            key = chance.choice(keys)
            if isinstance(here[key], dict | list) and chance.random() < 0.8:
                here = here[key]
                continue
            what = chance.random()
            if what < 0.6:
                here[key] = copy.deepcopy(chance.choice(GARBAGE))
            elif what < 0.8:
                del here[key]
            elif isinstance(here, list):
                here.insert(key, copy.deepcopy(here[key]))
            break
    return result


@pytest.mark.parametrize("name", CONTROL)
def test_well_formed_regions_are_read(name: str) -> None:
    assert seen(name, WELL_FORMED[name])


@pytest.mark.parametrize("name", CONTROL)
def test_spoilt_regions_raise_nothing(name: str) -> None:
    chance = random.Random(name)
    counts = [seen(name, spoilt(WELL_FORMED[name], chance)) for _ in range(500)]
    assert 0 < sum(count > 0 for count in counts) < len(counts), "some remain regions, and some do not"


@pytest.mark.parametrize("name", CONTROL)
def test_a_result_that_is_none(name: str) -> None:
    for garbage in GARBAGE:
        assert seen(name, garbage) == seen(name, [garbage]) == 0
