"""Tracks of boxes over the frames of a video, by ultralytics' trackers, in Label Studio's frames.

ultralytics' own `model.track()` takes one frame at a time, and reads a tracker's settings from any file that it is
given; here they are read from the package only.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from functions.predict.plan import Found, Plan, relevant_objects
from shared.geometry.detections import Detections, Floats, Ints, xyxy_to_percent
from shared.labelstudio.frames import frame_count, seconds_of
from shared.labelstudio.regions.tracks import Track, write_tracks
from shared.media.video import Frame, Video


@dataclass(slots=True)
class _Sightings:
    """The boxes of one track so far."""

    frames: list[int] = field(default_factory=list)  # indices of decoded frames
    xyxy: list[Floats] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    classes: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))  # class → sum of scores


def find_tracks(
    plan: Plan, video: Video, watch: Callable[[float], Iterator[tuple[Frame, Detections]]], rate: float
) -> Found:
    """One region for each track that reaches the threshold in some frame; its score is its mean confidence.

    The class of a track is that of its boxes, weighted by confidence. `rate`: Label Studio's frames a second.
    """
    tracker, confidence = _tracker(plan)
    tracks: defaultdict[int, _Sightings] = defaultdict(_Sightings)
    begins: list[float] = []
    best = 0.0
    for frame, found in watch(confidence):
        begins.append(frame.second)
        boxes = relevant_objects(plan, found)
        best = max(best, float(boxes.scores.max(initial=0.0)))
        for x1, y1, x2, y2, number, score, class_, _ in _tracked(tracker, boxes, frame.image).tolist():
            track = tracks[int(number)]
            track.frames.append(frame.index)
            track.xyxy.append(np.array([x1, y1, x2, y2]))
            track.scores.append(score)
            track.classes[int(class_)] += score
    count = frame_count(video.duration, rate)
    shown_at = np.searchsorted(begins, seconds_of(np.arange(1, count + 1), rate), side="right") - 1
    shown = [track for track in tracks.values() if max(track.scores) >= plan.threshold]
    drawn = [_in_label_studio(track, shown_at, plan, video) for track in shown]
    regions = write_tracks(drawn, plan.control, frames_count=count, duration=video.duration, rate=rate)
    return Found(regions, [track.score for track in drawn if len(track.frames)], [best])


def _in_label_studio(track: _Sightings, shown_at: NDArray[np.intp], plan: Plan, video: Video) -> Track:
    """A track in Label Studio's frames. `shown_at`: (F,) index of the decoded frame shown at each of these."""
    seen: Ints = np.array(track.frames, dtype=np.int64)
    boxes = xyxy_to_percent(np.array(track.xyxy, dtype=np.float64), video.width, video.height)
    place = np.minimum(np.searchsorted(seen, shown_at), len(seen) - 1)
    there = (seen[place] == shown_at) & (boxes[place, 2:] > 0).all(axis=1)
    class_ = max(track.classes, key=track.classes.__getitem__)
    return Track(
        frames=np.flatnonzero(there).astype(np.int64) + 1,
        boxes=boxes[place][there],
        label=plan.labels[class_],
        score=float(np.mean(track.scores)),
    )


def _tracker(plan: Plan) -> tuple[Any, float]:
    """The tracker that the control names, and the lowest confidence of boxes that it uses.

    By default it begins a track at a confidence of 0.25. For a control with a lower threshold this is lowered too, and
    overlap is not multiplied by confidence, since boxes of low confidence would never match.
    """
    from ultralytics.trackers.track import TRACKER_MAP
    from ultralytics.utils import ROOT, YAML, IterableSimpleNamespace

    name = plan.control.word("model_tracker", "botsort")
    settings: dict[str, Any] = YAML.load(ROOT / "cfg" / "trackers" / f"{name}.yaml")  # type: ignore[no-untyped-call]
    settings["fuse_score"] &= plan.threshold >= settings["new_track_thresh"]
    for key in ("track_high_thresh", "new_track_thresh", "track_low_thresh"):
        settings[key] = min(settings[key], plan.threshold)
    return TRACKER_MAP[name](args=IterableSimpleNamespace(**settings)), settings["track_low_thresh"]


def _tracked(tracker: Any, found: Detections, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(T, 8) x1, y1, x2, y2, track, score, class, index of the tracks in this frame."""
    from ultralytics.engine.results import Boxes

    table = np.column_stack([found.xyxy, found.scores, found.classes]).astype(np.float32)
    tracks: NDArray[np.float32] = tracker.update(Boxes(table, (found.height, found.width)), image)
    return tracks.reshape(-1, 8)
