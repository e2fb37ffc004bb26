"""The prediction of one task: fetch and decode its images, run the models, write regions.

`TaskRunner.start` does the slow part, on a thread of the request; `Started.answer` waits for the models and writes.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

from shared.errors import ImageError
from shared.geometry.detections import Detections
from shared.geometry.tiles import Tiling, pixels_needed
from shared.labelstudio.regions import Region
from shared.labelstudio.regions.choices import region_boxes
from shared.labelstudio.requests import Task
from shared.labelstudio.task_values import file_of
from shared.media.crop import crop
from shared.media.fit import Side, Sized, in_full
from shared.prediction.context import ControlModel, PredictContext
from shared.prediction.images import TaskImages
from shared.prediction.metrics import Metrics
from shared.prediction.pending import Asked, AskedRegions, Pending, Started, found_of
from shared.prediction.plan import FLOOR
from shared.prediction.ports import DeadlineExceeded, Model, Videos

_FINAL = {"no_data", "broken", "unsupported", "too_large"}
"""Reasons of an ImageError that are permanent: a retry helps only if the task or the file is changed."""


class TaskRunner:
    """Starts tasks. Thread-safe."""

    def __init__(self, images: TaskImages, videos: Videos, metrics: Metrics) -> None:
        self._images = images
        self._videos = videos
        self._metrics = metrics

    def start(self, task: Task, context: PredictContext) -> Started:
        """Fetch and decode the task's images and hand them to the models; videos are predicted here entirely.

        A control whose image can never be fetched or decoded is left out, unless it is the only one. Any other error
        fails the whole task, since Label Studio would not ask again for a missing control. Raises ImageError,
        DeadlineExceeded, ModelError.
        """
        missing: dict[str, ImageError] = {}
        pending = self._predict_videos(task, context, missing)
        fetched: dict[str, bytes] = {}
        for value in dict.fromkeys(part.plan.control.value for part in _of_images(context)):
            with _leaving_out(missing, value):
                fetched[value] = self._images.fetch(task, value, context.deadline)
        if fetched:
            pending |= self._submit_images(fetched, context, missing)
        if not pending:
            raise next(iter(missing.values()))
        in_order = [pending[plan.control.name] for plan, _ in context.parts if plan.control.name in pending]
        return Started(context, in_order, tuple(missing.values()))

    def _predict_videos(
        self, task: Task, context: PredictContext, missing: dict[str, ImageError]
    ) -> dict[str, Pending]:
        """Predict the controls of videos one after the other. Fills `missing`."""
        pending: dict[str, Pending] = {}
        for plan, model in context.parts:
            if plan.control.media == "video":
                with _leaving_out(missing, plan.control.value):
                    video = file_of(plan.control.value, task.data, task.id)
                    pending[plan.control.name] = self._videos.regions(
                        plan, model, video, task_id=task.id, deadline=context.deadline, data=task.data
                    )
        return pending

    def _submit_images(
        self, fetched: Mapping[str, bytes], context: PredictContext, missing: dict[str, ImageError]
    ) -> dict[str, Pending]:
        """Decode images and hand them to the models. Fills `missing`."""
        if not context.waiting.acquire(timeout=max(context.deadline - time.monotonic(), 0.0)):
            raise DeadlineExceeded(
                "the deadline came while the task waited for the models (LABELLOOP_PREDICT_DEADLINE)"
            )
        futures: list[Future[Detections]] = []
        try:
            with self._images.room(_cut(fetched, context), context.deadline):
                images: dict[str, Sized] = {}
                for value, data in fetched.items():
                    with _leaving_out(missing, value):
                        images[value] = self._images.decode(data, _side(value, context), context.deadline)
                return self._ask(images, context, futures)
        finally:
            _when_all_are_done(futures, context.waiting.release)

    def _ask(
        self, images: Mapping[str, Sized], context: PredictContext, futures: "list[Future[Detections]]"
    ) -> dict[str, Pending]:
        """Hand each image to each model once, then the crops of the regions found in it. Fills `futures`."""
        asked: dict[tuple[str, Model, float, Tiling | None], Future[Detections]] = {}
        pending: dict[str, Pending] = {}
        parts = [part for part in _of_images(context) if part.plan.control.value in images]
        for plan, model in (part for part in parts if not part.plan.control.per_region):
            question = (plan.control.value, model, plan.iou, plan.tiling)
            if question not in asked:
                threshold = min(
                    other.threshold
                    for other, its_model in parts
                    if (other.control.value, its_model, other.iou, other.tiling) == question
                )
                asked[question] = self._submit(
                    model,
                    images[question[0]],
                    min(FLOOR, threshold),
                    plan.iou,
                    outlined_from=threshold,
                    tiling=plan.tiling,
                    deadline=context.deadline,
                )
                futures.append(asked[question])
            pending[plan.control.name] = Asked(plan, asked[question], self._metrics)
        for plan, model in (part for part in parts if part.plan.control.per_region):
            regions: list[Region] = []
            for other, _ in parts:
                if other.control.to_name == plan.control.to_name and not other.control.per_region:
                    found = found_of(pending[other.control.name], context.deadline)
                    pending[other.control.name] = found  # converted once
                    regions += found.regions
            image, (height, width) = images[plan.control.value]  # in all its pixels: see `_side`
            boxes = region_boxes(regions, plan.control, width, height)
            crops = {
                name: self._submit(model, in_full(crop(image, box)), FLOOR, plan.iou) for name, box in boxes.items()
            }
            futures += crops.values()
            if crops:
                pending[plan.control.name] = AskedRegions(plan, crops, regions)
        return pending

    def _submit(
        self,
        model: Model,
        image: Sized,
        confidence: float,
        iou: float,
        *,
        outlined_from: float = 0.0,
        tiling: Tiling | None = None,
        deadline: float = math.inf,
    ) -> "Future[Detections]":
        started = time.perf_counter()
        pixels, whole = image
        future = model.submit(
            pixels, confidence, whole=whole, iou=iou, outlined_from=outlined_from, tiling=tiling, deadline=deadline
        )
        future.add_done_callback(lambda _: self._metrics.observe("model", time.perf_counter() - started))
        return future


def _of_images(context: PredictContext) -> list[ControlModel]:
    return [part for part in context.parts if part.plan.control.media == "image"]


def _side(value: str, context: PredictContext) -> Side:
    """Pixels of an image's longer side that its models need; None: all, to cut regions out of it."""
    asking = [part for part in _of_images(context) if part.plan.control.value == value]
    if any(plan.control.per_region for plan, _ in asking):
        return None
    if any(plan.tiling for plan, _ in asking):
        return lambda longest: max(pixels_needed(longest, model.image_size, plan.tiling) for plan, model in asking)
    return max(model.image_size for _, model in asking)


def _cut(fetched: Mapping[str, bytes], context: PredictContext) -> Sequence[bytes]:
    """The files of those images that are cut into tiles, if they are larger than these."""
    cut = {plan.control.value for plan, _ in _of_images(context) if plan.tiling}
    return [data for value, data in fetched.items() if value in cut]


@contextmanager
def _leaving_out(missing: dict[str, ImageError], value: str) -> Iterator[None]:
    """Catch a permanent ImageError of the `with` block and put it into `missing`; others are raised."""
    try:
        yield
    except ImageError as error:
        if error.reason not in _FINAL:
            raise
        missing[value] = error


def _when_all_are_done(futures: "Sequence[Future[Detections]]", then: Callable[[], None]) -> None:
    """Call `then` once, after all futures are done; at once if there are none."""
    left = len(futures)
    lock = threading.Lock()

    def one_is_done(_: "Future[Detections]") -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            then()

    for future in futures:
        future.add_done_callback(one_is_done)
    if not futures:
        then()
