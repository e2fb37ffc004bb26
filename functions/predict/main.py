"""Wiring of predict. functions-framework loads it by path as the module `main`; no other module imports it."""

import os
import sys
import time
from collections.abc import Callable, Iterable, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import flask

from functions.predict.answer_text import answer_text
from shared.cores import usable_cores
from shared.errors import SettingsError
from shared.imports import undo_failed_import
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.predict_body import MAX_PREDICT_BODY
from shared.labelstudio.requests import PredictRequest
from shared.logs import configure_logs
from shared.media.fetch import ImageFetcher
from shared.objectstore import ObjectStore, open_store
from shared.prediction.metrics import Metrics
from shared.settings import Settings
from shared.state.registry import Registry
from shared.state.versions import DEFAULT_SHOWN
from shared.web.backend import Backend
from shared.web.bodies import chunks_of
from shared.web.forwarding import HELD_HEADER, forward, seconds_left
from shared.web.http import Function, Route
from shared.web.server import set_up_server
from shared.yolo.environment import ultralytics_environ

Predict = Callable[[PredictRequest, float], Iterable[Any]]
"""(request, deadline as time.monotonic()) → one item a task, each as soon as it is ready."""

_FORWARD_TIMEOUT = 10.0  # seconds to wait for the other function; Label Studio waits less


def _build(settings: Settings, environ: MutableMapping[str, str]) -> Function:
    settings.require_access_rules()
    configure_logs(settings.log_level)
    threads = set_up_server(environ)
    store = open_store(settings.store, s3_endpoint=settings.s3_endpoint)
    metrics = Metrics()
    if settings.dummy:
        from functions.predict.dummy import predict_dummy

        backend = Backend(settings, store)
        return _function(settings, backend, metrics, threads, lambda call, _deadline: predict_dummy(call))
    return _build_serving(settings, store, metrics, environ, threads)


def _build_serving(
    settings: Settings, store: ObjectStore, metrics: Metrics, environ: MutableMapping[str, str], threads: int
) -> Function:
    from functions.predict.live_models import LiveModels
    from shared.prediction.images import TaskImages
    from shared.prediction.model.loader import GraphLoader
    from shared.prediction.one_task import TaskRunner
    from shared.prediction.predictor import Predictor
    from shared.prediction.video.predictor import VideoPredictor
    from shared.prediction.weights import WeightsCache

    cache_dir = Path(settings.cache_dir)
    environ.update(ultralytics_environ(cache_dir / "ultralytics"))
    backend = Backend(settings, store, on_setup=lambda uid, controls: models.prepare(uid, controls))
    weights = WeightsCache(cache_dir / "weights", settings.cache_bytes)
    models = LiveModels(
        backend.pointers,
        partial(Registry, store),
        weights,
        GraphLoader(
            device=settings.device,
            threads=settings.threads,
            float32=settings.precision == "float32",
            iou=DEFAULT_SHOWN.iou if settings.iou is None else settings.iou,
            image_size=settings.image_size,
            max_objects=settings.max_objects,
            base_graph=partial(weights.base_path, store),
        ),
        metrics,
        base_weights=settings.base_weights,
        keep=settings.loaded_models,
    )
    label_studio = None
    if settings.label_studio_url and settings.label_studio_api_key:
        label_studio = LabelStudio(settings.label_studio_url, settings.label_studio_api_key.get_secret_value())
    images = TaskImages(
        ImageFetcher(settings, label_studio),
        partial(_decode, max_pixels=settings.image_max_pixels),
        metrics,
        fetch_concurrency=settings.fetch_concurrency,
        decode_concurrency=max(usable_cores() // 2, 1),
    )
    videos = VideoPredictor(
        ImageFetcher(settings, label_studio, limit="video_max_bytes"), max_pixels=settings.image_max_pixels
    )
    runner = TaskRunner(images, videos, metrics)
    predictor = Predictor(models, runner, metrics, backend.settings_for, threads=settings.fetch_concurrency)
    return _function(settings, backend, metrics, threads, predictor.each)


def _decode(data: bytes, max_pixels: int) -> Any:
    with undo_failed_import("cv2"):
        from shared.media.decode import decode  # importing OpenCV takes 0.25 s: not before the first image

    return decode(data, max_pixels)


def _function(settings: Settings, backend: Backend, metrics: Metrics, threads: int, predict: Predict) -> Function:
    def predict_tasks(request: flask.Request) -> flask.Response:
        call = PredictRequest.receive(chunks_of(request))
        deadline = time.monotonic() + seconds_left(request, settings.predict_deadline)  # the caller waits from now on
        pieces = list(answer_text(predict(call, deadline)))
        response = flask.Response(iter(pieces), mimetype="application/json")
        response.content_length = sum(map(len, pieces))
        response.headers[HELD_HEADER] = backend.pointers.held_header(call.project)
        return response

    def hand_over(request: flask.Request) -> flask.Response:
        return forward(request, settings.train_trigger_url, "TRAIN_TRIGGER_URL", _FORWARD_TIMEOUT)

    return Function(
        [
            *backend.routes(),
            Route("POST", "/predict", "basic", predict_tasks, streams=MAX_PREDICT_BODY, waits=True),
            Route("GET", "/metrics", "basic or secret", metrics.answer),
            Route("POST", "/", "basic or secret", hand_over, waits=True),
            Route("POST", "/webhook", "basic or secret", hand_over, waits=True),
            Route("POST", "/train", "basic", hand_over, waits=True),
            Route("POST", "/job_status", "basic", hand_over, waits=True),
        ],
        settings,
        registry=metrics.registry,
        threads=threads,
    )


try:
    _predict = _build(Settings.from_environ(os.environ), os.environ)
except SettingsError as error:
    sys.exit(f"predict cannot start: {error}")


def predict(request: flask.Request) -> flask.Response:
    """The entry point of functions-framework."""
    return _predict(request)
