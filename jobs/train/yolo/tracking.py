"""Measures how well a model tracks objects in annotated videos: ultralytics' tracker against annotated keyframes."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from jobs.train.data.samples import usable
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.tracking_scores import TrackingCounts
from shared.errors import ImageError
from shared.geometry.detections import Detections
from shared.labelstudio.class_labels import class_labels
from shared.labelstudio.controls import Control
from shared.labelstudio.frames import seconds_of
from shared.labelstudio.regions.tracks import detections_at, read_tracks
from shared.media.fit import shrunk
from shared.media.video import Video, open_video

logger = logging.getLogger(__name__)

_MAX_FRAMES = 300
"""Of each video only the first frames are tracked, since a tracker needs every frame."""
_MAX_VIDEOS = 10
"""Only the first videos are used: always the same, so that versions can be compared."""


def track_metrics(
    weights: Path,
    videos: Iterable[tuple[SnapshotTask, Path]],
    control: Control,
    *,
    trained: bool,
    image_size: int,
    device: Any,
    max_pixels: int,
) -> dict[str, TrackingCounts]:
    """Id of the task → counts over the beginning of its video, with the tracker's default settings.

    `trained`: the weights are a version of this project, so classes are matched with labels by name alone. A video that
    cannot be decoded, or whose annotation cannot be used, is left out.
    """
    from ultralytics.models import YOLO

    watched: dict[str, TrackingCounts] = {}
    for task, path in islice(videos, _MAX_VIDEOS):
        model, counts = (
            YOLO(weights, task="detect"),
            TrackingCounts(),
        )  # a new model, since it keeps the tracker's state
        try:
            with open_video(path, max_pixels=max_pixels) as video:
                counts.add(_frames(task, video, _follow(model, video, control, trained, image_size, device), control))
        except ImageError as error:
            logger.warning(
                f"the video of task {task.id} is not measured: {error}",
                extra={"event": "video_left_out", "task": task.id, "reason": error.reason},
            )
        else:
            watched[str(task.id)] = counts
    return watched


def _follow(
    model: Any, video: Video, control: Control, trained: bool, image_size: int, device: Any
) -> Iterator[tuple[float, Detections]]:
    """(second at which a frame begins, tracked objects in it) for each frame."""
    from ultralytics.utils import ROOT

    names = [model.names[index] for index in range(len(model.names))]
    labels = class_labels(names, control, trained=trained)
    of_class = np.array([-1 if label is None else control.label_values.index(label) for label in labels])
    tracker = str(ROOT / "cfg" / "trackers" / f"{control.word('model_tracker', 'botsort')}.yaml")
    with closing(video.frames()) as frames:
        for frame in islice(frames, _MAX_FRAMES):
            seen = shrunk(frame.image, image_size)  # as predict does
            (result,) = model.track(
                seen,
                persist=True,
                tracker=tracker,
                iou=control.number("model_iou", 0.7),
                imgsz=image_size,
                device=device,
                verbose=False,
            )
            boxes = result.boxes.cpu().numpy()
            scale = np.tile(np.divide(frame.image.shape[1::-1], seen.shape[1::-1]), 2)
            known = of_class[boxes.cls.astype(np.int64)] if boxes.is_track else np.zeros(0, dtype=np.int64)
            found = Detections(
                video.width,
                video.height,
                boxes.xyxy[: len(known)].astype(np.float64) * scale,
                boxes.conf[: len(known)].astype(np.float64),
                known.astype(np.int64),
                control.label_values,
                tracks=boxes.id.astype(np.int64) if boxes.is_track else np.zeros(0, dtype=np.int64),
            )
            yield frame.second, found.only(known >= 0)


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
