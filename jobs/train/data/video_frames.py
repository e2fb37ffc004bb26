"""Turns an annotated video into samples to train on: evenly chosen frames with the boxes that Label Studio draws."""

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.train.data.samples import Sample, usable
from jobs.train.data.snapshot import SnapshotTask
from shared.errors import ImageError
from shared.geometry.detections import Detections
from shared.labelstudio.controls import Control
from shared.labelstudio.frames import frame_count, seconds_of
from shared.labelstudio.regions.timeline import labels_at, read_spans
from shared.labelstudio.regions.tracks import Drawn, detections_at, read_tracks
from shared.media.fit import MIN_SIDE, shrunk
from shared.media.video import Frame, Video, frames_at, open_video

logger = logging.getLogger(__name__)

MAX_FRAMES_A_VIDEO = 60
"""For each video and label. Neighbouring frames look alike: more of them cost time, teach little, and let a long video
outweigh the others."""
_BACKGROUND = 0.1
"""Frames without a box, as a part of those with one."""
_QUALITY = 95  # of JPEG files


def video_samples(
    task: SnapshotTask, control: Control, video: Path, folder: Path, *, max_pixels: int, image_size: int
) -> list[Sample]:
    """The samples of one task's video; frames are written to `folder` as `<task>-<frame>.jpg`. Raises ImageError.

    `max_pixels` of a frame; `image_size`: pixels of the longer side that the model sees, to which frames are shrunk.
    """
    rate = task.frame_rate(control)
    with open_video(video, max_pixels=max_pixels) as opened:
        if opened.announced is None:
            raise ImageError("unsupported", "the video file does not say how long it is")
        if min(opened.width, opened.height) < MIN_SIDE:
            raise ImageError("unsupported", f"{opened.width}×{opened.height} pixels: {MIN_SIDE} are needed")
        frames = np.arange(1, frame_count(opened.announced, rate) + 1)
        choose = _moments if control.tag == "TimelineLabels" else _scenes
        chosen = choose(task, control, frames, opened)
        samples = []
        for (number, found), frame in zip(chosen, _decoded(opened, [at for at, _ in chosen], rate), strict=False):
            path = folder / f"{task.id}-{number}.jpg"
            kept = shrunk(frame.image, image_size)
            path.write_bytes(cv2.imencode(".jpg", kept, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
            samples.append(Sample(path.stem, path, found))
    if missing := len(chosen) - len(samples):
        logger.warning(
            f"the video of task {task.id} ends sooner than its header says: {missing} frames are not used",
            extra={"event": "video_cut_off", "task": task.id, "frames": missing},
        )
    return samples


def _scenes(
    task: SnapshotTask, control: Control, frames: NDArray[np.int64], video: Video
) -> list[tuple[int, Detections]]:
    """(frame number, its boxes), ascending: chosen frames with a box, and a few without."""
    drawn = tracks_of(task, control, frames, video)
    there = np.zeros(len(frames), dtype=np.bool_)
    for one in drawn:
        there |= one.visible_at(frames)
    scenes = spread(frames[there], MAX_FRAMES_A_VIDEO)
    empty = spread(frames[~there], max(round(_BACKGROUND * len(scenes)), 1))
    return [
        (number, detections_at(number, drawn, control, video.width, video.height))
        for number in sorted([*scenes.tolist(), *empty.tolist()])
    ]


def tracks_of(task: SnapshotTask, control: Control, frames: NDArray[np.int64], video: Video) -> list[Drawn]:
    """The tracks that were drawn; `frames`: all numbers of the video. Raises ImageError if one cannot be used."""
    drawn = usable(read_tracks(task.regions, control), control)
    for one in drawn:
        shown = [frame for frame in one.frames.tolist() if frame <= frames[-1]]
        if not any(len(detections_at(frame, [one], control, video.width, video.height)) for frame in shown):
            raise ImageError("unusable", f"a box of {control.name!r} is never inside the {len(frames)} frames")
    return drawn


def _moments(
    task: SnapshotTask, control: Control, frames: NDArray[np.int64], video: Video
) -> list[tuple[int, Detections]]:
    """(frame number, its class), ascending. The last class, named "", is that of frames outside all spans.

    Frames with two labels are left out, since a frame has one class.
    """
    names = (*control.label_values, "")
    spans = usable(read_spans(task.regions, control), control)
    if any(span.start > frames[-1] or span.end < frames[0] for span in spans):
        raise ImageError("unusable", f"a span of {control.name!r} lies outside the {len(frames)} frames of the video")
    held = labels_at(frames, spans, control)
    held = np.column_stack([held, ~held.any(axis=1)])
    held &= held.sum(axis=1, keepdims=True) == 1
    whole = np.array([[0.0, 0.0, video.width, video.height]])
    return sorted(
        (
            (
                number,
                Detections.annotated(
                    video.width, video.height, whole, [class_], names, class_scores=np.eye(len(names))[[class_]]
                ),
            )
            for class_ in range(len(names))
            for number in spread(frames[held[:, class_]], MAX_FRAMES_A_VIDEO).tolist()
        ),
        key=lambda one: one[0],
    )


def spread(frames: NDArray[np.int64], max_frames: int) -> NDArray[np.int64]:
    """At most `max_frames` of them, evenly chosen, with the first and the last; of one the middle."""
    if len(frames) <= max_frames:
        return frames
    if max_frames == 1:
        return frames[[len(frames) // 2]]
    return frames[np.linspace(0, len(frames) - 1, max_frames).round().astype(np.int64)]


def _decoded(video: Video, frames: list[int], rate: float) -> Iterator[Frame]:
    """The images that Label Studio shows at these frame numbers; fewer if the file is cut off."""
    moments = seconds_of(frames, rate).tolist()
    with closing(video.frames()) as every:
        for second, frame in zip(moments, frames_at(every, moments), strict=True):
            if second >= video.duration:
                return
            yield frame
