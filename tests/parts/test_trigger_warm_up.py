"""Waking predict ahead: by what, how often, with what; a real HTTP server stands for predict."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.train_trigger.metrics import Metrics
from functions.train_trigger.warm_up import WarmUp
from infra.local.processes import choose_port
from shared.objectstore.file import FileStore
from shared.settings import Settings
from shared.state.projects import write_project
from tests.fakes.predict_parts import UID, label_config
from tests.servers.trigger_process import eventually
from tests.servers.web_server import Handler, WebServer, web_server

CONFIG = label_config()
OTHER_UID = "2.1795332051"
HEALTH, SETUP = ("GET", "/health"), ("POST", "/setup")


class Awake:
    """A predict that answers; `gate` holds its health back, as a front does while an instance starts."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.status = 200

    def answer(self, handler: Handler) -> None:
        self.gate.wait(60)
        handler.reply(self.status, b"{}")


class World:
    """A store with one known project, predict, and the warm-up before it."""

    def __init__(self, folder: Path, url: str | None, **settings: Any) -> None:
        self.store = FileStore(f"file://{folder}")
        write_project(self.store, UID, label_config=CONFIG)
        self.metrics = Metrics()
        values = {"PREDICT_URL": url, "LABELLOOP_BASIC_AUTH_PASSWORD": "pass word", **settings}
        self.warm_up = WarmUp(Settings.model_validate(values), self.store, self.metrics)

    def count(self, result: str) -> float:
        return float(self.metrics.warm_ups.labels(result)._value.get())

    def warm(self, result: str, uid: str = UID) -> None:
        before = self.count(result)
        self.warm_up.ask(uid)
        eventually(lambda: self.count(result) == before + 1, f"the warm-up ends {result}")


@pytest.fixture
def awake() -> Awake:
    return Awake()


@pytest.fixture
def predict(awake: Awake) -> Iterator[WebServer]:
    with web_server(lambda handler: awake.answer(handler)) as server:
        yield server
        awake.gate.set()


def asked(predict: WebServer) -> list[tuple[str, str]]:
    return [(seen.method, seen.path) for seen in predict.seen]


def test_predict_is_woken_and_loads_the_models_of_the_project(tmp_path: Path, predict: WebServer) -> None:
    World(tmp_path, predict.url).warm("awake")
    assert asked(predict) == [HEALTH, SETUP]
    assert json.loads(predict.seen[1].body) == {"project": UID, "schema": CONFIG}
    assert predict.seen[0].authorization is None
    assert str(predict.seen[1].authorization).startswith("Basic ")


def test_no_proxy_of_the_environment_is_asked(
    tmp_path: Path, predict: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the requests that follow, which carry the same credentials."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    World(tmp_path, predict.url.replace("127.0.0.1", "127.1")).warm("awake")  # a name that is not of this machine
    assert asked(predict) == [HEALTH, SETUP]


def test_once_in_the_interval_however_often_it_is_asked_for(tmp_path: Path, predict: WebServer) -> None:
    world = World(tmp_path, predict.url, LABELLOOP_WARM_UP_INTERVAL=3600)
    world.warm("awake")
    for _ in range(100):
        world.warm_up.ask(UID)
    assert asked(predict) == [HEALTH, SETUP]


def test_again_after_the_interval(tmp_path: Path, predict: WebServer) -> None:
    world = World(tmp_path, predict.url, LABELLOOP_WARM_UP_INTERVAL=1e-9)
    world.warm("awake")
    world.warm("awake")
    assert asked(predict) == [HEALTH, SETUP] * 2


def test_one_at_a_time_and_nobody_waits(tmp_path: Path, predict: WebServer, awake: Awake) -> None:
    world = World(tmp_path, predict.url, LABELLOOP_WARM_UP_INTERVAL=1e-9)
    awake.gate.clear()
    for _ in range(100):
        world.warm_up.ask(UID)  # predict answers none of them
    eventually(lambda: asked(predict) == [HEALTH], "the first is under way")
    awake.gate.set()
    eventually(lambda: world.count("awake") == 1, "the first is done")
    assert asked(predict) == [HEALTH, SETUP]


def test_a_config_that_changed_while_predict_woke_is_the_one_that_is_told(
    tmp_path: Path, predict: WebServer, awake: Awake
) -> None:
    world, changed = World(tmp_path, predict.url), label_config(labels=("Rock",))
    awake.gate.clear()
    world.warm_up.ask(UID)
    eventually(lambda: predict.seen, "predict is being woken")
    write_project(world.store, UID, label_config=changed)
    awake.gate.set()
    eventually(lambda: world.count("awake") == 1, "the warm-up ends")
    assert json.loads(predict.seen[1].body)["schema"] == changed


def test_what_is_no_project_wakes_nobody_and_uses_nothing_up(tmp_path: Path, predict: WebServer) -> None:
    world = World(tmp_path, predict.url)
    world.warm("unknown_project", OTHER_UID)
    assert asked(predict) == []
    world.warm("awake")


def test_failures_are_counted_and_the_next_one_tries_again(tmp_path: Path, predict: WebServer, awake: Awake) -> None:
    World(tmp_path, f"http://127.0.0.1:{choose_port()}").warm("failed")
    awake.status = 503
    world = World(tmp_path, predict.url, LABELLOOP_WARM_UP_INTERVAL=1e-9)
    world.warm("refused")
    awake.status = 200
    world.warm("awake")


@pytest.mark.parametrize("never", [{"LABELLOOP_WARM_UP_INTERVAL": 0}, {"PREDICT_URL": None}], ids=["off", "no address"])
def test_never(tmp_path: Path, predict: WebServer, never: dict[str, Any]) -> None:
    world = World(tmp_path, predict.url, **never)
    before = threading.active_count()
    world.warm_up.ask(UID)
    assert threading.active_count() == before
    assert asked(predict) == []
