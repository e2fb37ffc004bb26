"""A process of predict in memory, whose clock of pauses a test moves on."""

from dataclasses import replace
from pathlib import Path

from functions.predict.live_models import LiveModels
from shared.labelstudio.config import parse_label_config
from shared.objectstore import ObjectStore
from shared.prediction.metrics import Metrics
from shared.prediction.weights import WeightsCache
from shared.settings import Settings
from shared.state.registry import Registry
from shared.web.backend import Backend
from shared.yolo_task import YoloTask
from tests.fakes.predict_parts import FAR, UID, FakeLoader, label_config

CONTROLS = parse_label_config(label_config())


class Parts:
    """A process of predict, without HTTP and torch."""

    def __init__(
        self,
        store: ObjectStore,
        folder: Path,
        *,
        max_age: float = 0.0,
        keep: int = 4,
        bytes_: int = 10**6,
        base: str = "Thing",
        more: str = "",
        patience: float = 60.0,
        loader: FakeLoader | None = None,
    ):
        """`base`: content of the base weights; `more`: of a second file of them, for segment."""
        self.now = 0.0  # of the clock of pauses
        first, second = folder / "base.pt", folder / "base-seg.pt"
        first.write_text(base)
        second.write_text(more)
        weights = f"{first},{second}" if more else str(first)
        self.store = store
        self.settings = Settings.model_validate(
            {"LABELLOOP_POINTER_MAX_AGE": max_age, "LABELLOOP_BASE_WEIGHTS": weights}
        )
        self.backend = Backend(self.settings, store)
        self.loader = loader or FakeLoader()
        self.metrics = Metrics()
        self.cache = folder / "cache"
        self.models = LiveModels(
            self.backend.pointers,
            lambda uid: Registry(store, uid),
            WeightsCache(self.cache, bytes_),
            self.loader,
            self.metrics,
            base_weights=weights,
            keep=keep,
            clock=lambda: self.now,
            patience=patience,
        )

    def serve(self, control: str = "label", yolo_task: YoloTask = "detect") -> tuple[str, tuple[str, ...]]:
        """(version, class names) of what is served now."""
        served = self.models.serving(UID, replace(CONTROLS[0], name=control, yolo_task=yolo_task), FAR)
        return served.version, served.model.names

    @property
    def answered_by_setup(self) -> str:
        return self.backend.model_version(UID, CONTROLS)

    def value(self, metric: str) -> float | None:
        return self.metrics.registry.get_sample_value(metric)


def stored_weights(tmp_path: Path, sha256: str) -> Path:
    (found,) = (tmp_path / "store").rglob(f"{sha256}/weights.onnx")
    return found
