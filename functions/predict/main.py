"""Wiring of predict. functions-framework loads it by path as the module `main`; no other module imports it.

Only what `/health` needs is imported here, the rest after the first request, so that the process starts fast.
"""

import os

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would look for them in all packages: 0.1 s

import sys
import time
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import flask

from functions.predict.answer_text import answer_text
from functions.predict.soon import Soon
from shared import tracing
from shared.errors import SettingsError
from shared.labelstudio.controls import Control
from shared.labelstudio.predict_body import MAX_PREDICT_BODY
from shared.labelstudio.requests import PredictRequest, project_id
from shared.logs import configure_logs
from shared.objectstore import ObjectStore, open_store
from shared.prediction.metrics import Metrics
from shared.prediction.unanswered import Unanswered, noting_first
from shared.settings import Settings
from shared.web.backend import Backend
from shared.web.bodies import chunks_of
from shared.web.http import Function, Route
from shared.web.server import set_up_server

if TYPE_CHECKING:
    from functions.predict.serving import Serving

Predict = Callable[[PredictRequest, float], Iterable[Any]]
"""(request, deadline as time.monotonic()) → one item a task, each as soon as it is ready."""
Answer = Callable[[flask.Request], flask.Response]

_FORWARD_TIMEOUT = 10.0  # seconds to wait for the other function; Label Studio waits less


def _build(settings: Settings, environ: MutableMapping[str, str]) -> Answer:
    settings.require_access_rules()
    configure_logs(settings.log_level)
    tracing.configure("labelloop-predict", settings.otel_endpoint)
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
) -> Answer:
    """Build the part that predicts. Its imports are slow, so they begin after the first request was answered."""

    def build() -> "Serving":
        from functions.predict.serving import build_serving

        return build_serving(settings, store, metrics, environ, backend)

    def prepare(uid: str, controls: Sequence[Control]) -> None:
        serving.begin().add_done_callback(lambda made: made.result().prepare(uid, controls))

    def predict(call: PredictRequest, deadline: float) -> Iterable[Any]:
        return serving.begin().result().predict(call, deadline)

    def answer(request: flask.Request) -> flask.Response:
        response = function(request)
        serving.begin()
        return response

    serving = Soon(build)
    backend = Backend(settings, store, on_setup=prepare)
    function = _function(settings, backend, metrics, threads, predict)
    return answer


def _function(settings: Settings, backend: Backend, metrics: Metrics, threads: int, predict: Predict) -> Function:
    def predict_tasks(request: flask.Request) -> flask.Response:
        from shared.web.forwarding import EMPTY_HEADER, HELD_HEADER, empty_header, seconds_left

        call = PredictRequest.receive(chunks_of(request))
        project_id(call.project)  # checks the uid: it is in the store's keys, and in a header of the answer
        deadline = time.monotonic() + seconds_left(request, settings.predict_deadline)  # the caller waits from now on
        empty: list[Unanswered] = []
        pieces = list(answer_text(noting_first(predict(call, deadline), empty)))
        response = flask.Response(iter(pieces), mimetype="application/json")
        response.content_length = sum(map(len, pieces))
        response.headers[HELD_HEADER] = backend.pointers.held_header(call.project)
        if empty:
            response.headers[EMPTY_HEADER] = empty_header(empty[0].reason, empty[0].message)
        return response

    def hand_over(request: flask.Request) -> flask.Response:
        from shared.web.forwarding import forward

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
