"""The one thread that runs models: a queue for all requests, and batches of images that are alike.

What is left to do after a batch, and needs no model, is done on other threads.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from functions.predict.ports import Image
from shared.errors import ModelError
from shared.geometry import Detections

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Rest = Callable[[], Detections]
"""What is left to do for one image."""


class Runnable(Protocol):
    """A model, as its thread sees it."""

    batch: int  # images that fit at once; halved when they do not

    def run(self, jobs: "Sequence[Job]") -> Sequence[Detections | Rest]:
        """Run one batch."""


@dataclass(frozen=True, slots=True, eq=False)  # a job is only ever equal to itself
class Job:
    """One image for one model."""

    model: Runnable
    image: Image  # as the model takes it; images of one shape can share a batch
    size: tuple[int, int]  # (height, width) of the image as it came
    confidence: float
    done: "Future[Detections]"
    iou: float = 0.7
    outlined_from: float = 0.0


class ModelThread:
    """Runs jobs in the order in which they came; a batch takes along what is alike."""

    def __init__(
        self, prepare: Callable[[], None], out_of_memory: tuple[type[Exception], ...], *, helpers: int = 1
    ) -> None:
        """`prepare` runs first on the thread. `out_of_memory`: what a model raises then. `helpers`: other threads."""
        self._prepare = prepare
        self._out_of_memory = out_of_memory
        self._waiting: deque[Job | Callable[[], None]] = deque()
        self._arrived = threading.Condition()
        self._helpers = ThreadPoolExecutor(helpers, thread_name_prefix="helper")
        threading.Thread(target=self._run_forever, name="model", daemon=True).start()

    def submit(self, job: Job) -> None:
        """Run a job in its turn."""
        self._enqueue(job)

    def call(self, work: Callable[[], Answer]) -> Answer:
        """Run `work` on the thread in its turn, and answer what it answers or raise what it raises."""
        answer: Future[Answer] = Future()

        def fulfil() -> None:
            try:
                answer.set_result(work())
            except Exception as error:  # noqa: BLE001 - raised where `call` was called
                answer.set_exception(error)

        self._enqueue(fulfil)
        return answer.result()

    def _enqueue(self, item: Job | Callable[[], None]) -> None:
        with self._arrived:
            self._waiting.append(item)
            self._arrived.notify()

    def _run_forever(self) -> None:
        self._prepare()
        while True:
            with self._arrived:
                while not self._waiting:
                    self._arrived.wait()
                first = self._waiting.popleft()
                jobs = [first, *self._alike(first)] if isinstance(first, Job) else []
            if isinstance(first, Job):
                self._run([job for job in jobs if job.done.set_running_or_notify_cancel()])
            else:
                first()

    def _alike(self, first: Job) -> list[Job]:
        """Take from the queue what can share a batch with `first`."""
        alike: list[Job] = []
        for item in list(self._waiting) if first.model.batch > 1 else ():
            if len(alike) + 1 == first.model.batch:
                break
            if isinstance(item, Job) and item.model is first.model and item.image.shape == first.image.shape:
                alike.append(item)
                self._waiting.remove(item)
        return alike

    def _run(self, jobs: list[Job]) -> None:
        """Fulfil every job. Out of memory halves the model's batch; a single image that does not fit fails."""
        while jobs:
            now = jobs[: jobs[0].model.batch]
            try:
                found = now[0].model.run(now)
            except self._out_of_memory as error:
                if len(now) > 1:
                    now[0].model.batch = len(now) // 2
                    logger.warning(
                        "out of memory: smaller batches", extra={"event": "batch_halved", "batch": len(now) // 2}
                    )
                    continue
                now[0].done.set_exception(ModelError(f"there is no memory for one image: {error}"))
            except Exception as error:  # noqa: BLE001 - logged, and raised where the results are awaited
                _crashed(now, error)
            else:
                for job, one in zip(now, found, strict=True):
                    if isinstance(one, Detections):
                        job.done.set_result(one)
                    else:
                        self._helpers.submit(_complete, job, one)
            jobs = jobs[len(now) :]


def _complete(job: Job, rest: Rest) -> None:
    try:
        job.done.set_result(rest())
    except Exception as error:  # noqa: BLE001 - logged, and raised where the result is awaited
        _crashed([job], error)


def _crashed(jobs: Sequence[Job], error: Exception) -> None:
    logger.error("the model failed", exc_info=error, extra={"event": "model_crashed"})
    for job in jobs:
        job.done.set_exception(ModelError(f"the model failed: {type(error).__name__}: {error}"))
