"""The use case: tasks of one request in, predictions out, in task order; what fails is answered empty.

Images are fetched and decoded on threads of the request and handed to the model as they arrive, so that fetching hides
behind the model. Only a few decoded images of a request wait for the model at a time: that bounds memory, and it
lets a request of one task pass a request of thousands.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from functions.predict.metrics import Metrics
from functions.predict.plan import FLOOR, Plan, plan_control, to_prediction
from functions.predict.ports import DeadlineExceeded, Image, Images, Model, Models
from shared.backend import stamp
from shared.errors import ImageError, LabelloopError
from shared.geometry import Detections
from shared.labelstudio.config import Control, parse_label_config
from shared.labelstudio.requests import PredictRequest, Task
from shared.settings import Settings

logger = logging.getLogger(__name__)

Prediction = dict[str, Any] | list[Any]
"""What one task is answered: a prediction, or `[]`: Label Studio stores nothing and asks again next time."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What is the same for all tasks of a request."""

    plans: tuple[tuple[Plan, Model], ...]
    keys: tuple[str, ...]  # of the task data that hold images
    stamp: str
    floor: float  # least confidence that models report
    deadline: float  # time.monotonic()
    waiting: threading.Semaphore  # tasks whose decoded images wait for the model


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a task is answered empty."""

    reason: str  # one word from a small fixed set
    message: str


class Predictor:
    """Answers `/predict`. Thread-safe."""

    def __init__(
        self,
        models: Models,
        images: Images,
        decode: Callable[[bytes], Image],
        metrics: Metrics,
        settings_of: Callable[[str], Settings],
        *,
        fetch_concurrency: int,
        decode_concurrency: int,
    ) -> None:
        """`settings_of(uid)`: the settings with a project's overrides. The two limits hold for the process.

        Decoding takes cores from a model that runs on the processor: few at a time disturb it least.
        """
        self._models = models
        self._images = images
        self._decode = decode
        self._metrics = metrics
        self._settings_of = settings_of
        self._fetch_concurrency = fetch_concurrency
        self._fetching = threading.BoundedSemaphore(fetch_concurrency)
        self._decoding = threading.BoundedSemaphore(decode_concurrency)

    def predict(self, call: PredictRequest, deadline: float) -> list[Prediction]:
        """One item a task. `deadline` is a time.monotonic() value. Raises LabelConfigError."""
        controls = parse_label_config(call.label_config)
        with self._metrics.phase("request"):
            if not controls:
                nothing = _Failure("no_control", "the labeling config has no control that labelloop serves")
                return self._report(call, [nothing] * len(call.tasks))
            try:
                request = self._prepare(call.project, controls, deadline)
            except LabelloopError as error:
                return self._report(call, [_failure(error)] * len(call.tasks))
            return self._report(call, self._all(call.tasks, request))

    def _prepare(self, uid: str, controls: Sequence[Control], deadline: float) -> _Request:
        settings = self._settings_of(uid)
        served = [self._models.serving(uid, control.name, deadline) for control in controls]
        plans = tuple(
            (plan_control(control, one.model.names, trained=one.trained, settings=settings), one.model)
            for control, one in zip(controls, served, strict=True)
        )
        return _Request(
            plans=plans,
            keys=tuple(dict.fromkeys(control.value_key for control in controls)),
            stamp=stamp((control.name, one.version) for control, one in zip(controls, served, strict=True)),
            floor=min(FLOOR, *(plan.threshold for plan, _ in plans)),
            deadline=deadline,
            waiting=threading.Semaphore(2 + 2 * max(one.model.batch for one in served)),
        )

    def _all(self, tasks: Sequence[Task], request: _Request) -> list[Prediction | _Failure]:
        if len(tasks) == 1:
            return [self._finish(request, lambda: self._start(tasks[0], request))]
        workers = ThreadPoolExecutor(min(len(tasks), self._fetch_concurrency) or 1, thread_name_prefix="fetch")
        try:
            started = [workers.submit(self._start, task, request) for task in tasks]
            return [self._finish(request, lambda one=one: _result(one, request.deadline)) for one in started]  # type: ignore[misc]
        finally:
            workers.shutdown(wait=False, cancel_futures=True)

    def _start(self, task: Task, request: _Request) -> "list[Future[Detections]]":
        """Fetch and decode the images of a task, hand them to the models: a future for each plan."""
        fetched = {key: self._fetch(task, key, request.deadline) for key in request.keys}
        left = request.deadline - time.monotonic()
        if not request.waiting.acquire(timeout=max(left, 0.0)):
            raise DeadlineExceeded("the model had no time for this task")
        decoded: dict[str, Image] = {}
        futures: dict[tuple[str, Model], Future[Detections]] = {}
        try:
            for key, data in fetched.items():
                with _turn(self._decoding, request.deadline), self._metrics.phase("decode"):
                    decoded[key] = self._decode(data)
            for plan, model in request.plans:
                at = (plan.control.value_key, model)
                if at not in futures:
                    futures[at] = self._submit(model, decoded[plan.control.value_key], request.floor)
        finally:
            _when_all_are_done(list(futures.values()), request.waiting.release)
        return [futures[plan.control.value_key, model] for plan, model in request.plans]

    def _fetch(self, task: Task, key: str, deadline: float) -> bytes:
        if key not in task.data:
            raise ImageError("not_found", f"the data of task {task.id} has no {key!r}")
        with _turn(self._fetching, deadline), self._metrics.phase("fetch"):
            return self._images.fetch(task.data[key], task_id=task.id, deadline=deadline)

    def _submit(self, model: Model, image: Image, floor: float) -> "Future[Detections]":
        started = time.perf_counter()
        future = model.submit(image, floor)
        future.add_done_callback(lambda _: self._metrics.took("model", time.perf_counter() - started))
        return future

    def _finish(self, request: _Request, start: Callable[[], "list[Future[Detections]]"]) -> Prediction | _Failure:
        try:
            found = [_result(future, request.deadline) for future in start()]
            with self._metrics.phase("convert"):
                return to_prediction([plan for plan, _ in request.plans], found, request.stamp)
        except LabelloopError as error:
            return _failure(error)
        except Exception as error:
            logger.exception("a task failed in a way nobody foresaw", extra={"event": "task_crashed"})
            return _Failure("crashed", type(error).__name__)

    def _report(self, call: PredictRequest, answers: Sequence[Prediction | _Failure]) -> list[Prediction]:
        """Count, and write one log line for each reason."""
        failed: defaultdict[str, list[tuple[int | None, str]]] = defaultdict(list)
        predictions: list[Prediction] = []
        for task, answer in zip(call.tasks, answers, strict=True):
            if isinstance(answer, _Failure):
                failed[answer.reason].append((task.id, answer.message))
                predictions.append([])
            else:
                predictions.append(answer)
        self._metrics.predicted(sum(1 for prediction in predictions if prediction))
        for reason, tasks in failed.items():
            self._metrics.failed(reason, len(tasks))
            logger.warning(
                f"{len(tasks)} of {len(call.tasks)} tasks are answered empty: {tasks[0][1]}",
                extra={
                    "event": "not_predicted",
                    "reason": reason,
                    "project": call.project,
                    "tasks": [number for number, _ in tasks[:20]],
                    "messages": list(dict.fromkeys(message for _, message in tasks))[:5],
                },
            )
        return predictions


def _failure(error: LabelloopError) -> _Failure:
    if isinstance(error, ImageError):
        return _Failure(error.reason, str(error))
    return _Failure("deadline" if isinstance(error, DeadlineExceeded) else "model", str(error))


def _result(future: "Future[Any]", deadline: float) -> Any:
    try:
        return future.result(timeout=max(deadline - time.monotonic(), 0.0))
    except TimeoutError as error:
        future.cancel()
        raise DeadlineExceeded("the model had no time for this task") from error


@contextmanager
def _turn(semaphore: threading.Semaphore, deadline: float) -> Iterator[None]:
    left = deadline - time.monotonic()
    if left <= 0 or not semaphore.acquire(timeout=left):
        raise DeadlineExceeded("there was no time for the image")
    try:
        yield
    finally:
        semaphore.release()


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
