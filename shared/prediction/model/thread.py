"""The threads that run models: one queue for all requests, and batches of images that are alike.

Postprocessing, which needs no model, runs on other threads. No error ends a thread.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

from shared.errors import ModelError
from shared.geometry.detections import Detections
from shared.inference.outputs import Postprocessing, Question
from shared.prediction.ports import NotNow

logger = logging.getLogger(__name__)

_SMALLER_FOR = 300.0
"""Seconds for which batches stay small after memory ran out; then as many images as before are tried again."""


class Runnable(Protocol):
    """A model, as its threads see it."""

    batch: int  # images that fit at once; halved when they do not

    def run(self, questions: Sequence[Question]) -> Sequence[Detections | Postprocessing]:
        """Run one batch, of images of one shape."""


@dataclass(frozen=True, slots=True, eq=False)  # a job is only ever equal to itself
class Inference:
    """One image for one model."""

    model: Runnable
    question: Question
    done: "Future[Detections]"


class _Smaller(NamedTuple):
    """A model that runs fewer images at once than it should."""

    full: int
    until: float  # on the threads' clock


class ModelThreads:
    """Begin jobs in the order in which they came; a batch takes along what is alike."""

    def __init__(
        self,
        count: int,
        out_of_memory: Callable[[Exception], bool],
        *,
        helpers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`count`: threads that run batches. `out_of_memory`: whether an error of a model may mean a lack of memory.

        `helpers`: threads for postprocessing. Raises RuntimeError if the machine has no free thread.
        """
        self._out_of_memory = out_of_memory
        self._clock = clock
        self._smaller: WeakKeyDictionary[Runnable, _Smaller] = WeakKeyDictionary()
        self._waiting: deque[Inference] = deque()
        self._arrived = threading.Condition()
        self._helpers = ThreadPoolExecutor(helpers, thread_name_prefix="helper")
        for number in range(count):
            threading.Thread(target=self._run_forever, name=f"model-{number}", daemon=True).start()

    def submit(self, job: Inference) -> None:
        """Queue a job: its future gets the result."""
        with self._arrived:
            self._waiting.append(job)
            self._arrived.notify()

    def _run_forever(self) -> None:
        while True:
            with self._arrived:
                while not self._waiting:
                    self._arrived.wait()
                first = self._waiting.popleft()
                self._grow(first.model)
                jobs = [first, *self._alike(first)]
            try:
                jobs = [job for job in jobs if job.done.set_running_or_notify_cancel()]
                self._run(jobs)
            except Exception as error:  # noqa: BLE001 - logged, and raised where the results are awaited
                _crashed(jobs, error)
            del first, jobs  # while it waits, the model may be replaced

    def _alike(self, first: Inference) -> list[Inference]:
        """Take from the queue what can share a batch with `first`."""
        alike: list[Inference] = []
        for item in list(self._waiting) if first.model.batch > 1 else ():
            if len(alike) + 1 == first.model.batch:
                break
            if item.model is first.model and item.question.image.shape == first.question.image.shape:
                alike.append(item)
                self._waiting.remove(item)
        return alike

    def _run(self, jobs: list[Inference]) -> None:
        """Fulfil every job. Out of memory makes the model's batch smaller; a single image that does not fit fails."""
        while jobs:
            now = jobs[: jobs[0].model.batch]
            try:
                found = now[0].model.run([job.question for job in now])
            except Exception as error:  # noqa: BLE001 - logged, and raised where the results are awaited
                if not self._out_of_memory(error):
                    _crashed(now, error)
                elif len(now) > 1:
                    self._shrink(now[0].model, len(now) // 2)
                    continue
                else:
                    now[0].done.set_exception(ModelError(f"there is no memory for one image: {error}"))
            else:
                for job, one in zip(now, found, strict=True):
                    if isinstance(one, Detections):
                        job.done.set_result(one)
                    else:
                        self._hand_over(job, one)
            jobs = jobs[len(now) :]

    def _shrink(self, model: Runnable, batch: int) -> None:
        with self._arrived:
            before = self._smaller.get(model)
            self._smaller[model] = _Smaller(before.full if before else model.batch, self._clock() + _SMALLER_FOR)
            model.batch = batch
        logger.warning("out of memory: smaller batches", extra={"event": "batch_halved", "batch": batch})

    def _grow(self, model: Runnable) -> None:
        """As many images at once as before memory ran out, once that was a while ago."""
        smaller = self._smaller.get(model)
        if smaller is not None and self._clock() >= smaller.until:
            del self._smaller[model]
            model.batch = smaller.full

    def _hand_over(self, job: Inference, rest: Postprocessing) -> None:
        try:
            self._helpers.submit(_complete, job, rest)
        except RuntimeError:  # no thread can be started: here then, and who comes later finds it done
            _complete(job, rest)


def _complete(job: Inference, rest: Postprocessing) -> None:
    if job.done.done():
        return
    try:
        found = rest()
    except Exception as error:  # noqa: BLE001 - logged, and raised where the result is awaited
        _crashed([job], error)
    else:
        with suppress(InvalidStateError):
            job.done.set_result(found)


def _crashed(jobs: Sequence[Inference], error: Exception) -> None:
    """Answer those that have no answer yet."""
    logger.error("the model failed", exc_info=error, extra={"event": "model_crashed"})
    for job in jobs:
        with suppress(InvalidStateError):
            job.done.set_exception(
                error if isinstance(error, NotNow) else ModelError(f"the model failed: {type(error).__name__}: {error}")
            )
