"""Duration of /setup, /versions, /ui and `labelloop status` with a slow store: `python -m bench.store --json FILE`.

Label Studio waits 3 s for /setup and /versions. Each request to the store takes `--latency` seconds.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from flask import Flask

from bench.predict_parts import write_json
from bench.table import show_sections
from functions.train_trigger.status.project import read_status
from shared.objectstore import ObjectStore, Stored, Token, open_store
from shared.settings import Settings
from shared.state import keys
from shared.state.projects import write_project
from shared.state.registry import Registry
from shared.web.backend import Backend
from shared.web.http import Function
from tests.fakes.ui_parts import Browser, world_with
from tests.samples.versions import manifest

UID = "1.1767225600"
_PAGES = 5  # of which the median is told
_LOADING = 0.5  # seconds


class FarStore:
    """A slow store around another one; counts the requests."""

    def __init__(self, inside: ObjectStore, latency: float) -> None:
        """`latency` of each request in seconds."""
        self._inside = inside
        self._latency = latency
        self._lock = threading.Lock()
        self.trips = 0

    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        """See ObjectStore.get."""
        self._travel()
        return self._inside.get(key, if_changed_from)

    def list(self, prefix: str) -> Iterator[str]:
        """See ObjectStore.list; one request for every thousand keys."""
        keys = list(self._inside.list(prefix))
        for _ in range(0, max(len(keys), 1), 1000):
            self._travel()
        return iter(keys)

    def folders(self, folder: str) -> Iterator[str]:
        """See ObjectStore.folders."""
        self._travel()
        return self._inside.folders(folder)

    def now(self) -> datetime:
        """See ObjectStore.now; no request: a bucket takes it from the Date of its newest response."""
        return self._inside.now()

    def _travel(self) -> None:
        with self._lock:
            self.trips += 1
        time.sleep(self._latency)

    def __getattr__(self, name: str) -> Any:
        self._travel()
        return getattr(self._inside, name)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.04, help="seconds of each request to the store")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    report: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for controls, versions in ((1, 30), (4, 3), (20, 3), (20, 30), (1, 1000)):
            folder = Path(scratch) / f"{controls}-{versions}"
            report[f"{controls} controls, {versions} versions each"] = _measure(
                folder.as_uri(), controls, versions, options.latency, Path(scratch) / f"world-{controls}-{versions}"
            )
    show_sections(report)
    if options.json:
        write_json(options.json, report)


def _measure(url: str, controls: int, versions: int, latency: float, scratch: Path) -> dict[str, float]:
    inside = open_store(url)
    config = _fill(inside, controls, versions)
    figures: dict[str, float] = {}
    far = FarStore(inside, latency)
    settings = Settings.model_validate({"HOST": "127.0.0.1", "LABELLOOP_POINTER_MAX_AGE": 0})
    function = Function(Backend(settings, far).routes(), settings)

    def ask(method: str, path: str, body: dict[str, Any] | None = None) -> None:
        with Flask("bench").test_request_context(path, method=method, json=body) as context:
            status = function(context.request).status_code
        if status != 200:
            raise SystemExit(f"{path} answered {status}")

    def timed(name: str, do: Callable[[], object]) -> None:
        before, started = far.trips, time.perf_counter()
        do()
        figures[f"{name}, s"] = time.perf_counter() - started
        figures[f"{name}, requests to the store"] = far.trips - before

    setup = {"project": UID, "schema": config}
    timed("first /setup", lambda: ask("POST", "/setup", setup))
    timed("next /setup", lambda: ask("POST", "/setup", setup))
    timed("/versions", lambda: ask("GET", "/versions"))
    timed("labelloop status", lambda: read_status(far, UID, Settings()))
    pages = []
    for number in range(_PAGES):
        browser = Browser(world_with(scratch / str(number)), far)
        browser.get("/ui/style.css")
        time.sleep(_LOADING)  # the page's code
        pages.append((_timed_page(browser, far), _timed_page(browser, far)))
    for which, looks in zip(("first", "next"), zip(*pages, strict=True), strict=True):
        seconds, trips = zip(*looks, strict=True)
        figures[f"{which} page of the project, s"] = median(seconds)
        figures[f"{which} page of the project, requests to the store"] = trips[0]
    return figures


def _timed_page(browser: Browser, far: FarStore) -> tuple[float, int]:
    """Seconds, and requests to the store."""
    before, started = far.trips, time.perf_counter()
    _page(browser)
    return time.perf_counter() - started, far.trips - before


def _page(browser: Browser) -> None:
    answer = browser.get("/ui/project", project=UID)
    if answer.status_code != 200:
        raise SystemExit(f"/ui/project answered {answer.status_code}")


def _fill(store: ObjectStore, controls: int, versions: int) -> str:
    """Write a project with so many controls, of so many versions each; answers its labeling config."""
    registry = Registry(store, UID)
    names = [f"c{number}" for number in range(controls)]
    tags = "".join(
        f'<RectangleLabels name="{name}" toName="i"><Label value="Tree"/></RectangleLabels>' for name in names
    )
    config = f'<View><Image name="i" value="$image"/>{tags}</View>'
    write_project(store, UID, label_config=config)
    for name in names:
        for number in range(1, versions + 1):
            store.put(keys.manifest(UID, name, number), manifest(number, f"run-{number}", name).to_json())
        registry.promote(name, versions, fence=1000 * versions, run_id=f"run-{versions}", expected=None)
    return config


if __name__ == "__main__":
    main()
