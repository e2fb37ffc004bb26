"""Wiring of train_trigger. Loaded by path as the module `main`; nobody imports it."""

import os
import sys

import flask

from functions.train_trigger.launchers import open_launcher
from functions.train_trigger.metrics import Metrics
from functions.train_trigger.routes import Routes
from functions.train_trigger.trigger import Trigger
from shared.backend import Backend
from shared.errors import SettingsError
from shared.http import Function, Route, forward
from shared.labelstudio.api import LabelStudio
from shared.logs import configure_logs
from shared.objectstore import open_store
from shared.settings import Settings

_FORWARD_MARGIN = 5.0  # seconds that the other function may take beyond its own deadline


def _build(settings: Settings) -> Function:
    settings.require("label_studio_url", "label_studio_api_key")
    settings.require_access_rules()
    assert settings.label_studio_url is not None
    assert settings.label_studio_api_key is not None
    configure_logs(settings.log_level)
    store = open_store(settings.store, s3_endpoint=settings.s3_endpoint)
    label_studio = LabelStudio(settings.label_studio_url, settings.label_studio_api_key.get_secret_value())
    metrics = Metrics()
    trigger = Trigger(store, label_studio, open_launcher(settings, os.environ), settings, metrics)
    routes = Routes(store, trigger, metrics, debounce=settings.debounce)

    def predict(request: flask.Request) -> flask.Response:
        timeout = settings.predict_deadline + _FORWARD_MARGIN
        return forward(request, settings.predict_url, "PREDICT_URL", timeout)

    return Function(
        [
            *Backend(settings, store).routes(),
            Route("POST", "/predict", "basic", predict),
            Route("POST", "/", "basic or secret", routes.webhook),
            Route("POST", "/webhook", "basic or secret", routes.webhook),
            Route("POST", "/train", "basic", routes.train),
            Route("POST", "/job_status", "basic", routes.job_status),
            Route("POST", "/sweep", "basic or secret", routes.sweep),
            Route("GET", "/metrics", "basic or secret", routes.metrics),
        ],
        settings,
        observe=metrics.answered,
    )


try:
    _function = _build(Settings.from_environ(os.environ))
except SettingsError as error:
    sys.exit(f"train_trigger cannot start: {error}")


def train_trigger(request: flask.Request) -> flask.Response:
    """The function's entry."""
    return _function(request)
