"""Requests to a function's routes, from outside or from this machine."""

import base64
import io
from typing import Any

from flask import Flask, Request
from prometheus_client import CollectorRegistry

from shared.settings import Settings
from shared.web.access import Access
from shared.web.answers import answer
from shared.web.http import Function, Route

OUTSIDE = {"HOST": "0.0.0.0", "LABELLOOP_BASIC_AUTH_PASSWORD": "pass word", "LABELLOOP_WEBHOOK_SECRET": "secret"}
LOOPBACK = {"HOST": "127.0.0.1"}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


RIGHT = basic("labelloop", "pass word")


def ask(
    environ: dict[str, str],
    access: Access = "basic",
    *,
    path: str = "/x",
    method: str = "GET",
    raises: Exception | None = None,
    headers: dict[str, str] | None = None,
    connection: object = None,
) -> tuple[int, dict[str, Any], list[tuple[str, int]]]:
    registry = CollectorRegistry()

    def handler(_: Request) -> object:
        if raises is not None:
            raise raises
        return answer({"ok": True})

    function = Function(
        [Route("GET", "/x", access, handler)],  # type: ignore[arg-type]
        Settings.from_environ(environ),
        registry=registry,
    )
    environ_overrides = {"gunicorn.socket": connection} if connection else {}
    with Flask("test").test_request_context(
        path, method=method, headers=headers, environ_overrides=environ_overrides
    ) as context:
        response = function(context.request)
    counted = [
        (sample.labels["route"], int(sample.labels["status"]))
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "labelloop_http_requests_total" and sample.value == 1
    ]
    return response.status_code, response.get_json(), counted


class Unread(io.BytesIO):
    """A body that must not be read."""

    def read(self, size: int | None = -1) -> bytes:
        raise AssertionError("the body is read")

    readinto = read  # type: ignore[assignment]
