"""The part of predict that answers `/predict`. Imported late: numpy and all that predicts would delay `/health`."""

import logging
import threading
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from functions.predict.live_models import LiveModels
from shared.imports import undo_failed_import
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.controls import Control
from shared.labelstudio.requests import PredictRequest
from shared.media.fit import Side
from shared.objectstore import ObjectStore
from shared.prediction.images import TaskImages
from shared.prediction.metrics import Metrics
from shared.prediction.model.loader import GraphLoader
from shared.prediction.one_task import TaskRunner
from shared.prediction.predictor import Predictor
from shared.prediction.smart.drawing import SmartTools
from shared.prediction.video.predictor import VideoPredictor
from shared.prediction.weights import WeightsCache
from shared.settings import Settings
from shared.state.registry import Registry
from shared.web.backend import Backend
from shared.yolo.environment import prediction_environ

logger = logging.getLogger(__name__)


class Serving(NamedTuple):
    """What predicts."""

    predict: Callable[[PredictRequest, float], Iterable[Any]]  # as Predictor.each
    prepare: Callable[[str, Sequence[Control]], None]  # as LiveModels.prepare


def build_serving(
    settings: Settings, store: ObjectStore, metrics: Metrics, environ: MutableMapping[str, str], backend: Backend
) -> Serving:
    """Build the parts, and begin to import, on a thread, what the first load and the first image need."""
    cache_dir = Path(settings.cache_dir)
    environ.update(prediction_environ(cache_dir))
    weights = WeightsCache(cache_dir / "weights", settings.cache_bytes)
    loader = GraphLoader.of(settings, partial(weights.base_path, store))
    models = LiveModels(
        backend.pointers,
        partial(Registry, store),
        weights,
        loader,
        metrics,
        base_weights=settings.base_weights,
        keep=settings.loaded_models,
    )
    label_studio = LabelStudio(*settings.label_studio()) if settings.label_studio_api_key else None
    images = TaskImages.of(settings, label_studio, _decode, metrics)
    runner = TaskRunner(images, VideoPredictor.of(settings, label_studio), metrics)
    smart = SmartTools(models, images, metrics)
    predictor = Predictor(
        models, runner, metrics, backend.settings_for, threads=settings.fetch_concurrency, smart=smart.draw
    )
    with suppress(RuntimeError):  # no free thread: they are imported when they are needed
        threading.Thread(target=_import_ahead, args=(loader,), name="ahead", daemon=True).start()
    return Serving(predictor.each, models.prepare)


def _decode(data: bytes, max_pixels: int, side: Side) -> Any:
    """As `decode_for`, which is imported with the first image."""
    return _decoder()(data, max_pixels, side)


@cache
def _decoder() -> Callable[[bytes, int, Side], Any]:
    """Import OpenCV, with one thread an image, as several are decoded at a time. Raises ImportError; may be retried."""
    with undo_failed_import("cv2"):
        import cv2

        from shared.media.decode import decode_for
    cv2.setNumThreads(1)
    return decode_for


def _import_ahead(loader: GraphLoader) -> None:
    """Import early what predicting needs. Errors are only logged: the first load or image tries again and reports."""
    try:
        loader.import_engine()
        _decoder()
    except Exception as error:  # noqa: BLE001 - of any library, or no memory
        logger.warning(f"imports failed: {error}", extra={"event": "not_imported_ahead"})
