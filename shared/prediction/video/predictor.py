"""Predicts a video: frames are decoded ahead, and a few at a time wait for the model, in order."""

import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Self

from shared.geometry.detections import Detections
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.frames import frame_rate
from shared.media.fetch import Fetcher, ImageFetcher
from shared.media.video import AHEAD_BYTES, Frame, Video, open_video
from shared.prediction.plan import Found, Plan
from shared.prediction.ports import DeadlineExceeded, Model
from shared.prediction.video.spans import find_spans
from shared.prediction.video.tracks import find_tracks
from shared.settings import Settings

_AT_ONCE = 2
"""Videos that a process predicts at a time: one is fetched while the model works on the other. More would take memory,
and more of them would be unfinished at the deadline."""


class VideoPredictor:
    """Predicts videos (`ports.Videos`). Thread-safe: each call has its own file and tracker."""

    def __init__(self, videos: Fetcher, *, max_pixels: int) -> None:
        """`videos`: the source of the files. `max_pixels`: limit of a frame."""
        self._videos = videos
        self._max_pixels = max_pixels
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    @classmethod
    def of(cls, settings: Settings, label_studio: LabelStudio | None) -> Self:
        """With the limits of the settings."""
        fetcher = ImageFetcher(settings, label_studio, limit="video_max_bytes")
        return cls(fetcher, max_pixels=settings.image_max_pixels)

    def regions(
        self, plan: Plan, model: Model, value: object, *, task_id: int | None, deadline: float, data: Mapping[str, Any]
    ) -> Found:
        """As `ports.Videos`. A video that is not done by the deadline raises: half of it would look complete."""
        if plan.silent:
            return Found([], [0.0], [])
        rate = frame_rate(plan.control.frame_rate, data)
        with self._turn(deadline), self._open(value, task_id, deadline) as video:

            def watch(confidence: float, *, looks: float = math.inf) -> Iterator[tuple[Frame, Detections]]:
                return _watch(video, model, confidence, plan.iou, looks, deadline)

            if plan.control.tag == "TimelineLabels":
                return find_spans(plan, video, watch, rate)
            return find_tracks(plan, video, watch, rate)

    @contextmanager
    def _turn(self, deadline: float) -> Iterator[None]:
        late = DeadlineExceeded("the deadline came while other videos were predicted (LABELLOOP_PREDICT_DEADLINE)")
        if not self._turns.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            raise late
        try:
            if time.monotonic() >= deadline:
                raise late
            yield
        finally:
            self._turns.release()

    def _open(self, value: object, task_id: int | None, deadline: float) -> AbstractContextManager[Video]:
        data = self._videos.fetch(value, task_id=task_id, deadline=deadline)
        return open_video(data, max_pixels=self._max_pixels)


def _watch(
    video: Video, model: Model, confidence: float, iou: float, looks: float, deadline: float
) -> Iterator[tuple[Frame, Detections]]:
    """Frames sampled at `looks` a second (inf: all frames), each with the model's detections, in order."""
    waiting: deque[tuple[Frame, Future[Detections]]] = deque()
    try:
        with closing(video.frames()) as frames:
            for frame in _sampled(frames, looks):
                waiting.append((frame, model.submit(frame.image, confidence, iou=iou)))
                if len(waiting) > min(2 * model.batch, AHEAD_BYTES // frame.image.nbytes):
                    yield _next(waiting, deadline)
        while waiting:
            yield _next(waiting, deadline)
    finally:
        for _, future in waiting:
            future.cancel()


def _sampled(frames: Iterator[Frame], looks: float) -> Iterator[Frame]:
    """The frames that are on the screen at `looks` regular times a second, each once; always the last frame."""
    shown = next(frames, None)
    for following in frames:
        if shown is not None and (math.isinf(looks) or math.ceil(shown.second * looks) / looks < following.second):
            yield shown
        shown = following
    if shown is not None:
        yield shown


def _next(waiting: "deque[tuple[Frame, Future[Detections]]]", deadline: float) -> tuple[Frame, Detections]:
    frame, future = waiting[0]
    left = deadline - time.monotonic()
    try:
        found = future.result(timeout=max(left, 0.0))
    except TimeoutError:
        left = 0.0
    if left <= 0.0:  # also where decoding takes longer than the model
        raise DeadlineExceeded(
            f"the deadline came at second {frame.second:.0f} of the video (LABELLOOP_PREDICT_DEADLINE)"
        )
    waiting.popleft()
    return frame, found
