"""The page in a real browser: keyboard, phone, dark, without JavaScript; nothing loaded from elsewhere or refused."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, request
from playwright.sync_api import Page
from werkzeug.serving import make_server

from functions.train_trigger.ui.routes import Ui
from shared.settings import Settings
from shared.state.registry import Registry
from shared.web.http import Function
from tests.fakes.ui_parts import SETTINGS, world_with
from tests.samples.shown_projects import AIRSHIPS, TREES, fill
from tests.servers.browser import CHROMIUM, empty_page, keep

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[str, Registry]]:
    """The page's address, and the versions of a project that it shows."""
    world = world_with(tmp_path)
    fill(world.store)
    settings = Settings.from_environ(SETTINGS | {"LABELLOOP_PRICE_PER_HOUR": "0.80 EUR"})
    ui = Ui(settings, world.store, world.trigger, world.label_studio, lambda _uid: None)
    function, app = Function(ui.routes(), settings), Flask("page")
    for rule in ("/", "/<path:path>"):
        app.add_url_rule(rule, rule, lambda path="": function(request), methods=["GET", "POST"])
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}", Registry(world.store, TREES)
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_person_rolls_back_by_keyboard_and_sees_it_on_a_phone_in_the_dark(
    place: tuple[str, Registry], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    (url, registry), folder = place, request.config.getoption("--ui-pictures", default=None) or tmp_path
    with empty_page() as page:
        refused: list[str] = []
        page.on("console", lambda said: refused.append(said.text) if said.type in ("error", "warning") else None)
        page.on("request", lambda asked: refused.append(asked.url) if not asked.url.startswith(url) else None)

        page.goto(f"{url}/ui")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.get_by_role("link", name="Trees of Yellowstone").focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Trees of Yellowstone").wait_for()
        keep(page.screenshot(full_page=True), folder / "page.png")
        summary = page.locator("summary", has_text="rejected").first
        summary.focus()
        page.keyboard.press("Enter")
        assert page.get_by_text("is not above").first.is_visible()

        page.get_by_role("link", name="serve v9").focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Serve v9").focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="v9 is served").wait_for()
        named = registry.pointer("label")
        assert named is not None
        assert (named.version, named.reason) == (9, "rollback")

        page.set_viewport_size({"width": 360, "height": 740})
        page.emulate_media(color_scheme="dark")
        for address in (f"{url}/ui", f"{url}/ui/project?project={TREES}", f"{url}/ui/project?project={AIRSHIPS}"):
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, address
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 27)"
        keep(page.screenshot(), folder / "page-phone.png")
        assert refused == []


def test_the_page_renews_itself_and_keeps_what_is_open(place: tuple[str, Registry]) -> None:
    url, registry = place
    with empty_page() as page:
        page.goto(f"{url}/ui/project?project={TREES}")
        page.locator("summary").nth(3).click()
        registry.promote("label", 4, fence=10**6, run_id="somebody", expected=10, reason="rollback")
        page.get_by_text("v4 (rollback)").wait_for()
        assert page.locator("details").nth(3).get_attribute("open") is not None


def test_it_needs_no_javascript(place: tuple[str, Registry]) -> None:
    url, registry = place
    with empty_page() as page:
        plain: Page = page.context.browser.new_context(java_script_enabled=False).new_page()  # type: ignore[union-attr]
        plain.goto(f"{url}/ui/rollback?project={TREES}&control=label&version=3")
        plain.get_by_role("button", name="Serve v3").click()
        plain.get_by_role("heading", name="v3 is served").wait_for()
        named = registry.pointer("label")
        assert named is not None
        assert named.version == 3
