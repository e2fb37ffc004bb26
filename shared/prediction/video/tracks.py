"""Tracks of boxes over the frames of a video, in Label Studio's frames."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared.geometry.detections import Detections, Floats, Ints, xyxy_to_percent
from shared.inference.tracker import Tracker
from shared.labelstudio.frames import frame_count, seconds_of
from shared.labelstudio.regions.tracks import Track, write_tracks
from shared.media.video import Frame, Video
from shared.prediction.plan import Found, Plan, relevant_objects


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
    tracker = Tracker(plan.control.word("model_tracker", "botsort"), plan.threshold)
    tracks: defaultdict[int, _Sightings] = defaultdict(_Sightings)
    begins: list[float] = []
    best = 0.0
    for frame, found in watch(tracker.least):
        begins.append(frame.second)
        boxes = relevant_objects(plan, found)
        best = max(best, float(boxes.scores.max(initial=0.0)))
        followed = tracker.follow(boxes, frame.image)
        assert followed.tracks is not None
        for place, number in enumerate(followed.tracks.tolist()):
            score = float(followed.scores[place])
            track = tracks[number]
            track.frames.append(frame.index)
            track.xyxy.append(followed.xyxy[place])
            track.scores.append(score)
            track.classes[int(followed.classes[place])] += score
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
