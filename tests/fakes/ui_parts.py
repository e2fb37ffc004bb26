"""The page of a trigger between fakes, asked as a browser asks it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from flask import Flask, request
from werkzeug.test import TestResponse

from functions.train_trigger.ui.routes import Ui
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.web.http import Function
from tests.fakes.trigger_parts import World

ORIGIN = "https://labelloop.example"
TOKEN = "4f0c" * 10  # of Label Studio
SETTINGS = {"HOST": "127.0.0.1", "LABEL_STUDIO_URL": "http://127.0.0.1:8080", "LABEL_STUDIO_API_KEY": TOKEN}
PREFIX = "/tools/labelloop"
"""What a proxy puts before the function's paths, and takes away again."""


@dataclass
class Seen(HTMLParser):
    """What a page holds."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    data: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.data += data

    @property
    def text(self) -> str:
        return " ".join(self.data.split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def links(self) -> Iterator[str]:
        for _, attributes in self.elements:
            yield from (found for name in ("href", "src", "action") if (found := attributes.get(name)))


def seen(answer: TestResponse) -> Seen:
    page = Seen()
    page.feed(answer.text)
    return page


class Browser:
    """Asks the page behind a proxy, keeps nothing."""

    def __init__(self, world: World, store: ObjectStore | None = None, /, **settings: str) -> None:
        self.looked_at: list[str] = []
        parsed = evolve(Settings.from_environ(SETTINGS | settings), push="on")
        ui = Ui(parsed, store or world.store, world.trigger, world.label_studio, self.looked_at.append)
        function, app = Function(ui.routes(), parsed), Flask("page")

        def answer(path: str = "") -> Any:  # as functions-framework does
            return function(request)

        for rule in ("/", "/<path:path>"):
            app.add_url_rule(rule, rule, answer, methods=["GET", "POST"])
        self._client = app.test_client()

    def get(self, path: str, headers: dict[str, str] | None = None, /, **query: object) -> TestResponse:
        address = path + (f"?{urlencode(query)}" if query else "")
        return self._client.get(address, headers=headers, base_url="http://127.0.0.1")

    def follow(self, page: str, link: str) -> tuple[str, TestResponse]:
        """The address of a link on a page (both with the proxy's prefix), and its answer."""
        address = urlsplit(urljoin(f"{ORIGIN}{page}", link))
        assert f"{address.scheme}://{address.netloc}" == ORIGIN, f"{link} leads elsewhere"
        assert address.path.startswith(f"{PREFIX}/ui"), f"{link} on {page} leads out of the page"
        query = f"?{address.query}" if address.query else ""
        return f"{address.path}{query}", self._client.get(
            f"{address.path.removeprefix(PREFIX)}{query}", base_url="http://127.0.0.1"
        )

    def post(self, path: str, headers: dict[str, str] | None = None, /, **form: object) -> TestResponse:
        return self._client.post(path, data=form, headers=headers, base_url="http://127.0.0.1")

    def form(self, path: str, /, **query: object) -> dict[str, str]:
        """Ask for a form; answers its fields."""
        asked = self.get(path, None, **query)
        assert asked.status_code == 200, asked.text
        return {str(one["name"]): one["value"] or "" for one in seen(asked).all("input")}

    def press(self, path: str, headers: dict[str, str] | None = None, /, **query: object) -> TestResponse:
        """Ask for a form, and send it as it is."""
        fields = self.form(path, **query)
        return self.post(path, {"Origin": "http://127.0.0.1"} if headers is None else headers, **fields)


def world_with(folder: Path, **settings: Any) -> World:
    world = World(folder, **settings)
    world.label_studio.annotations = 20
    return world
