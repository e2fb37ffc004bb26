"""Label Studio's own pages in a real browser, and pictures of them."""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import FloatRect, Page, ViewportSize, sync_playwright

from infra.local.label_studio import LabelStudioServer

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PAGE: ViewportSize = {"width": 1024, "height": 720}
SHOWN: FloatRect = {"x": 240, "y": 48, "width": 784, "height": 672}
"""Of a page of that size, without header and list of tasks."""
_FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


@contextmanager
def empty_page() -> Iterator[Page]:
    """A browser of its own."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        page = running.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(60_000)
        yield page
        running.close()


@contextmanager
def browser(server: LabelStudioServer) -> Iterator[Page]:
    """A page that is logged in."""
    with empty_page() as page:
        page.goto(f"{server.url}/user/login/")
        page.fill("input[name=email]", server.account.username)
        page.fill("input[name=password]", server.account.password)
        page.get_by_role("button", name="Log In").click()
        page.wait_for_url(lambda url: "login" not in url)
        yield page


def open_task(page: Page, server: LabelStudioServer, project: int, task: int, model_version: str) -> None:
    """A task in the labeling view: a tab names the model version, its regions wait for Submit with their scores."""
    page.goto(f"{server.url}/projects/{project}/data?task={task}")
    page.locator(".lsf-annotation-button__name", has_text=model_version).wait_for()
    page.get_by_role("button", name="Submit").wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(2_000)  # the canvas says to nobody when it has drawn the picture


def keep(screenshot: bytes, picture: Path) -> None:
    """A small PNG: 64 colors do for a page."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    page = Image.open(io.BytesIO(screenshot)).convert("RGB")
    page.quantize(64, dither=Image.Dither.NONE).save(picture, optimize=True)
