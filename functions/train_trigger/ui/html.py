"""Fills the templates, and answers them with headers that let a browser load and send nothing elsewhere."""

import hashlib
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from functions.train_trigger.status import words
from shared.readable import readable

_FOLDER = Path(__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser does not say where a form came from
    "X-Content-Type-Options": "nosniff",
}


class Html:
    """The templates, and the files beside them. Thread-safe."""

    def __init__(self) -> None:
        self._files = {file.name: file.read_bytes() for file in (_FOLDER / "static").iterdir()}
        self._templates = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals |= {"words": words}
        self._templates.filters |= {"readable": readable}
        digests = {name: hashlib.sha256(data).hexdigest()[:12] for name, data in self._files.items()}
        self._names = {name: f"{name}?{digest}" for name, digest in digests.items()}
        with suppress(RuntimeError):  # without a thread each is compiled when it is first filled
            threading.Thread(target=self._compile, name="templates", daemon=True).start()

    def _compile(self) -> None:
        """While the first page waits for the store: compiling takes as long as a question to it."""
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    def page(self, request: Request, template: str, *, status: int = 200, refresh: int = 0, **values: Any) -> Response:
        """A page. `refresh`: seconds after which it asks for itself again; 0: never."""
        depth = request.path.removeprefix("/ui").count("/")
        text = self._templates.get_template(template).render(
            # Relative, since a proxy may put a prefix before /ui.
            base="../" * (depth - 1) if depth else "ui/",
            home="../" * depth + "ui",
            files=self._names,
            refresh=refresh,
            read_at=datetime.now(UTC),
            **values,
        )
        return Response(text, status, _HEADERS, mimetype="text/html")

    def file(self, name: str) -> Response:
        """A file beside the templates: pages name it with its digest, so browsers may keep it."""
        headers = _HEADERS | {"Cache-Control": "private, max-age=604800"}
        return Response(self._files[name], 200, headers, mimetype=_TYPES[Path(name).suffix])

    def foreign(self, data: bytes, policy: str) -> Response:
        """A page that another program made, under a policy of its own."""
        return Response(data, 200, _HEADERS | {"Content-Security-Policy": policy}, mimetype="text/html")
