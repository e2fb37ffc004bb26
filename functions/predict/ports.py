"""What predict's parts ask of one another."""

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import LabelloopError
from shared.geometry import Detections

Image = NDArray[np.uint8]
"""(H, W, 3), blue first, upright."""


class DeadlineExceeded(LabelloopError):
    """There is no time left for this request."""


class NotNow(LabelloopError):
    """A version cannot be fetched or loaded at the moment (store, disk, memory). It may be good."""


class Model(Protocol):
    """Weights in memory."""

    names: tuple[str, ...]  # class index → name
    batch: int  # images that it likes to take at once

    def submit(self, image: Image, confidence: float) -> "Future[Detections]":
        """Detect everything of at least this confidence. The future fails with ModelError."""


class Loader(Protocol):
    """Makes models of files."""

    def load(self, path: Path) -> Model:
        """A version's weights, verified. Raises ModelError if they are no model that can be served, NotNow."""

    def load_base(self, weights: str) -> Model:
        """The operator's weights: a file, or a name that can be downloaded. Raises ModelError, NotNow."""


@dataclass(frozen=True, slots=True)
class Served:
    """What one control is served with during one request."""

    model: Model
    version: str  # "v12", "base-yolo11n"
    trained: bool  # False: base weights, which never saw this project


class Models(Protocol):
    """Where served models come from."""

    def serving(self, uid: str, control: str, deadline: float) -> Served:
        """`deadline` is a time.monotonic() value. Raises DeadlineExceeded, ModelError, NotNow, StoreError."""


class Images(Protocol):
    """Where images come from."""

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        """The bytes behind a task's value. `deadline` is a time.monotonic() value. Raises ImageError."""
