"""The routes of the page. What answers them is imported when somebody first asks: the webhook starts without it."""

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

from flask import Request, Response

from functions.train_trigger.trigger import Trigger
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.web.http import Route

if TYPE_CHECKING:
    from functions.train_trigger.status.counting import LabelStudio
    from functions.train_trigger.ui.pages import Pages

_ROUTES: tuple[tuple[Literal["GET", "POST"], str], ...] = (
    ("GET", "/ui"),
    ("GET", "/ui/project"),
    ("GET", "/ui/control"),
    ("GET", "/ui/report"),
    ("GET", "/ui/suspects"),
    ("GET", "/ui/train"),
    ("POST", "/ui/train"),
    ("GET", "/ui/rollback"),
    ("POST", "/ui/rollback"),
    ("GET", "/ui/prelabel"),
    ("POST", "/ui/prelabel"),
    ("GET", "/ui/stop"),
    ("POST", "/ui/stop"),
    ("GET", "/ui/stop-writing"),
    ("POST", "/ui/stop-writing"),
)
_FILES = ("style.css", "refresh.js", "icon.svg")


class Ui:
    """Every route needs Basic auth. Those that ask the store share half of the threads with whatever else waits."""

    def __init__(
        self,
        settings: Settings,
        store: ObjectStore,
        trigger: Trigger,
        label_studio: "LabelStudio",
        look_soon: Callable[[str], None],
    ) -> None:
        """`look_soon(uid)` reconciles a project on another thread."""
        self._parts = settings, store, trigger, label_studio, look_soon
        self._lock = threading.Lock()
        self._pages: Pages | None = None

    def routes(self) -> list[Route]:
        """The routes of the page."""
        pages = [Route(method, path, "basic", partial(self._page, path), waits=True) for method, path in _ROUTES]
        return pages + [Route("GET", f"/ui/{name}", "basic", partial(self._file, name)) for name in _FILES]

    def _page(self, path: str, request: Request) -> Response:
        return self._loaded().answer(path.removeprefix("/ui").strip("/") or "projects", request)

    def _file(self, name: str, _request: Request) -> Response:
        return self._loaded().file(name)

    def _loaded(self) -> "Pages":
        with self._lock:
            if self._pages is None:
                from functions.train_trigger.ui.pages import Pages

                self._pages = Pages(*self._parts)
            return self._pages
