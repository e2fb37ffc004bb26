"""What happens to one task: fetch and decode its images, ask the models, write what they found.

The slow part runs on a thread of the request. What is left then is to wait for the models and to write.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar

from functions.predict.metrics import Metrics
from functions.predict.pictures import Pictures
from functions.predict.plan import FLOOR, Found, Plan, choose, confidences_of, found_in, to_prediction
from functions.predict.ports import DeadlineExceeded, Image, Model, Videos
from shared.errors import ImageError
from shared.geometry.detections import Detections
from shared.labelstudio.regions import Region
from shared.labelstudio.regions.choices import region_boxes, write_region_choices
from shared.labelstudio.requests import Task
from shared.labelstudio.task_values import file_of
from shared.media.crop import crop

_FINAL = {"no_data", "broken", "unsupported", "too_large"}
"""Reasons of an ImageError that do not heal: the task, or the file, would have to be another one."""

Got = TypeVar("Got")
Pending = Callable[[], Found]
"""Waits for what a model finds for one control, and writes it. Raises DeadlineExceeded, ModelError."""


class Part(NamedTuple):
    """One control of a request."""

    plan: Plan
    model: Model


@dataclass(frozen=True, slots=True)
class Request:
    """What is the same for all tasks of a request."""

    parts: tuple[Part, ...]
    stamp: str  # model_version
    deadline: float  # time.monotonic()
    waiting: threading.Semaphore  # tasks whose decoded images wait for the models


class Answer(NamedTuple):
    """A task's prediction, and why some controls are missing in it."""

    prediction: dict[str, Any]
    left_out: Sequence[ImageError]


class TaskRunner:
    """Thread-safe."""

    def __init__(self, pictures: Pictures, videos: Videos, metrics: Metrics) -> None:
        self._pictures = pictures
        self._videos = videos
        self._metrics = metrics

    def start(self, task: Task, request: Request) -> Callable[[], Answer]:
        """All but the last wait. Both it and what it answers raise ImageError, DeadlineExceeded, ModelError.

        A control whose image can never be had is left out, unless there is no other. Any other failure is one of the
        whole task: Label Studio would not ask again for what is missing.
        """
        lacking: dict[str, ImageError] = {}
        pending = self._watch(task, request, lacking)
        values = dict.fromkeys(part.plan.control.value for part in _of_images(request))
        fetched = _had(values, lambda value: self._pictures.fetch(task, value, request.deadline), lacking)
        if fetched:
            pending |= self._look(fetched, request, lacking)
        if not pending:
            raise next(iter(lacking.values()))
        in_order = [pending[plan.control.name] for plan, _ in request.parts if plan.control.name in pending]

        def finish() -> Answer:
            return Answer(to_prediction([find() for find in in_order], request.stamp), tuple(lacking.values()))

        return finish

    def _watch(self, task: Task, request: Request, lacking: dict[str, ImageError]) -> dict[str, Pending]:
        """The controls of videos, one after the other."""
        pending: dict[str, Pending] = {}
        for plan, model in request.parts:
            if plan.control.media != "video":
                continue

            def regions(value: str, plan: Plan = plan, model: Model = model) -> Found:
                video = file_of(value, task.data, task.id)
                return self._videos.regions(
                    plan, model, video, task_id=task.id, deadline=request.deadline, data=task.data
                )

            for one in _had([plan.control.value], regions, lacking).values():
                pending[plan.control.name] = partial(_at_once, one)
        return pending

    def _look(
        self, fetched: Mapping[str, bytes], request: Request, lacking: dict[str, ImageError]
    ) -> dict[str, Pending]:
        """Decode images and hand them to the models."""
        if not request.waiting.acquire(timeout=max(request.deadline - time.monotonic(), 0.0)):
            raise DeadlineExceeded("the models had no time for this task")
        futures: list[Future[Detections]] = []
        try:
            images = _had(fetched, lambda value: self._pictures.decode(fetched[value], request.deadline), lacking)
            return self._ask(images, request, futures)
        finally:
            _when_all_are_done(futures, request.waiting.release)

    def _ask(
        self, images: Mapping[str, Image], request: Request, futures: "list[Future[Detections]]"
    ) -> dict[str, Pending]:
        """Ask each model once about an image, and then about the regions that were found in it. Fills `futures`."""
        asked: dict[tuple[str, Model, float], Future[Detections]] = {}
        pending: dict[str, Pending] = {}
        parts = [part for part in _of_images(request) if part.plan.control.value in images]
        for plan, model in (part for part in parts if not part.plan.control.per_region):
            question = (plan.control.value, model, plan.iou)
            if question not in asked:
                least = min(
                    other.threshold
                    for other, its_model in parts
                    if (other.control.value, its_model, other.iou) == question
                )
                asked[question] = self._submit(model, images[question[0]], min(FLOOR, least), plan.iou, least)
                futures.append(asked[question])
            pending[plan.control.name] = cache(partial(self._write, plan, asked[question], request.deadline))
        for plan, model in (part for part in parts if part.plan.control.per_region):
            regions = [
                region
                for other, _ in parts
                if other.control.to_name == plan.control.to_name and not other.control.per_region
                for region in pending[other.control.name]().regions
            ]
            image = images[plan.control.value]
            boxes = region_boxes(regions, plan.control, image.shape[1], image.shape[0])
            crops = {name: self._submit(model, crop(image, box), FLOOR, plan.iou, 0.0) for name, box in boxes.items()}
            futures += crops.values()
            if crops:
                pending[plan.control.name] = partial(self._write_choices, plan, crops, regions, request.deadline)
        return pending

    def _submit(
        self, model: Model, image: Image, confidence: float, iou: float, outlined_from: float
    ) -> "Future[Detections]":
        started = time.perf_counter()
        future = model.submit(image, confidence, iou=iou, outlined_from=outlined_from)
        future.add_done_callback(lambda _: self._metrics.took("model", time.perf_counter() - started))
        return future

    def _write(self, plan: Plan, future: "Future[Detections]", deadline: float) -> Found:
        detections = result_of(future, deadline)
        with self._metrics.phase("convert"):
            return found_in(plan, detections)

    def _write_choices(
        self, plan: Plan, crops: "Mapping[str, Future[Detections]]", regions: Sequence[Region], deadline: float
    ) -> Found:
        written: list[Region] = []
        sure: list[float] = []
        shapes = {region["id"]: region for region in reversed(regions)}  # of a region's two items the first: its shape
        for name, future in crops.items():
            chosen = choose(plan, result_of(future, deadline))
            written += write_region_choices(chosen, chosen.names, plan.control, shapes[name])
            sure += confidences_of(chosen)
        return Found(written, sure, [])


def result_of(future: "Future[Got]", deadline: float) -> Got:
    """Raises DeadlineExceeded, and what the future raises."""
    try:
        return future.result(timeout=max(deadline - time.monotonic(), 0.0))
    except TimeoutError as error:
        future.cancel()
        raise DeadlineExceeded("the model had no time for this task") from error


def _of_images(request: Request) -> list[Part]:
    return [part for part in request.parts if part.plan.control.media == "image"]


def _at_once(found: Found) -> Found:
    return found


def _had(values: Iterable[str], get: Callable[[str], Got], lacking: dict[str, ImageError]) -> dict[str, Got]:
    """What could be had, by the value as written. What can never be had is noted in `lacking`; the rest raises."""
    had: dict[str, Got] = {}
    for value in values:
        try:
            had[value] = get(value)
        except ImageError as error:
            if error.reason not in _FINAL:
                raise
            lacking[value] = error
    return had


def _when_all_are_done(futures: "Sequence[Future[Detections]]", then: Callable[[], None]) -> None:
    """Call `then` once, at once if there is none to wait for."""
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
