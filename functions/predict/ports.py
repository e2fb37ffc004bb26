"""What predict's parts ask of one another."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from functions.predict.plan import Found, Plan
from shared.errors import LabelloopError, ModelError
from shared.geometry.detections import Detections
from shared.labelstudio.controls import Control
from shared.state.versions import Shown
from shared.yolo_task import YoloTask

Image = NDArray[np.uint8]
"""(H, W, 3), blue first, upright."""


class DeadlineExceeded(LabelloopError):
    """There is no time left for this request."""


class NotNow(LabelloopError):
    """A version cannot be fetched or loaded at the moment (store, disk, memory). It may be good."""


class DeviceLost(NotNow):
    """The device fails every call of this process, which ends; the next one can be asked again."""


class NothingToServe(ModelError):
    """A control has no version yet, and no base weights of its YOLO task: other controls do not wait for it."""

    def __init__(self, message: str, version: str) -> None:
        super().__init__(message)
        self.version = version  # what stands for the control in the stamp meanwhile: "base-yolo11n"


class Model(Protocol):
    """Weights in memory."""

    names: tuple[str, ...]  # class index → name
    batch: int  # images that it likes to take at once
    yolo_task: YoloTask

    def submit(
        self, image: Image, confidence: float, *, iou: float | None = None, outlined_from: float = 0.0
    ) -> "Future[Detections]":
        """Find everything of at least this confidence. The future fails with ModelError.

        `iou`: objects of a class that overlap more are one; None: as set. Outlines, which take time, are made of
        objects of at least the confidence `outlined_from`; others have empty ones.
        """


class Loader(Protocol):
    """Makes models of files."""

    def load(self, path: Path) -> Model:
        """A version's weights, verified. Raises ModelError if they are no model that can be served, NotNow."""

    def load_base(self, weights: str) -> Model:
        """The operator's weights: a file, or a name that can be downloaded.

        Raises ModelError, NotNow, LabelloopError if a download failed.
        """


@dataclass(frozen=True, slots=True)
class Served:
    """What one control is served with during one request."""

    model: Model
    version: str  # "v12", "base-yolo11n"
    trained: bool  # False: base weights, which never saw this project
    shown: Mapping[str, Shown] = field(default_factory=dict)  # label → what the version chose; the same weights may
    # stand behind several versions, so this is no part of the model


class Models(Protocol):
    """Where served models come from."""

    def serving(self, uid: str, control: Control, deadline: float) -> Served:
        """`deadline` is a time.monotonic() value.

        Raises NothingToServe, DeadlineExceeded, ModelError, NotNow, StoreError.
        """


class Images(Protocol):
    """Where images come from."""

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        """The bytes behind a task's value. `deadline` is a time.monotonic() value. Raises ImageError."""


class Videos(Protocol):
    """What predicts videos, on the calling thread."""

    def regions(
        self, plan: Plan, model: Model, value: object, *, task_id: int | None, deadline: float, data: Mapping[str, Any]
    ) -> Found:
        """What a control finds in the video behind a task's value. `data`: all of the task's data.

        `deadline` is a time.monotonic() value. Raises ImageError, DeadlineExceeded, ModelError.
        """
