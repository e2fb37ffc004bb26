"""Calls of the routes that both functions answer themselves."""

import json
from typing import Any

from flask import Flask

from shared.settings import Settings
from shared.web.backend import Backend
from shared.web.http import Function
from tests.fakes.predict_parts import UID, label_config

SECRET = "0123456789abcdef0123456789abcdef01234567"


def ask(backend: Backend, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """Calls the backend through routes and access rules, as from loopback."""
    function = Function(backend.routes(), Settings.model_validate({"HOST": "127.0.0.1"}))
    with Flask("test").test_request_context(path, method=method, data=json.dumps(body)) as context:
        response = function(context.request)
    return response.status_code, response.get_json()


def settings(**changes: object) -> Settings:
    return Settings.model_validate({"LABELLOOP_BASE_WEIGHTS": "/models/tree-base.pt", **changes})


def setup_body(config: str | None = None, extra_params: object = None) -> dict[str, object]:
    return {
        "project": UID,
        "schema": config or label_config(),
        "hostname": "http://evil.example",
        "access_token": SECRET,
        "extra_params": extra_params,
    }
