"""Wiring of train_trigger. functions-framework loads this file by its path, as the module `main`."""

import os
import sys
from collections.abc import MutableMapping

import flask

from functions.train_trigger.launchers import open_launcher
from functions.train_trigger.metrics import Metrics
from functions.train_trigger.notices.post import poster
from functions.train_trigger.notices.sender import Sender
from functions.train_trigger.predict_proxy import PredictProxy
from functions.train_trigger.routes import Routes
from functions.train_trigger.threads import ProcessThreads
from functions.train_trigger.trigger import Trigger
from functions.train_trigger.ui.routes import Ui
from functions.train_trigger.warm_up import WarmUp
from shared import tracing
from shared.errors import SettingsError
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.predict_body import MAX_PREDICT_BODY
from shared.logs import configure_logs
from shared.objectstore import open_store
from shared.settings import Settings
from shared.web.backend import Backend
from shared.web.http import Function, Route
from shared.web.server import set_up_server


def _build(settings: Settings, environ: MutableMapping[str, str]) -> Function:
    label_studio = LabelStudio(*settings.label_studio())
    settings.require_access_rules()
    configure_logs(settings.log_level)
    tracing.configure("labelloop-train-trigger", settings.otel_endpoint)
    threads = set_up_server(environ)
    store = open_store(settings.store, s3_endpoint=settings.s3_endpoint)
    metrics = Metrics()
    trigger = Trigger(store, label_studio, open_launcher(settings, environ), settings, metrics)
    warm_up = WarmUp(settings, store, metrics)
    clock = ProcessThreads()
    notices = Sender(store, settings, metrics, clock, poster(settings) if settings.notify_url else None)
    routes = Routes(store, trigger, warm_up, metrics, clock, debounce=settings.debounce, notices=notices)
    backend = Backend(settings, store, on_setup=lambda uid, _controls: warm_up.ask(uid))
    predictions = PredictProxy(settings, metrics, backend.pointers, wake=warm_up.ask)
    ui = Ui(settings, store, trigger, label_studio, routes.look_soon)

    return Function(
        [
            *backend.routes(),
            Route("POST", "/predict", "basic", predictions.predict, streams=MAX_PREDICT_BODY, waits=True),
            Route("POST", "/", "basic or secret", routes.webhook),
            Route("POST", "/webhook", "basic or secret", routes.webhook),
            Route("POST", "/train", "basic", routes.train),
            Route("POST", "/prelabel", "basic", routes.prelabel),
            Route("POST", "/stop", "basic", routes.stop),
            Route("POST", "/job_status", "basic", routes.job_status),
            Route("POST", "/sweep", "basic or secret", routes.sweep),
            Route("GET", "/metrics", "basic or secret", routes.metrics),
            *ui.routes(),
        ],
        settings,
        registry=metrics.registry,
        threads=threads,
    )


try:
    _function = _build(Settings.from_environ(os.environ), os.environ)
except SettingsError as error:
    sys.exit(f"train_trigger cannot start: {error}")


def train_trigger(request: flask.Request) -> flask.Response:
    """The function's entry."""
    return _function(request)
