"""Converts true objects to annotations of Label Studio, and its predictions to Detections."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from infra.demo.drawn import FRAME_RATE
from infra.demo.samples import Sample
from shared.geometry.detections import Detections, xyxy_to_percent
from shared.labelstudio.controls import Control
from shared.labelstudio.regions import CONTROLS
from shared.labelstudio.regions.fields import label_holder
from shared.labelstudio.regions.timeline import Span, labels_at, read_spans, write_spans
from shared.labelstudio.regions.tracks import Track, detections_at, read_tracks, write_tracks

Region = Mapping[str, Any]


def annotated(sample: Sample, control: Control) -> list[dict[str, Any]]:
    """The `result` of a sample's annotation: regions without scores."""
    if control.tag == "VideoRectangle":
        count = len(sample.expert)
        regions = write_tracks(
            _tracks(sample.expert), control, frames_count=count, duration=count / FRAME_RATE, rate=FRAME_RATE
        )
    elif control.tag == "TimelineLabels":
        regions = write_spans(_spans(sample.expert), control)
    else:
        (found,) = sample.expert
        regions = CONTROLS[control.tag].write(found, found.names, control)
    return [{key: value for key, value in region.items() if key != "score"} for region in regions]


def predicted(result: Sequence[Region], control: Control, sample: Sample) -> tuple[Detections, ...]:
    """A prediction's `result` as Detections, one for each frame of the sample; one for an image."""
    result = [_labelled(region, control) for region in result]
    width, height = sample.expert[0].width, sample.expert[0].height
    frames = np.arange(1, len(sample.expert) + 1)
    if control.tag == "VideoRectangle":
        drawn = [(one, _score(region)) for region in result for one in read_tracks([region], control).found]
        scores = np.array([score for _, score in drawn])
        boxes = [one for one, _ in drawn]
        found = (detections_at(frame, boxes, control, width, height) for frame in frames.tolist())
        return tuple(replace(each, scores=scores[each.tracks]) for each in found)
    if control.tag == "TimelineLabels":
        held = labels_at(frames, read_spans(result, control).found, control).astype(np.float64)
        return tuple(_classified(row, control, width, height) for row in held)
    objects = [
        (CONTROLS[control.tag].read(each, control, width, height).found, _score(each[0]))
        for each in objects_together(result)
    ]
    return (_together([replace(found, scores=np.full(len(found), score)) for found, score in objects], sample),)


def _tracks(frames: Sequence[Detections]) -> list[Track]:
    """The track of each object; all objects are in every frame."""
    boxes = np.stack([xyxy_to_percent(each.xyxy, each.width, each.height) for each in frames])
    numbers = np.arange(1, len(frames) + 1)
    return [
        Track(numbers, boxes[:, index], frames[0].names[class_], 1.0)
        for index, class_ in enumerate(frames[0].classes.tolist())
    ]


def _spans(frames: Sequence[Detections]) -> list[Span]:
    """The spans of frames in a row with the same class."""
    spans: list[Span] = []
    for number, each in enumerate(frames, 1):
        label = each.names[int(each.classes[0])]
        if spans and spans[-1].label == label:
            spans[-1] = replace(spans[-1], end=number)
        else:
            spans.append(Span(number, number, label))
    return spans


def _classified(scores: np.ndarray[Any, np.dtype[np.float64]], control: Control, width: int, height: int) -> Detections:
    whole = np.array([[0.0, 0.0, width, height]])
    best = np.array([int(scores.argmax())])
    return Detections.annotated(width, height, whole, best, control.label_values, class_scores=scores[None])


def objects_together(result: Iterable[Region]) -> list[list[Region]]:
    """Items grouped by object: shape and labels have the same id, keypoints name their box as `parentID`."""
    objects: dict[str, list[Region]] = {}
    for region in result:
        objects.setdefault(str(region.get("parentID") or region["id"]), []).append(region)
    return list(objects.values())


def _together(parts: Sequence[Detections], sample: Sample) -> Detections:
    """Several Detections of one image as one."""
    if not parts:
        return sample.expert[0].only(np.array([], dtype=np.int64))

    def rows(name: str) -> Any:
        return None if getattr(parts[0], name) is None else np.concatenate([getattr(part, name) for part in parts])

    names = ("xyxy", "scores", "classes", "rotated", "keypoints", "class_scores")
    outlines = None if parts[0].outlines is None else tuple(each for part in parts for each in part.outlines or ())
    return replace(parts[0], **{name: rows(name) for name in names}, outlines=outlines)


def _labelled(region: Region, control: Control) -> Region:
    """The region with a label: base weights propose regions without, which get the label if the config has only one."""
    _, key = label_holder(control)
    if len(control.label_values) > 1 or region["value"].get(key):
        return region
    return {**region, "value": {**region["value"], key: list(control.label_values)}}


def _score(region: Region) -> float:
    return float(region.get("score", 1.0))
