"""A Predictor whose images, models and videos are fakes, and requests for it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.errors import ImageError, LabelloopError
from shared.evolve import evolve
from shared.geometry.detections import Detections
from shared.labelstudio.controls import Control
from shared.labelstudio.requests import PredictRequest
from shared.media.decode import decode_for
from shared.media.fit import Side, Sized
from shared.prediction.images import TaskImages
from shared.prediction.metrics import Metrics
from shared.prediction.one_task import TaskRunner
from shared.prediction.plan import Found, Plan
from shared.prediction.ports import Model, Served
from shared.prediction.predictor import Predictor
from shared.prediction.score import Order
from shared.settings import Settings
from shared.state.versions import Shown
from tests.fakes.predict_parts import UID, FakeModel, label_config


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
