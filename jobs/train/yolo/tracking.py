"""Measures how well a model tracks objects in annotated videos: predict's tracker against annotated keyframes."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from jobs.train.data.samples import usable
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.tracking_scores import TrackingCounts
from jobs.train.training import Contender
from shared.errors import ImageError
from shared.geometry.detections import Detections
from shared.inference.network import Network
from shared.inference.tracker import Tracker
from shared.labelstudio.class_labels import class_labels
from shared.labelstudio.controls import Control
from shared.labelstudio.frames import seconds_of
from shared.labelstudio.regions.tracks import detections_at, read_tracks
from shared.media.video import Video, open_video
from shared.state.versions import DEFAULT_SHOWN

logger = logging.getLogger(__name__)

_MAX_FRAMES = 300
"""Of each video only the first frames are tracked, since a tracker needs every frame."""
_MAX_VIDEOS = 10
"""Only the first videos are used: always the same, so that versions can be compared."""


def track_metrics(
    network: Network, contender: Contender, videos: Iterable[tuple[SnapshotTask, Path]], max_pixels: int
) -> dict[str, TrackingCounts]:
    """Id of the task → counts over the beginning of its video, with the tracker's default settings.

    A video that cannot be decoded, or whose annotation cannot be used, is left out.
    """
    control = contender.control
    watched: dict[str, TrackingCounts] = {}
    for task, path in islice(videos, _MAX_VIDEOS):
        counts = TrackingCounts()
        try:
            with open_video(path, max_pixels=max_pixels) as video:
                counts.add(_frames(task, video, _follow(network, contender, video), control))
        except ImageError as error:
            logger.warning(
                f"the video of task {task.id} is not measured: {error}",
                extra={"event": "video_left_out", "task": task.id, "reason": error.reason},
            )
        else:
            watched[str(task.id)] = counts
    return watched


def _follow(network: Network, contender: Contender, video: Video) -> Iterator[tuple[float, Detections]]:
    """(second at which a frame begins, tracked objects in it) for each frame."""
    control = contender.control
    labels = class_labels(network.graph.names, control, trained=contender.trained)
    numbers = [-1 if label is None else control.label_values.index(label) for label in labels]
    of_class = np.array(numbers, dtype=np.int64)
    tracker = Tracker(control.word("model_tracker", "botsort"), DEFAULT_SHOWN.confidence)
    with closing(video.frames()) as frames:
        for frame in islice(frames, _MAX_FRAMES):
            every = network.find(frame.image, tracker.least, control.number("model_iou", DEFAULT_SHOWN.iou))
            found = replace(every, classes=of_class[every.classes], names=control.label_values)
            yield frame.second, tracker.follow(found.only(found.classes >= 0), frame.image)


def _frames(
    task: SnapshotTask, video: Video, followed: Iterable[tuple[float, Detections]], control: Control
) -> Iterator[tuple[Detections, Detections]]:
    """(annotated boxes, tracked objects) at each of Label Studio's frames, up to the end of the tracked ones."""
    drawn = usable(read_tracks(task.regions, control), control)
    found = list(followed)
    rate = task.frame_rate(control)
    begins = np.array([second for second, _ in found])
    end = begins[-1] + 1.0 / video.fps
    moments = seconds_of(np.arange(1, int(end * rate) + 2), rate)
    for number, second in enumerate(moments[moments < end].tolist(), 1):
        place = int(np.searchsorted(begins, second, side="right")) - 1
        yield detections_at(number, drawn, control, video.width, video.height), found[max(place, 0)][1]
