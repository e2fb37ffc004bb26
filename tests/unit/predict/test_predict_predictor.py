"""The use case: order, failures of single tasks, the deadline, threads and memory."""

import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest

from shared.errors import ImageError, LabelConfigError, LabelloopError, ModelError
from shared.evolve import evolve
from shared.geometry.detections import Detections
from shared.labelstudio.requests import InteractiveParams, PredictRequest, Task
from shared.media.fit import Side, Sized
from shared.prediction.metrics import Metrics
from shared.prediction.ports import DeadlineExceeded, DeviceLost
from shared.prediction.predictor import Predictor
from shared.settings import Settings
from tests.fakes.predict_parts import FAR, UID, FakeModel, jpeg, label_config
from tests.fakes.predictor_parts import FakeImages, FakeModels, call, decode_small, failures, predictor
from tests.fakes.threads import no_thread_can_be_started


def test_one_prediction_a_task_in_task_order() -> None:
    files: dict[object, bytes | Exception] = {f"{width}": jpeg(width=width) for width in range(60, 90)}
    ours, metrics = predictor(FakeImages(files))
    answers = ours.predict(call(*files), FAR)
    assert [answer["result"][0]["original_width"] for answer in answers] == list(range(60, 90))  # type: ignore[call-overload]
    assert {answer["model_version"] for answer in answers} == {"label:v1"}  # type: ignore[call-overload]
    assert metrics.registry.get_sample_value("labelloop_predictions_total") == 30


def test_of_many_tasks_some_are_read_at_a_time_and_after_the_deadline_none() -> None:
    request = call(*["a"] * 1001)
    ours, metrics = predictor(FakeImages({"a": jpeg()}))
    assert all(ours.predict(request, FAR))

    class Once(list[Task]):
        """Tasks that record which of them were read."""

        read = 0

        def __getitem__(self, which: Any) -> Any:
            found = super().__getitem__(which)
            self.read += len(found) if isinstance(which, slice) else 1
            return found

    tasks = Once(request.tasks * 3)
    late = evolve(request, tasks=tasks)
    deadline = time.monotonic() - 1
    assert ours.predict(late, deadline) == [[]] * 3003
    assert tasks.read < 1500
    assert failures(metrics) == {"deadline": 3003}


def test_who_wants_the_predictions_one_by_one_gets_each_as_it_is_ready() -> None:
    waiting = FakeModel(at_once=False)
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=waiting, concurrency=1)
    items = ours.each(call("a", "a"), FAR)
    one = threading.Thread(target=lambda: got.append(next(items)))
    got: list[object] = []
    one.start()
    while one.is_alive():
        waiting.finish()
    assert len(got) == 1
    items.close()  # type: ignore[attr-defined]


def test_a_task_that_fails_is_answered_empty_and_counted_beside_good_ones() -> None:
    files: dict[object, bytes | Exception] = {
        "good": jpeg(),
        "cut": jpeg()[:200],
        "text": b"no image at all",
        "gone": ImageError("not_found", "404"),
        "bug": RuntimeError("nobody foresaw this"),
    }
    ours, metrics = predictor(FakeImages(files))
    request = call("good", "cut", "text", "gone", "bug", None, {"x": 1}, 3, "good")
    bare_task = evolve(request.tasks[0], data={"text": "no image"})
    answers = ours.predict(evolve(request, tasks=[*request.tasks, bare_task]), FAR)
    assert [bool(answer) for answer in answers] == [True, *[False] * 7, True, False]
    assert failures(metrics) == {"broken": 1, "unsupported": 1, "not_found": 1, "no_data": 4, "crashed": 1}


@pytest.mark.parametrize(
    ("value", "data", "address"),
    [
        pytest.param("$page.image", {"page": {"image": "a"}}, "a", id="a path"),
        pytest.param("$pages[1]", {"pages": ["x", "a"]}, "a", id="one of a list"),
        pytest.param("https://host/$file", {"file": "b"}, "https://host/b", id="text around it"),
        pytest.param("$page.image", {"page": "a"}, None, id="no such path"),
        pytest.param("$pages[2]", {"pages": ["x", "a"]}, None, id="out of range"),
        pytest.param("$page", {"page": ["a"]}, None, id="several images"),
    ],
)
def test_values_are_paths_into_the_tasks_data(value: str, data: dict[str, Any], address: str | None) -> None:
    images = FakeImages({"a": jpeg(), "https://host/b": jpeg()})
    ours, metrics = predictor(images)
    config = label_config().replace('value="$image"', f'value="{value}"')
    body = {"tasks": [{"id": 7, "data": data}], "project": UID, "label_config": config}
    (answer,) = ours.predict(PredictRequest.model_validate(body), FAR)
    assert images.fetched == ([address] if address else [])
    assert bool(answer) == (address is not None)
    assert failures(metrics) == ({} if address else {"no_data": 1})


@pytest.mark.parametrize("tasks", [1, 5])
def test_what_the_deadline_does_not_reach_is_answered_empty(tasks: int) -> None:
    stuck = FakeModel(at_once=False)
    ours, metrics = predictor(FakeImages({"a": jpeg()}), label=stuck)
    assert ours.predict(call(*["a"] * tasks), time.monotonic() + 0.2) == [[]] * tasks
    assert failures(metrics) == {"deadline": tasks}
    assert all(future.cancelled() for future, _ in stuck.waiting[:1])  # the model does not work for nobody


def test_a_deadline_in_the_past_asks_for_no_image() -> None:
    images = FakeImages({"a": jpeg()})
    ours, _ = predictor(images, concurrency=1)
    assert ours.predict(call("a", "a"), time.monotonic() - 1) == [[], []]
    assert images.fetched == []


@pytest.mark.parametrize(
    ("error", "reason"), [(ModelError("broken"), "model"), (DeadlineExceeded("loading takes long"), "deadline")]
)
def test_a_model_that_cannot_be_had_empties_the_request(error: LabelloopError, reason: str) -> None:
    ours, metrics = predictor(FakeImages({"a": jpeg()}), label=error)
    assert ours.predict(call("a", "a"), FAR) == [[], []]
    assert failures(metrics) == {reason: 2}


def test_images_are_fetched_concurrently_and_bounded() -> None:
    images = FakeImages({"a": jpeg()}, pause=threading.Barrier(4))  # opens only when four are fetched at once
    ours, _ = predictor(images, concurrency=4)
    assert all(ours.predict(call(*["a"] * 8), FAR))
    assert images.most == 4


def test_without_a_thread_to_give_a_batch_is_predicted_on_the_thread_of_the_request() -> None:
    images = FakeImages({"a": jpeg(), "b": ImageError("timeout", "slow")})
    ours, metrics = predictor(images, concurrency=4)
    with no_thread_can_be_started():
        answers = ours.predict(call("a", "b", "a"), FAR)
    assert [bool(answer) for answer in answers] == [True, False, True]
    assert failures(metrics) == {"timeout": 1}
    assert images.most == 1


def test_few_images_are_decoded_at_once() -> None:
    pair, most, now, lock = threading.Barrier(2), 0, 0, threading.Lock()

    def decode_in_pairs(data: bytes, side: Side) -> Sized:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        pair.wait(10)  # opens only when two are decoded at once
        with lock:
            now -= 1
        return decode_small(data, side)

    ours, _ = predictor(FakeImages({"a": jpeg()}), concurrency=8, decode=decode_in_pairs)
    assert all(ours.predict(call(*["a"] * 8), FAR))
    assert most == 2


def test_few_decoded_images_of_a_request_wait_for_the_model() -> None:
    slow = FakeModel(at_once=False)
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=slow, concurrency=32)
    answers: list[object] = []
    request = threading.Thread(target=lambda: answers.extend(ours.predict(call(*["a"] * 32), FAR)))
    request.start()
    most = 0
    while request.is_alive():
        most = max(most, len(slow.waiting))
        slow.finish()
        request.join(0.005)
    assert most <= 4
    assert all(answers)


def test_a_smart_tool_is_answered_for_one_task() -> None:
    smart = evolve(call("a", "a"), params=InteractiveParams(context={"result": []}))
    drawn = {"result": [], "score": 0.1, "model_version": "label:v1"}
    ours = Predictor(FakeModels({}), None, Metrics(), lambda *_: Settings(), threads=1, smart=lambda *_: drawn)  # type: ignore[arg-type]
    assert ours.predict(smart, FAR) == [drawn, []]
    jobs, _ = predictor(FakeImages({}))
    assert jobs.predict(smart, FAR) == [[], []]


def test_a_config_without_a_known_control_is_answered_empty() -> None:
    ours, metrics = predictor(FakeImages({}))
    assert ours.predict(call("a", config="<View><Text name='t' value='$t'/></View>"), FAR) == [[]]
    assert failures(metrics) == {"no_control": 1}


def test_no_tasks_no_answers() -> None:
    ours, _ = predictor(FakeImages({}))
    assert ours.predict(call(), FAR) == []


def test_a_broken_config_is_the_callers_error() -> None:
    ours, _ = predictor(FakeImages({}))
    with pytest.raises(LabelConfigError):
        ours.predict(call("a", config="<View>"), FAR)


def test_once_the_device_is_lost_no_image_is_waited_for() -> None:
    """The process ends as soon as its requests are answered; until then no other request is."""

    class Lost(FakeModel):
        def submit(self, *_: object, **__: object) -> "Future[Detections]":
            future: Future[Detections] = Future()
            future.set_exception(DeviceLost("cuda:0 failed"))
            return future

    class HangingImages(FakeImages):
        def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
            return super().fetch(value, task_id=task_id, deadline=deadline) if value == "here" else hang()

    hanging = threading.Event()

    def hang() -> bytes:
        hanging.wait()
        return jpeg()

    ours, metrics = predictor(HangingImages({"here": jpeg()}), label=Lost())
    try:
        assert ours.predict(call("here", *["far"] * 9), FAR) == [[]] * 10
    finally:
        hanging.set()
    assert failures(metrics) == {"device_lost": 10}
