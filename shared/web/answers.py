"""Responses in JSON."""

import json
from collections.abc import Mapping
from typing import Any

from flask import Response


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with `body` as JSON."""
    return Response(json.dumps(body), status, headers, mimetype="application/json")
