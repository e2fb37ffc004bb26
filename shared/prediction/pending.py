"""The results of one task: those that the models still work on, and the prediction that is written from them."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from shared.errors import ImageError
from shared.geometry.detections import Detections
from shared.labelstudio.regions import Region
from shared.labelstudio.regions.choices import write_region_choices
from shared.prediction.context import PredictContext
from shared.prediction.metrics import Metrics
from shared.prediction.plan import Found, Plan, choose, confidences_of, found_in, to_prediction
from shared.prediction.ports import DeadlineExceeded

Got = TypeVar("Got")


class Answer(NamedTuple):
    """A task's prediction, and an error for each image or video whose controls are missing in it."""

    prediction: dict[str, Any]
    left_out: Sequence[ImageError]


@dataclass(frozen=True, slots=True)
class Asked:
    """One image that was handed to a model for a control; the result is pending."""

    plan: Plan
    future: "Future[Detections]"
    metrics: Metrics

    def found(self, deadline: float) -> Found:
        """Wait for the model and convert. `deadline`: time.monotonic(). Raises DeadlineExceeded, ModelError."""
        detections = result_of(self.future, deadline)
        with self.metrics.phase("convert"):
            return found_in(self.plan, detections)


@dataclass(frozen=True, slots=True)
class AskedRegions:
    """The crops of an image's regions that were handed to a model for a per-region control; results are pending."""

    plan: Plan
    crops: "Mapping[str, Future[Detections]]"  # by id of the region
    regions: Sequence[Region]

    def found(self, deadline: float) -> Found:
        """The choices of all regions; otherwise as `Asked.found`."""
        written: list[Region] = []
        confidences: list[float] = []
        shapes = {region["id"]: region for region in reversed(self.regions)}  # the first of a region's two items
        for name, future in self.crops.items():
            chosen = choose(self.plan, result_of(future, deadline))
            written += write_region_choices(chosen, chosen.names, self.plan.control, shapes[name])
            confidences += confidences_of(chosen)
        return Found(written, confidences, [])


Pending = Found | Asked | AskedRegions
"""The result of a control for a task, or the pending results that it is made of."""


@dataclass(frozen=True, slots=True)
class Started:
    """A task whose images were fetched and handed to the models."""

    context: PredictContext
    pending: Sequence[Pending]  # in the order of the controls
    left_out: Sequence[ImageError]

    def answer(self) -> Answer:
        """Wait for the models and write the prediction. Raises DeadlineExceeded, ModelError."""
        found = [found_of(each, self.context.deadline) for each in self.pending]
        return Answer(to_prediction(found, self.context.stamp, self.context.order), self.left_out)


def result_of(future: "Future[Got]", deadline: float) -> Got:
    """The result of a future, cancelled at the deadline (time.monotonic()). Raises DeadlineExceeded, and its errors."""
    try:
        return future.result(timeout=max(deadline - time.monotonic(), 0.0))
    except TimeoutError as error:
        future.cancel()
        raise DeadlineExceeded("the deadline came before the model was done (LABELLOOP_PREDICT_DEADLINE)") from error


def found_of(pending: Pending, deadline: float) -> Found:
    return pending if isinstance(pending, Found) else pending.found(deadline)
