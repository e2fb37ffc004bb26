"""Protocols between predict's parts, and their errors."""

import math
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import LabelloopError, ModelError
from shared.geometry.detections import Detections
from shared.geometry.tiles import Tiling
from shared.labelstudio.controls import Control
from shared.prediction.plan import Found, Plan
from shared.state.versions import Shown
from shared.yolo_task import YoloTask

Image = NDArray[np.uint8]
"""(H, W, 3) BGR pixels of an upright image."""


class DeadlineExceeded(LabelloopError):
    """The request's deadline has passed."""


class NotNow(LabelloopError):
    """A version cannot be fetched or loaded now (store, disk, memory, threads). Its file may be good."""


class DeviceLost(NotNow):
    """The GPU fails every call of this process, so the process ends. The next process may succeed."""


class NotMadeYet(ModelError):
    """Base weights that nobody has put into the store yet: that may happen at any moment."""


class NothingToServe(ModelError):
    """A control has neither a version nor usable base weights for its YOLO task. Other controls are predicted."""

    def __init__(self, message: str, version: str) -> None:
        super().__init__(message)
        self.version = version  # of the control in the stamp: "base-yolo11n"; "": it is not named there


class Model(Protocol):
    """A model in memory."""

    names: tuple[str, ...]  # class index → name
    batch: int  # preferred number of images in a batch
    yolo_task: YoloTask
    image_size: int  # pixels of the longer side that it sees
    tiling: Tiling | None  # how large pictures are cut for it, as its graph says

    def submit(
        self,
        image: Image,
        confidence: float,
        *,
        whole: tuple[int, int] | None = None,
        iou: float | None = None,
        outlined_from: float | None = 0.0,
        tiling: Tiling | None = None,
        deadline: float = math.inf,
    ) -> "Future[Detections]":
        """Detect objects of at least this confidence. The future fails with ModelError.

        With a `tiling`, a picture that is larger than a tile is looked at in tiles and as a whole, before this returns
        or `deadline` (time.monotonic(), or inf) comes: then the future fails with DeadlineExceeded.

        `whole`: height and width of the picture, if the image is one of fewer pixels: what is found is in pixels of
        the whole one. `iou`: overlap above which objects of a class are suppressed; None: as set. Outlines, which take
        time, are made only of objects with at least the confidence `outlined_from`; those of others are empty. None:
        nothing is shown yet, so outlines are left to `Detections.outlined` (but made where there are tiles).
        """


class Loader(Protocol):
    """Loads models from files."""

    def load(self, path: Path) -> Model:
        """Load a version's verified graph. Raises ModelError if the file cannot be served, NotNow."""

    def load_base(self, weights: str) -> Model:
        """Load the graph of base weights, by a path or name of theirs.

        Raises NotMadeYet if the store has none, ModelError if they cannot be served; NotNow, StoreError.
        """


@dataclass(frozen=True, slots=True)
class Served:
    """What a control is served with during one request."""

    model: Model
    version: str  # "v12", "base-yolo11n"
    trained: bool  # on this project; False: base weights
    shown: Mapping[str, Shown] = field(default_factory=dict)  # label → thresholds of the version. Not part of the
    # model, since several versions may have the same weights
    trace: str = ""  # traceparent of the job that published it


class Models(Protocol):
    """The source of models."""

    def serving(self, uid: str, control: Control, deadline: float) -> Served:
        """The model that a control is served with now. `deadline` is a time.monotonic() value.

        Raises NothingToServe, DeadlineExceeded, ModelError, NotNow, StoreError.
        """


class Videos(Protocol):
    """Predicts videos, on the calling thread."""

    def regions(
        self, plan: Plan, model: Model, value: object, *, task_id: int | None, deadline: float, data: Mapping[str, Any]
    ) -> Found:
        """The result of a control for the video that a task's value names. `data`: the task's data.

        `deadline` is a time.monotonic() value. Raises ImageError, DeadlineExceeded, ModelError.
        """
