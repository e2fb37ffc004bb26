"""What a control finds in a video: frames are decoded ahead and wait for the model a few at a time, in order."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from functions.predict.plan import Found, Plan
from functions.predict.ports import DeadlineExceeded, Images, Model
from functions.predict.video_spans import find_spans
from functions.predict.video_tracks import find_tracks
from shared.geometry import Detections
from shared.labelstudio.frames import frame_rate
from shared.video import Frame, Video, open_video

_AT_ONCE = 2
"""Videos of a process that are under way: one is fetched while the model watches another. More would take memory, and
the deadline would find all of them half done."""


class VideoPredictor:
    """Thread-safe: every call has a file and a tracker of its own."""

    def __init__(self, videos: Images, *, max_pixels: int) -> None:
        """`videos`: where the files come from. `max_pixels`: of a frame."""
        self._videos = videos
        self._max_pixels = max_pixels
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def regions(
        self, plan: Plan, model: Model, value: object, *, task_id: int | None, deadline: float, data: Mapping[str, Any]
    ) -> Found:
        """As `ports.Videos` says. A video that is not done by the deadline has no answer: half of it would look whole.

        Raises ImageError, DeadlineExceeded, ModelError.
        """
        if plan.silent:
            return Found([], [0.0], [])
        rate = frame_rate(plan.control.frame_rate, data)
        with self._turn(deadline), self._open(value, task_id, deadline) as video:

            def watch(confidence: float, *, every: int = 1) -> Iterator[tuple[Frame, Detections]]:
                return _watch(video, model, confidence, plan.iou, every, deadline)

            if plan.control.tag == "TimelineLabels":
                return find_spans(plan, video, watch, rate)
            return find_tracks(plan, video, watch, rate)

    @contextmanager
    def _turn(self, deadline: float) -> Iterator[None]:
        late = DeadlineExceeded("other videos took all the time (LABELLOOP_PREDICT_DEADLINE)")
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
    video: Video, model: Model, confidence: float, iou: float, every: int, deadline: float
) -> Iterator[tuple[Frame, Detections]]:
    """Every so many frames, and what the model finds in each, in order."""
    waiting: deque[tuple[Frame, Future[Detections]]] = deque()
    try:
        with closing(video.frames(every)) as frames:
            for frame in frames:
                waiting.append((frame, model.submit(frame.image, confidence, iou=iou)))
                if len(waiting) > 2 * model.batch:
                    yield _next(waiting, deadline)
        while waiting:
            yield _next(waiting, deadline)
    finally:
        for _, future in waiting:
            future.cancel()


def _next(waiting: "deque[tuple[Frame, Future[Detections]]]", deadline: float) -> tuple[Frame, Detections]:
    frame, future = waiting[0]
    left = deadline - time.monotonic()
    try:
        found = future.result(timeout=max(left, 0.0))
    except TimeoutError:
        left = 0.0
    if left <= 0.0:  # also where decoding takes longer than the model
        raise DeadlineExceeded(
            f"the time was over at second {frame.second:.0f} of the video (LABELLOOP_PREDICT_DEADLINE)"
        )
    waiting.popleft()
    return frame, found
