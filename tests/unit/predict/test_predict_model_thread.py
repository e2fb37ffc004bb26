"""The threads that run models: order, batches of images of the same shape, out of memory."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np
import pytest

from shared.errors import ModelError
from shared.geometry.detections import Detections
from shared.inference.outputs import Question
from shared.prediction.model.thread import Inference, ModelThreads
from tests.fakes.predict_parts import boxes
from tests.fakes.threads import no_thread_can_be_started


class Model:
    """Answers with the first pixel of each image; keeps the batches. Waits at the gate, so that a queue builds up."""

    def __init__(self, batch: int, *, fits: int = 100) -> None:
        self.batch = batch
        self.fits = fits
        self.asked = threading.Event()
        self.gate = threading.Event()
        self.batches: list[list[int]] = []
        self.threads: set[str] = set()

    def run(self, questions: Sequence[Question]) -> list[Detections]:
        self.asked.set()
        assert self.gate.wait(10)
        self.threads.add(threading.current_thread().name)
        if len(questions) > self.fits:
            raise MemoryError
        values = [int(question.image.flat[0]) for question in questions]
        if 99 in values:
            raise ValueError("a bad image")
        self.batches.append(values)
        return [boxes((0, 0, value, value, 0.5, 0)) for value in values]


def out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError)


@pytest.fixture
def thread() -> ModelThreads:
    return ModelThreads(1, out_of_memory)


def submit(thread: ModelThreads, model: Model, value: int, size: int = 32) -> "Future[Detections]":
    question = Question(np.full((size, size, 3), value, dtype=np.uint8), (48, 64), 0.05)
    job = Inference(model, question, Future())
    thread.submit(job)
    return job.done


def answers(futures: "list[Future[Detections]]") -> list[float]:
    return [float(future.result(10).xyxy[0, 2]) for future in futures]


def test_one_by_one_in_order_of_arrival(thread: ModelThreads) -> None:
    model = Model(batch=1)
    futures = [submit(thread, model, value) for value in range(5)]
    model.gate.set()
    assert answers(futures) == [0, 1, 2, 3, 4]
    assert model.batches == [[0], [1], [2], [3], [4]]
    assert model.threads == {"model-0"}


def test_a_batch_takes_along_images_of_the_same_model_and_shape(thread: ModelThreads) -> None:
    model, other = Model(batch=3), Model(batch=3)
    first = submit(thread, model, 0)  # alone: the thread takes it before there is company
    assert model.asked.wait(10)
    futures = [
        submit(thread, model, 1),
        submit(thread, other, 2),
        submit(thread, model, 3, size=64),
        *[submit(thread, model, value) for value in (4, 5, 6)],
    ]
    model.gate.set()
    other.gate.set()
    assert answers([first, *futures]) == [0, 1, 2, 3, 4, 5, 6]
    assert model.batches == [[0], [1, 4, 5], [3], [6]]


def test_as_many_batches_run_at_once_as_there_are_threads() -> None:
    threads, first, second = ModelThreads(2, out_of_memory), Model(batch=1), Model(batch=1)
    asked = [submit(threads, first, 1), submit(threads, second, 2)]
    assert first.asked.wait(10)
    assert second.asked.wait(10), "while the first one is still at its gate"
    first.gate.set()
    second.gate.set()
    assert answers(asked) == [1, 2]
    assert first.threads | second.threads == {"model-0", "model-1"}


def test_out_of_memory_halves_the_batch_and_goes_on(thread: ModelThreads) -> None:
    model = Model(batch=8, fits=2)
    submit(thread, model, 0)
    assert model.asked.wait(10)
    futures = [submit(thread, model, value) for value in range(1, 9)]
    model.gate.set()
    assert answers(futures) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert model.batch == 2  # also for what comes later
    assert max(map(len, model.batches)) == 2


def test_one_image_that_does_not_fit_fails_alone(thread: ModelThreads) -> None:
    model = Model(batch=2, fits=0)
    model.gate.set()
    with pytest.raises(ModelError, match="no memory"):
        submit(thread, model, 1).result(10)
    model.fits = 1
    assert answers([submit(thread, model, 2)]) == [2]


def test_a_model_that_fails_does_not_end_the_thread(thread: ModelThreads) -> None:
    model = Model(batch=1)
    model.gate.set()
    with pytest.raises(ModelError, match="ValueError: a bad image"):
        submit(thread, model, 99).result(10)
    assert answers([submit(thread, model, 7)]) == [7]


def test_cancelled_images_are_not_run(thread: ModelThreads) -> None:
    model = Model(batch=1)
    first, second, third = (submit(thread, model, value) for value in (1, 2, 3))
    assert second.cancel()
    model.gate.set()
    assert answers([first, third]) == [1, 3]
    assert model.batches == [[1], [3]]


def test_what_needs_no_model_is_done_beside_it(thread: ModelThreads) -> None:
    leave, threads = threading.Event(), []

    class Leaves(Model):
        def run(self, questions: Sequence[Question]) -> list[Any]:
            return [partial(self.rest, found) for found in super().run(questions)]

        def rest(self, found: Detections) -> Detections:
            assert leave.wait(10)
            threads.append(threading.current_thread().name)
            if found.xyxy[0, 2] == 3:
                raise ValueError("a bad rest")
            return found

    model = Leaves(batch=1)
    model.gate.set()
    slow, bad = submit(thread, model, 2), submit(thread, model, 3)
    other = Model(batch=1)
    other.gate.set()
    assert answers([submit(thread, other, 4)]) == [4], "the model thread is free"
    assert not slow.done()
    leave.set()
    assert answers([slow]) == [2]
    with pytest.raises(ModelError, match="a bad rest"):
        bad.result(10)
    assert all(name.startswith("helper") for name in threads)


def test_what_was_halved_is_tried_whole_again_later() -> None:
    now = 0.0
    thread, model = ModelThreads(1, out_of_memory, clock=lambda: now), Model(batch=4, fits=2)
    submit(thread, model, 0)
    assert model.asked.wait(10)
    futures = [submit(thread, model, value) for value in range(1, 5)]
    model.gate.set()
    assert answers(futures) == [1, 2, 3, 4]
    now = 299.0
    assert answers([submit(thread, model, 5)]) == [5]
    assert model.batch == 2
    now = 300.0
    assert answers([submit(thread, model, 6)]) == [6]
    assert model.batch == 4


class Leaves(Model):
    """Leaves a rest for each image."""

    def run(self, questions: Sequence[Question]) -> list[Any]:
        return [partial(self.rest, found) for found in super().run(questions)]

    def rest(self, found: Detections) -> Detections:
        self.threads.add(threading.current_thread().name)
        return found


def test_without_a_thread_to_give_the_rest_is_done_on_the_model_thread(thread: ModelThreads) -> None:
    model = Leaves(batch=1)
    model.gate.set()
    with no_thread_can_be_started():
        assert answers([submit(thread, model, 2), submit(thread, model, 3)]) == [2, 3]
    assert model.threads == {"model-0"}
    assert answers([submit(thread, model, 4)]) == [4]
    assert any(name.startswith("helper") for name in model.threads)


def test_nothing_that_a_model_does_ends_the_thread(thread: ModelThreads) -> None:
    class Odd(Model):
        def run(self, questions: Sequence[Question]) -> list[Detections]:
            return []  # one answer too few

    odd, model = Odd(batch=1), Model(batch=1)
    model.gate.set()
    with pytest.raises(ModelError):
        submit(thread, odd, 1).result(10)
    assert answers([submit(thread, model, 2)]) == [2]


def test_without_a_thread_to_give_there_is_no_model_thread() -> None:
    with no_thread_can_be_started(), pytest.raises(RuntimeError, match="can't start new thread"):
        ModelThreads(1, out_of_memory)
