"""What the tests of predict share: published versions, a model and a loader of ten lines, the function itself."""

import io
import math
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from infra.local.label_studio import REPOSITORY
from infra.local.processes import LOOPBACK, Child, choose_port
from shared.errors import ModelError
from shared.geometry.detections import Detections
from shared.geometry.tiles import Tiling
from shared.objectstore import ObjectStore
from shared.prediction.ports import Image
from shared.state.registry import Registry
from shared.state.versions import GRAPH, Gate, Manifest, Shown
from shared.yolo_task import YoloTask

UID = "1.1795332051"  # of the recorded requests
_MAIN = REPOSITORY / "functions" / "predict" / "main.py"
FAR = time.monotonic() + 10**6
"""A deadline that never comes."""


def label_config(*controls: str, labels: tuple[str, ...] = ("Tree", "Person")) -> str:
    """One image, and a RectangleLabels control of each name (`label` if none is given) with all labels."""
    inner = "".join(f'<Label value="{label}"/>' for label in labels)
    tags = "".join(
        f'<RectangleLabels name="{name}" toName="image">{inner}</RectangleLabels>' for name in controls or ("label",)
    )
    return f'<View><Image name="image" value="$image"/>{tags}</View>'


def jpeg(width: int = 64, height: int = 48) -> bytes:
    """A small image file."""
    file = io.BytesIO()
    Pillow.new("RGB", (width, height), "green").save(file, "JPEG")
    return file.getvalue()


def boxes(*rows: tuple[float, float, float, float, float, int], names: tuple[str, ...] = ("Tree",)) -> Detections:
    """Detections in a 64×48 image; a row is x1, y1, x2, y2, score, class."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Detections(64, 48, table[:, :4], table[:, 4], table[:, 5].astype(np.int64), names)


@dataclass(eq=False, slots=True)
class FakeModel:
    """Finds the same in every image, at once or when `finish` is called. Keeps what it saw."""

    names: tuple[str, ...] = ("Tree",)
    batch: int = 1
    yolo_task: YoloTask = "detect"
    image_size: int = 640
    tiling: Tiling | None = None
    finds: Detections = field(default_factory=lambda: boxes((8, 8, 32, 24, 0.9, 0)))
    at_once: bool = True
    waiting: "list[tuple[Future[Detections], tuple[int, int]]]" = field(default_factory=list)  # height, width
    seen: list[tuple[int, ...]] = field(default_factory=list)  # shapes
    confidences: list[float] = field(default_factory=list)
    asked: list[tuple[float | None, float | None]] = field(default_factory=list)  # iou, outlined_from
    cut: list[tuple[Tiling | None, float]] = field(default_factory=list)  # how, and the deadline

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
        self.confidences.append(confidence)
        self.asked.append((iou, outlined_from))
        self.cut.append((tiling, deadline))
        future: Future[Detections] = Future()
        self.waiting.append((future, whole or (image.shape[0], image.shape[1])))
        self.seen.append(image.shape)
        if self.at_once:
            self.finish()
        return future

    def finish(self) -> None:
        """Answer everything that waits."""
        while self.waiting:
            future, (height, width) = self.waiting.pop()
            if future.set_running_or_notify_cancel():
                future.set_result(replace(self.finds, width=width, height=height))


class FakeLoader:
    """A "graph" file holds the names of its classes; one that begins with "broken" cannot be loaded.

    The names may follow a YOLO task: "segment:Tree,Road".
    """

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def load(self, path: Path) -> FakeModel:
        text = path.read_text()
        self.loaded.append(text)
        if text.startswith("broken"):
            raise ModelError(f"{path.name} is no model")
        yolo_task, _, names = text.rpartition(":")
        return FakeModel(names=tuple(names.split(",")), yolo_task=yolo_task or "detect")  # type: ignore[arg-type]

    def load_base(self, weights: str) -> FakeModel:
        return self.load(Path(weights))


def publish(
    store: ObjectStore,
    weights: Path,
    *,
    control: str = "label",
    labels: tuple[str, ...] = ("Tree",),
    uid: str = UID,
    yolo_task: YoloTask = "detect",
    shown: dict[str, Shown] | None = None,
) -> Manifest:
    """Upload a graph as the control's next version and move the pointer to it."""
    registry = Registry(store, uid)
    entry = registry.upload_file(control, GRAPH, weights)
    gate = Gate(metric="mAP50-95", challenger=None, champion=None, champion_version=None, passed=True, reason="test")
    pointer = registry.pointer(control)
    fence = (pointer.fence if pointer else 0) + 1
    manifest = registry.publish(
        control,
        lambda number: Manifest(
            version=number,
            control=control,
            yolo_task=yolo_task,
            labels=labels,
            files=(entry,),
            metrics={},
            gate=gate,
            shown=shown or {},
            lineage={},
            run_id=f"run-{number}",
            fence=fence,
            created_at=datetime.now(UTC),
        ),
    )
    expected = pointer.version if pointer else None
    registry.promote(control, manifest.version, fence=fence, run_id=manifest.run_id, expected=expected)
    return manifest


@contextmanager
def predict_function(folder: Path, source: Path = _MAIN, /, **variables: str) -> Iterator[str]:
    """The function under functions-framework, in a process of its own, with its log in `folder`; yields its address."""
    port = choose_port()
    child = predict_process(folder, port, source, **variables)
    url = f"http://{LOOPBACK}:{port}"
    try:
        child.wait_until_healthy(f"{url}/health", 60.0, print)
        yield url
    finally:
        child.stop()


def predict_process(folder: Path, port: int, source: Path = _MAIN, /, **variables: str) -> Child:
    """The function on its way up."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LABEL", "THREADS"))} | {
        "HOST": LOOPBACK,
        "LABELLOOP_STORE": (folder / "store").as_uri(),
        "LABELLOOP_CACHE_DIR": str(folder / "cache"),
        "LABELLOOP_THREADS": "1",
        **variables,
    }
    command = [sys.executable, "-m", "functions_framework", "--target", "predict", "--host", LOOPBACK]
    command += ["--source", str(source), "--port", str(port)]
    return Child("predict", command, folder / "predict.log", environ=environ)
