"""What the address or the form of a request asks for."""

from collections.abc import Mapping

from flask import Request

from shared.errors import BadRequest
from shared.labelstudio.requests import project_id

NO_VERSION = "version=N, the number of a version, is missing"


def project_of(request: Request) -> str:
    """The uid of the project that is asked for. Raises BadRequest."""
    given = request.args if request.method == "GET" else request.form
    uid = given.get("project", "")
    project_id(uid)
    return uid


def control_of(request: Request) -> str:
    """The name of the control whose page is asked for. Raises BadRequest."""
    name = request.args.get("control", "")
    if not name:
        raise BadRequest("it does not say of which control: control=… is missing")
    return name


def number_of(given: Mapping[str, str], name: str) -> int | None:
    """The number of a version; None: it is not given. Raises BadRequest."""
    text = given.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise BadRequest(f"{name}={text[:20]!r} is no number of a version")
    return int(text)
