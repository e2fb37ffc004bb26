"""The use case: order, failures of single tasks, the deadline, bounds."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from label_studio_sdk.label_interface import LabelInterface
from numpy.typing import NDArray

from shared.control_group import in_control_group
from shared.errors import ImageError, LabelConfigError, LabelloopError, ModelError
from shared.evolve import evolve
from shared.geometry.detections import Detections
from shared.geometry.tiles import Tiling
from shared.labelstudio.controls import Control
from shared.labelstudio.requests import InteractiveParams, PredictRequest, Task
from shared.media.decode import decode_for
from shared.media.fit import Side, Sized
from shared.prediction.images import TaskImages
from shared.prediction.metrics import Metrics
from shared.prediction.one_task import TaskRunner
from shared.prediction.plan import Found, Plan
from shared.prediction.ports import DeadlineExceeded, DeviceLost, Model, NothingToServe, Served
from shared.prediction.predictor import Predictor
from shared.prediction.room import Room
from shared.prediction.score import Order, doubt
from shared.prediction.unanswered import Unanswered
from shared.settings import Settings
from shared.state.versions import Shown
from tests.fakes.predict_parts import FAR, UID, FakeModel, boxes, jpeg, label_config
from tests.fakes.threads import no_thread_can_be_started


@dataclass
class FakeImages:
    """Images by value; an exception is raised. Keeps how many were fetched at once."""

    files: dict[object, bytes | Exception]
    pause: threading.Barrier | None = None
    most: int = 0
    fetching: int = 0
    fetched: list[object] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        with self.lock:
            self.fetching += 1
            self.most = max(self.most, self.fetching)
            self.fetched.append(value)
        if self.pause is not None:
            self.pause.wait(10)
        with self.lock:
            self.fetching -= 1
        if not isinstance(value, str):
            raise ImageError("unsupported", "no text")
        found = self.files[value]
        if isinstance(found, Exception):
            raise found
        return found


@dataclass
class FakeModels:
    """One model a control."""

    models: dict[str, Model | LabelloopError]
    trained: bool = True
    shown: dict[str, Shown] = field(default_factory=dict)

    def serving(self, uid: str, control: Control, deadline: float) -> Served:
        found = self.models[control.name]
        if isinstance(found, LabelloopError):
            raise found
        return Served(found, "v1", trained=self.trained, shown=self.shown)


def decode_small(data: bytes, side: Side) -> Sized:
    return decode_for(data, 10**6, side)


class FakeVideos:
    """Finds one region, of confidence 0.6, in every video but a broken one."""

    def regions(
        self, plan: Plan, model: Model, value: object, *, task_id: int | None, deadline: float, data: Mapping[str, Any]
    ) -> Found:
        if value == "broken":
            raise ImageError("broken", "no video")
        return Found([{"from_name": plan.control.name, "type": "videorectangle"}], [0.6], [])


def predictor(
    images: FakeImages,
    *,
    concurrency: int = 4,
    decode: Callable[[bytes, Side], Sized] = decode_small,
    trained: bool = True,
    shown: dict[str, Shown] | None = None,
    control_group: float = 0.0,
    order: Order = "off",
    **models: Model | LabelloopError,
) -> tuple[Predictor, Metrics]:
    metrics = Metrics()
    served = FakeModels(models or {"label": FakeModel()}, trained, shown or {})
    settings = evolve(Settings(), control_group=control_group, order=order)
    task_images = TaskImages(images, decode, metrics, fetch_concurrency=concurrency, decode_concurrency=2, pixels=10**6)
    runner = TaskRunner(task_images, FakeVideos(), metrics)
    return Predictor(served, runner, metrics, lambda *_: settings, threads=concurrency), metrics


def call(*values: object, config: str | None = None) -> PredictRequest:
    tasks = [{"id": number, "data": {"image": value}} for number, value in enumerate(values)]
    return PredictRequest.model_validate({"tasks": tasks, "project": UID, "label_config": config or label_config()})


def failures(metrics: Metrics) -> dict[str, float]:
    return {
        sample.labels["reason"]: sample.value
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "labelloop_failures_total"
    }


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


def test_two_controls_with_models_of_their_own_make_one_prediction() -> None:
    trees, roads = FakeModel(), FakeModel(names=("Road",), finds=boxes((1, 1, 9, 9, 0.5, 0), names=("Road",)))
    ours, _ = predictor(FakeImages({"a": jpeg()}), trees=trees, roads=roads)
    config = label_config("trees", "roads", labels=("Tree", "Road"))
    (answer,) = ours.predict(call("a", config=config), FAR)
    assert isinstance(answer, dict)
    found = [(region["from_name"], region["value"]["rectanglelabels"]) for region in answer["result"]]
    assert found == [("trees", ["Tree"]), ("roads", ["Road"])]
    assert answer["model_version"] == "trees:v1+roads:v1"
    assert answer["score"] == pytest.approx(0.7)


def test_controls_with_the_same_model_run_it_once_an_image() -> None:
    both, images = FakeModel(), FakeImages({"a": jpeg()})
    ours, _ = predictor(images, one=both, two=both)
    (answer,) = ours.predict(call("a", config=label_config("one", "two")), FAR)
    assert isinstance(answer, dict)
    assert [region["from_name"] for region in answer["result"]] == ["one", "two"]
    assert len(both.confidences) == len(images.fetched) == 1


def test_each_control_looks_at_its_own_image() -> None:
    config = """<View><Image name="left" value="$l"/><Image name="right" value="$r"/>
        <RectangleLabels name="a" toName="left"><Label value="Tree"/></RectangleLabels>
        <RectangleLabels name="b" toName="right"><Label value="Tree"/></RectangleLabels></View>"""
    one = FakeModel()
    ours, metrics = predictor(FakeImages({"x": jpeg(width=70), "y": jpeg(width=80)}), a=one, b=one)
    body = {"tasks": [{"data": {"l": "x", "r": "y"}}], "project": UID, "label_config": config}
    (whole,) = ours.predict(PredictRequest.model_validate(body), FAR)
    assert isinstance(whole, dict)
    assert [(r["to_name"], r["original_width"]) for r in whole["result"]] == [("left", 70), ("right", 80)]
    assert failures(metrics) == {}


TWO_IMAGES = """<View><Image name="left" value="$l"/><Image name="right" value="$r"/>
    <RectangleLabels name="a" toName="left"><Label value="Tree"/></RectangleLabels>
    <RectangleLabels name="b" toName="right"><Label value="Tree"/></RectangleLabels></View>"""


@pytest.mark.parametrize(
    ("data", "answered", "reason"),
    [
        pytest.param({"l": "good"}, True, "no_data", id="a task without the image"),
        pytest.param({"l": "good", "r": "cut"}, True, "broken", id="a broken file"),
        pytest.param({"l": "cut", "r": "good"}, True, "broken", id="the first one"),
        pytest.param(
            {"l": "good", "r": "away"}, False, "unreachable", id="may heal: or it would never be asked for again"
        ),
        pytest.param({"l": "good", "r": "gone"}, False, "not_found", id="may come yet"),
        pytest.param({"l": "cut", "r": "cut"}, False, "broken", id="no control is left"),
        pytest.param({}, False, "no_data", id="no image at all"),
    ],
)
def test_a_control_whose_image_can_never_be_had_leaves_the_others(
    data: dict[str, str], answered: bool, reason: str
) -> None:
    files: dict[object, bytes | Exception] = {
        "good": jpeg(),
        "cut": jpeg()[:200],
        "gone": ImageError("not_found", "404"),
        "away": ImageError("unreachable", "no answer"),
    }
    one = FakeModel()
    ours, metrics = predictor(FakeImages(files), a=one, b=one)
    body = {"tasks": [{"data": data}] * 2, "project": UID, "label_config": TWO_IMAGES}
    for answer in ours.predict(PredictRequest.model_validate(body), FAR):
        assert bool(answer) == answered
        if answered:
            assert isinstance(answer, dict)
            (region,) = answer["result"]
            assert data["l" if region["from_name"] == "a" else "r"] == "good"
            assert answer["model_version"] == "a:v1+b:v1"
    left_out = metrics.registry.get_sample_value("labelloop_controls_left_out_total", {"reason": reason})
    assert (failures(metrics), left_out) == (({}, 2) if answered else ({reason: 2}, None))


BOXES = """<RectangleLabels name="label" toName="image"><Label value="Tree"/></RectangleLabels>"""
KINDS = '<Choices name="kind" toName="image" perRegion="true"><Choice value="Oak"/><Choice value="Fir"/></Choices>'
WHOLE = KINDS.replace(' perRegion="true"', "")


def view(*controls: str) -> str:
    video = '<Video name="video" value="$video"/>'
    return f'<View><Image name="image" value="$image"/>{video}{"".join(controls)}</View>'


def classifier(names: tuple[str, ...] = ("Oak", "Fir"), **options: Any) -> FakeModel:
    """Classifies every image alike, three to one for the first class."""
    scores = np.array([[0.75, 0.25]])
    sees = Detections(64, 48, np.array([[0.0, 0, 64, 48]]), scores.max(1), scores.argmax(1), names, class_scores=scores)
    return FakeModel(names=names, yolo_task="classify", finds=sees, **options)


def test_a_control_that_has_nothing_to_serve_leaves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    poly = '<PolygonLabels name="poly" toName="image"><Label value="Tree"/></PolygonLabels>'
    nothing = NothingToServe("poly needs weights for segment", "base-x")
    ours, metrics = predictor(FakeImages({"a": jpeg()}), label=FakeModel(), poly=nothing)
    for _ in range(2):
        (answer,) = ours.predict(call("a", config=view(poly, BOXES)), FAR)
        assert isinstance(answer, dict)
        assert [region["from_name"] for region in answer["result"]] == ["label"]
        assert answer["model_version"] == "poly:base-x+label:v1"  # as setup says
    said = [record.message for record in caplog.records if "poly" in record.message]
    assert said == ["'poly' is not predicted: poly needs weights for segment"]  # once
    left_out = NothingToServe("its base weights are not made yet", "")
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=FakeModel(), poly=left_out)
    (answer,) = ours.predict(call("a", config=view(poly, BOXES)), FAR)
    assert isinstance(answer, dict)
    assert answer["model_version"] == "label:v1", "no regions of it, and not in the stamp"
    images = FakeImages({"a": jpeg()})
    ours, metrics = predictor(images, poly=nothing)
    assert ours.predict(call("a", config=view(poly)), FAR) == [[]]
    assert failures(metrics) == {"no_model": 1}
    (item,) = ours.predict(call("a", config=view(poly)), FAR)
    assert isinstance(item, Unanswered)
    assert (item.reason, bool(item.message)) == ("no_model", True)
    assert images.fetched == []


@pytest.mark.parametrize(("names", "reason"), [(("Cat", "Dog"), "no_class"), (("Oak", "Dog"), None)])
def test_classes_that_mean_no_label_leave_a_classification_out(names: tuple[str, ...], reason: str | None) -> None:
    ours, metrics = predictor(FakeImages({"a": jpeg()}), kind=classifier(names))
    answers = ours.predict(call("a", config=view(WHOLE)), FAR)
    assert bool(answers[0]) == (reason is None)
    assert failures(metrics) == ({reason: 1} if reason else {})


def test_a_version_of_before_a_label_was_renamed_says_how_to_go_on(caplog: pytest.LogCaptureFixture) -> None:
    model = FakeModel(names=("Tree",), finds=boxes((1, 1, 9, 9, 0.9, 0)))
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=model)
    assert ours.predict(call("a", config=label_config(labels=("tree crown",))), FAR) == [[]]
    (said,) = [record.message for record in caplog.records if "Tree" in record.message]
    assert "v1 was trained on 'Tree', which the labeling config of 'label' does not have any more" in said
    assert "rename it back, or write alias='Tree' to the <Label>" in said


def test_a_class_of_base_weights_that_several_labels_claim_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    config = label_config(labels=("Tree", "TREE", "Road"))
    model = FakeModel(names=("tree", "road"), finds=boxes((1, 1, 9, 9, 0.9, 0), (9, 9, 30, 30, 0.8, 1)))
    ours, _ = predictor(FakeImages({"a": jpeg()}), trained=False, label=model)
    for _ in range(2):
        (answer,) = ours.predict(call("a", config=config), FAR)
        assert isinstance(answer, dict)
        assert [region["value"]["rectanglelabels"] for region in answer["result"]] == [["Road"]]
    said = [record.message for record in caplog.records if "tree" in record.message]
    assert said == [
        "class 'tree' could mean 'Tree' or 'TREE' of 'label': it is not used, unless predicted_values of one label "
        "name it"
    ]


def test_regions_that_other_controls_found_are_classified() -> None:
    trees = boxes((8, 8, 32, 24, 0.9, 0), (0.5, 0, 4.2, 6, 0.8, 0), (40, 40, 44, 44, 0.1, 0))
    kinds = classifier(at_once=True)
    seen: list[tuple[int, int]] = []
    submit = kinds.submit

    def watched(image: NDArray[np.uint8], confidence: float, **options: Any) -> "Future[Detections]":
        seen.append((image.shape[1], image.shape[0]))
        return submit(image, confidence, **options)

    watching = SimpleNamespace(names=kinds.names, batch=1, yolo_task="classify", tiling=None, submit=watched)
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=FakeModel(finds=trees), kind=watching)
    config = view(KINDS, BOXES)  # whatever comes first in the config
    (answer,) = ours.predict(call("a", config=config), FAR)
    assert isinstance(answer, dict)
    assert sorted(seen) == [(5, 6), (24, 16)]  # only what is shown, whole pixels outwards
    classes = {region["id"]: region for region in answer["result"] if region["from_name"] == "kind"}
    shapes = {region["id"]: region for region in answer["result"] if region["from_name"] == "label"}
    assert classes.keys() == shapes.keys()
    for name, region in classes.items():
        assert region["value"]["choices"] == ["Oak"]
        assert region["value"]["x"] == shapes[name]["value"]["x"]
    assert answer["score"] == pytest.approx((0.85 + 0.75) / 2)
    assert LabelInterface(config).validate_prediction(answer, return_errors=True) == []


def test_ids_of_regions_are_of_one_answer_alone() -> None:
    """Also if the same task is predicted twice; items of one region still share an id."""
    points = (
        '<RectangleLabels name="kp_bbox" toName="image" model_skip="true"><Label value="Tree"/></RectangleLabels>'
        '<KeyPointLabels name="kp" toName="image"><Label value="top"/><Label value="foot"/></KeyPointLabels>'
    )
    posed = replace(
        boxes((8, 8, 32, 24, 0.9, 0), (30, 8, 60, 24, 0.8, 0)),
        keypoints=np.full((2, 2, 3), 10.0),
        point_names=("top", "foot"),
    )
    pose = FakeModel(yolo_task="pose", finds=posed)
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=FakeModel(finds=posed), kp=pose, kind=classifier())
    config = view(BOXES, points, KINDS)
    answers = [answer for _ in range(2) for answer in ours.predict(call("a", "a", config=config), FAR)]
    seen: set[str] = set()
    for answer in answers:
        assert isinstance(answer, dict)
        assert LabelInterface(config).validate_prediction(answer, return_errors=True) == []
        by_control = {
            name: [region for region in answer["result"] if region["from_name"] == name]
            for name in ("label", "kp_bbox", "kp", "kind")
        }
        objects = [region["id"] for region in by_control["kp_bbox"]]
        assert [region["parentID"] for region in by_control["kp"]] == [objects[0]] * 2 + [objects[1]] * 2
        shapes = [region["id"] for region in by_control["label"]] + objects
        assert {region["id"] for region in by_control["kind"]} <= {*shapes, *(each["id"] for each in by_control["kp"])}
        ids = {region["id"] for region in answer["result"]}
        assert len(ids) == 2 + 2 + 4
        assert not ids & seen
        seen |= ids


def test_a_smart_tool_is_answered_for_one_task() -> None:
    smart = evolve(call("a", "a"), params=InteractiveParams(context={"result": []}))
    drawn = {"result": [], "score": 0.1, "model_version": "label:v1"}
    ours = Predictor(FakeModels({}), None, Metrics(), lambda *_: Settings(), threads=1, smart=lambda *_: drawn)  # type: ignore[arg-type]
    assert ours.predict(smart, FAR) == [drawn, []]
    jobs, _ = predictor(FakeImages({}))
    assert jobs.predict(smart, FAR) == [[], []]


def test_the_control_group_gets_nothing_and_the_others_theirs_in_order() -> None:
    files: dict[object, bytes | Exception] = {f"{width}": jpeg(width=width) for width in range(60, 100)}
    images = FakeImages(files)
    ours, metrics = predictor(images, control_group=0.3)
    answers = ours.predict(call(*files), FAR)
    chosen = [number for number in range(40) if in_control_group(UID, number, 0.3)]
    assert chosen
    assert [number for number, answer in enumerate(answers) if answer == []] == chosen
    widths = {number: answer["result"][0]["original_width"] for number, answer in enumerate(answers) if answer}  # type: ignore[call-overload]
    assert widths == {number: 60 + number for number in range(40) if number not in chosen}
    assert len(images.fetched) == 40 - len(chosen), "no image is fetched for nothing"
    assert failures(metrics) == {"control_group": len(chosen)}
    annotated = call("60")
    chosen_one = annotated.tasks[0].model_copy(update={"id": chosen[0], "is_labeled": True})
    assert ours.predict(evolve(annotated, tasks=[chosen_one]), FAR) != [[]], "nobody is helped by it any more"
    assert predictor(FakeImages(files), control_group=1.0)[0].predict(call("60", "61"), FAR) == [[], []]


@pytest.mark.parametrize(
    ("order", "trained", "control_group", "score"),
    [
        pytest.param("useful", True, 0.0, 1 / (1 + doubt([0.9, 0.1])), id="how sure the version is, hidden boxes too"),
        pytest.param("easy", True, 0.0, 1 - 1 / (1 + doubt([0.9, 0.1])), id="turned round"),
        pytest.param("useful", False, 0.0, 0.9, id="nothing is known of what base weights are sure of"),
        pytest.param("useful", True, 1e-9, 0.9, id="beside a control group there is no order"),
        pytest.param("off", True, 0.0, 0.9, id="off"),
    ],
)
def test_the_score_of_a_version_orders_the_tasks(
    order: Order, trained: bool, control_group: float, score: float
) -> None:
    model = FakeModel(finds=boxes((8, 8, 32, 24, 0.9, 0), (40, 30, 60, 40, 0.1, 0)))
    images = FakeImages({"a": jpeg()})
    ours, _ = predictor(images, trained=trained, order=order, control_group=control_group, label=model)
    (answer,) = ours.predict(call("a"), FAR)
    assert answer["score"] == pytest.approx(score)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("controls", "sizes", "seen"),
    [
        pytest.param([BOXES], {"label": 41}, (60, 80), id="an eighth would be too small"),
        pytest.param([BOXES, WHOLE], {"label": 90, "kind": 40}, (120, 160), id="as large as the largest model needs"),
        pytest.param([BOXES, WHOLE], {"label": 400, "kind": 40}, (240, 320), id="all, for one"),
        pytest.param([BOXES, KINDS], {"label": 40, "kind": 40}, (240, 320), id="all, to cut regions out of it"),
    ],
)
def test_an_image_has_the_pixels_that_its_models_need(
    controls: list[str], sizes: dict[str, int], seen: tuple[int, int]
) -> None:
    label, kind = FakeModel(image_size=sizes["label"]), classifier(image_size=sizes.get("kind", 1000))
    ours, _ = predictor(FakeImages({"a": jpeg(320, 240)}), label=label, kind=kind)
    (answer,) = ours.predict(call("a", config=view(*controls)), FAR)
    assert isinstance(answer, dict)
    assert label.seen == [(*seen, 3)]
    sizes_said = {
        (each["original_width"], each["original_height"]) for each in answer["result"] if each["type"] != "choices"
    }
    assert sizes_said == {(320, 240)}


TILED = Tiling(100, 25)


@pytest.mark.parametrize(
    ("controls", "tiling", "size", "seen"),
    [
        pytest.param([BOXES], TILED, 40, (120, 160), id="so many that no tile is enlarged"),
        pytest.param([BOXES], TILED, 100, (240, 320), id="all"),
        pytest.param([BOXES, WHOLE], TILED, 40, (120, 160), id="also for who sees it whole"),
        pytest.param([BOXES], Tiling(320, 80), 40, (30, 40), id="it fits into a tile"),
        pytest.param([BOXES, KINDS], TILED, 40, (240, 320), id="regions are never cut"),
    ],
)
def test_a_version_that_learnt_from_tiles_is_shown_tiles(
    controls: list[str], tiling: Tiling, size: int, seen: tuple[int, int]
) -> None:
    label, kind = FakeModel(image_size=size, tiling=tiling), classifier(image_size=40)
    ours, _ = predictor(FakeImages({"a": jpeg(320, 240)}), label=label, kind=kind)
    assert isinstance(ours.predict(call("a", config=view(*controls)), FAR)[0], dict)
    assert (label.seen, label.cut) == ([(*seen, 3)], [(tiling, FAR)])
    assert {tiling for tiling, _ in kind.cut} <= {None}


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize(("written", "side"), [("", None), ('model_tiles="auto"', None), ('model_tiles="100"', 100)])
def test_base_weights_are_shown_tiles_where_a_person_says_how_large(
    trained: bool, written: str, side: int | None
) -> None:
    model = FakeModel(image_size=40)
    ours, _ = predictor(FakeImages({"a": jpeg(320, 240)}), trained=trained, label=model)
    config = view(BOXES.replace("<RectangleLabels ", f"<RectangleLabels {written} "))
    assert isinstance(ours.predict(call("a", config=config), FAR)[0], dict)
    assert [tiling for tiling, _ in model.cut] == [Tiling(side, 20) if side and not trained else None]


def test_few_large_pictures_are_looked_at_in_tiles_at_a_time() -> None:
    now, most, lock = 0, 0, threading.Lock()

    class Watching(FakeModel):
        def submit(self, *args: Any, **more: Any) -> "Future[Detections]":
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            found = super().submit(*args, **more)
            with lock:
                now -= 1
            return found

    large = jpeg(900, 600)  # of 1,000,000 pixels that there is room for
    ours, _ = predictor(FakeImages({"a": large}), concurrency=8, label=Watching(tiling=TILED, batch=8))
    assert all(ours.predict(call(*["a"] * 8), FAR))
    assert most == 1


def test_a_file_that_is_no_picture_needs_no_room() -> None:
    ours, metrics = predictor(FakeImages({"a": b"text"}), label=FakeModel(tiling=TILED))
    assert ours.predict(call("a"), FAR) == [[]]
    assert failures(metrics) == {"unsupported": 1}


def test_who_waits_for_room_waits_until_the_deadline() -> None:
    room = Room(100)
    with room.taken(500, FAR), pytest.raises(DeadlineExceeded, match="other large pictures"), room.taken(1, 0.0):
        pass
    with room.taken(60, FAR), room.taken(40, FAR), pytest.raises(DeadlineExceeded), room.taken(1, 0.0):
        pass


def test_without_a_region_nothing_is_classified() -> None:
    ours, metrics = predictor(FakeImages({"a": jpeg()}), label=FakeModel(finds=boxes()), kind=classifier())
    (answer,) = ours.predict(call("a", config=view(BOXES, KINDS)), FAR)
    assert answer == {"result": [], "score": 1.0, "model_version": "label:v1+kind:v1"}
    ours, metrics = predictor(FakeImages({"a": jpeg()}), kind=classifier())
    assert ours.predict(call("a", config=view(KINDS)), FAR) == [[]]
    assert failures(metrics) == {"no_regions": 1}


def test_many_tasks_whose_regions_are_classified_bound_what_waits() -> None:
    """A task keeps its slot until its last crop is done, and no task waits for another one's slot."""
    kinds = classifier(at_once=False)
    ours, _ = predictor(FakeImages({"a": jpeg()}), concurrency=16, label=FakeModel(), kind=kinds)
    answers: list[object] = []
    request = threading.Thread(
        target=lambda: answers.extend(ours.predict(call(*["a"] * 24, config=view(BOXES, KINDS)), FAR))
    )
    request.start()
    most = 0
    while request.is_alive():
        most = max(most, len(kinds.waiting))
        kinds.finish()
        request.join(0.005)
    assert most <= 4
    assert len(answers) == 24
    assert all(answers)


VIDEO = (
    '<VideoRectangle name="track" toName="video"/><Labels name="names" toName="video"><Label value="Tree"/></Labels>'
)


@pytest.mark.parametrize(
    ("data", "controls", "left_out"),
    [
        ({"image": "a", "video": "film"}, ["label", "track"], None),
        ({"image": "a", "video": "broken"}, ["label"], "broken"),
        ({"image": "a"}, ["label"], "no_data"),
        ({"video": "film"}, ["track"], "no_data"),
        ({"image": "a", "video": ["film"]}, ["label"], "no_data"),
    ],
)
def test_videos_beside_images(data: dict[str, str], controls: list[str], left_out: str | None) -> None:
    ours, metrics = predictor(FakeImages({"a": jpeg()}), label=FakeModel(), track=FakeModel())
    body = {"tasks": [{"data": data}], "project": UID, "label_config": view(BOXES, VIDEO)}
    (answer,) = ours.predict(PredictRequest.model_validate(body), FAR)
    assert isinstance(answer, dict)
    assert [region["from_name"] for region in answer["result"]] == controls
    assert answer["model_version"] == "label:v1+track:v1"
    counted = metrics.registry.get_sample_value("labelloop_controls_left_out_total", {"reason": left_out or ""})
    assert counted == (1 if left_out else None)


def test_each_control_asks_by_its_own_numbers() -> None:
    one = FakeModel()
    poly = '<PolygonLabels name="poly" toName="image" {}><Label value="Tree"/></PolygonLabels>'
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=one, poly=one)
    ours.predict(call("a", config=view(BOXES, poly.format('model_score_threshold="0.4"'))), FAR)
    ours.predict(call("a", config=view(BOXES, poly.format('model_iou="0.5"'))), FAR)
    assert one.asked == [(0.7, 0.25), (0.7, 0.25), (0.5, 0.25)]  # the first answer served both


def test_what_a_version_shows_of_each_label() -> None:
    """The model is asked once, with the largest overlap, and makes outlines from the lowest threshold on."""
    found = boxes(
        (0, 0, 20, 20, 0.9, 0), (9, 0, 29, 20, 0.5, 0), (40, 0, 60, 20, 0.5, 0),
        (40, 24, 60, 44, 0.5, 1), (44, 24, 64, 44, 0.45, 1),
        names=("Tree", "Person"),
    )  # fmt: skip
    model = FakeModel(names=found.names, finds=found)
    chosen = {"Tree": Shown(confidence=0.6, iou=0.3), "Person": Shown(confidence=0.4, iou=0.7)}
    ours, _ = predictor(FakeImages({"a": jpeg()}), shown=chosen, label=model)
    (answer,) = ours.predict(call("a"), FAR)
    assert isinstance(answer, dict)
    shown = [(region["value"]["rectanglelabels"], region["score"]) for region in answer["result"]]
    assert shown == [(["Tree"], 0.9), (["Person"], 0.5), (["Person"], 0.45)]
    assert (model.asked, model.confidences) == ([(0.7, 0.4)], [0.05])


def test_models_report_what_a_low_threshold_asks_for() -> None:
    model = FakeModel()
    ours, _ = predictor(FakeImages({"a": jpeg()}), label=model)
    low = label_config().replace("<RectangleLabels ", '<RectangleLabels model_score_threshold="0.01" ')
    ours.predict(call("a", config=low), FAR)
    ours.predict(call("a"), FAR)
    assert model.confidences == [0.01, 0.05]


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
