"""train_trigger's /predict in front of a predict that sleeps, wakes, breaks or refuses: real HTTP."""

import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from functions.train_trigger.metrics import Metrics
from functions.train_trigger.predict_proxy import PredictProxy
from infra.local.processes import choose_port
from shared.objectstore import open_store
from shared.settings import Settings
from shared.web.access import SECRET_HEADER
from shared.web.served_versions import ServedVersions
from tests.servers.trigger_process import eventually
from tests.servers.web_server import Handler, web_server

BODY = json.dumps({"tasks": [{"id": 1}, {"id": 2}], "project": "1.1", "label_config": "<View/>"}).encode()
EMPTY: tuple[int, object] = (200, {"results": [[], []]})
AWAKE: dict[str, object] = {"results": [{"result": []}, {"result": []}]}
CLICK = json.dumps(json.loads(BODY) | {"params": {"context": {"result": []}}}).encode()
CREDENTIALS = "Basic bGFiZWxsb29wOng="


class Asker:
    """The handler as Label Studio meets it."""

    def __init__(
        self, url: str | None, *, deadline: float, max_bytes: int = 1000, health_seconds: float = 60.0
    ) -> None:
        values = {"PREDICT_URL": url, "LABELLOOP_PREDICT_DEADLINE": deadline}
        self.metrics = Metrics()
        self.woken: list[str] = []  # projects
        settings = Settings.model_validate(values)
        self.served = ServedVersions(open_store("file:///nowhere"), max_age=0)
        self._predictions = PredictProxy(
            settings,
            self.metrics,
            self.served,
            max_bytes=max_bytes,
            health_seconds=health_seconds,
            wake=self.woken.append,
        )

    def ask(self, body: bytes = BODY) -> tuple[int, object]:
        headers = {"Authorization": CREDENTIALS, "Cookie": "sessionid=1", "X-Other": "1"}
        with Flask("test").test_request_context("/predict", method="POST", data=body, headers=headers) as context:
            response = self._predictions.predict(context.request)
        return response.status_code, response.get_json(silent=True)

    def empty_tasks(self, reason: str) -> float:
        return float(self.metrics.failures.labels(reason)._value.get())


def reply_in_turn(*statuses: int) -> Callable[[Handler], None]:
    """These, then the predictions of a predict that is awake. 0: hang up."""
    left = list(statuses)

    def reply(handler: Handler) -> None:
        status = left.pop(0) if left else 200
        if status == 0:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
        else:
            handler.reply(status, json.dumps(AWAKE).encode() if status == 200 else b"no instance")

    return reply


def test_while_predict_wakes_it_is_asked_again_with_the_same_body_and_credentials() -> None:
    with web_server(reply_in_turn(503, 429, 0, 502, 504)) as predict:
        asker = Asker(predict.url, deadline=60)
        assert asker.ask() == (200, AWAKE)
    assert [(seen.method, seen.path, json.loads(seen.body), seen.authorization) for seen in predict.seen] == [
        ("POST", "/predict", json.loads(BODY), CREDENTIALS)
    ] * 6
    assert b"labelloop_failures_total{" not in asker.metrics.text()


def test_what_predict_holds_is_learnt_from_its_answer() -> None:
    held = json.dumps({"project": "1.1", "held": {"label": [2, None]}})
    with web_server(lambda handler: handler.reply(200, json.dumps(AWAKE).encode(), X_Labelloop_Held=held)) as predict:
        asker = Asker(predict.url, deadline=60)
        assert asker.ask() == (200, AWAKE)
    assert asker.served.held_header("1.1") == held


def test_what_label_studio_sends_along_is_neither_kept_nor_handed_on() -> None:
    old = [{"result": [{"value": {"rle": [0] * 5000}}]}]
    call = json.loads(BODY) | {"params": {"context": None}}
    body = json.dumps(call | {"tasks": [{"predictions": old, "id": 1}, {"id": 2, "annotations": old}]}).encode()
    with web_server(reply_in_turn()) as predict:
        assert Asker(predict.url, deadline=60, max_bytes=200).ask(body) == (200, AWAKE)
    assert [json.loads(seen.body) for seen in predict.seen] == [call]


def test_a_predict_that_is_not_even_listening_yet() -> None:
    port = choose_port()
    asker = Asker(f"http://127.0.0.1:{port}", deadline=60)
    with ThreadPoolExecutor(1) as label_studio:
        answer = label_studio.submit(asker.ask)
        eventually(lambda: b"labelloop_waiting 1.0" in asker.metrics.text(), "the request waits")
        with web_server(reply_in_turn(), port=port):
            assert answer.result() == (200, AWAKE)


@pytest.mark.parametrize("status", [None, 503, 429])
def test_one_that_sleeps_beyond_the_deadline_is_answered_empty_for_every_task(status: int | None) -> None:
    with web_server(lambda handler: handler.reply(status or 500)) as predict:
        asker = Asker(predict.url if status else f"http://127.0.0.1:{choose_port()}", deadline=0.5)
        assert asker.ask() == EMPTY
    assert asker.empty_tasks("asleep") == 2


@pytest.mark.parametrize("status", [None, 503])
def test_a_click_does_not_wait_for_a_predict_that_sleeps(status: int | None) -> None:
    with web_server(lambda handler: handler.reply(status or 500)) as predict:
        asker = Asker(predict.url if status else f"http://127.0.0.1:{choose_port()}", deadline=3600)
        assert asker.ask(CLICK) == EMPTY
    assert [seen.path for seen in predict.seen] == (["/health"] if status else [])
    assert asker.woken == ["1.1"]
    assert asker.empty_tasks("asleep") == 2


def test_a_click_does_not_wait_for_one_whose_requests_are_held_while_it_wakes() -> None:
    awake = threading.Event()

    def reply(handler: Handler) -> None:
        awake.wait(60)
        handler.reply(200, b"{}" if handler.path == "/health" else json.dumps(AWAKE).encode())

    with web_server(reply) as predict:
        asker = Asker(predict.url, deadline=3600, health_seconds=0.2)
        assert asker.ask(CLICK) == EMPTY
        awake.set()
        assert asker.ask() == (200, AWAKE)
        assert asker.ask(CLICK) == (200, AWAKE)
    paths = [seen.path for seen in predict.seen]
    assert paths == ["/health", "/predict", "/predict"], "who has just answered is awake"


def test_a_click_is_handed_to_a_predict_that_is_awake() -> None:
    told: list[str | None] = []

    def reply(handler: Handler) -> None:
        told.append(handler.headers["X-Labelloop-Seconds"])
        handler.reply(200, b"{}" if handler.path == "/health" else json.dumps(AWAKE).encode())

    with web_server(reply) as predict:
        assert Asker(predict.url, deadline=3600).ask(CLICK) == (200, AWAKE)
    assert [seen.path for seen in predict.seen] == ["/health", "/predict"], "nobody wakes it"
    assert 0 < float(told[1] or 0) <= 4


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 413, 508])
def test_what_another_try_would_not_change_is_passed_on_at_once(status: int) -> None:
    with web_server(lambda handler: handler.reply(status, b'{"error": "why"}')) as predict:
        assert Asker(predict.url, deadline=60).ask()[0] == status
    assert len(predict.seen) == 1


def test_a_crash_in_predict_is_no_failed_page_and_is_not_repeated() -> None:
    with web_server(lambda handler: handler.reply(500)) as predict:
        asker = Asker(predict.url, deadline=60)
        assert asker.ask() == EMPTY
    assert len(predict.seen) == 1
    assert asker.empty_tasks("broken") == 2


def test_predict_is_told_how_long_it_has() -> None:
    told: list[float] = []

    def reply(handler: Handler) -> None:
        told.append(float(handler.headers["X-Labelloop-Seconds"]))
        handler.reply(503 if len(told) < 4 else 200, json.dumps(AWAKE).encode())

    with web_server(reply) as predict:
        Asker(predict.url, deadline=60).ask()
    assert 60 >= told[0] > told[1] > told[2] > told[3] > 0


def test_nothing_but_the_credentials_of_labelloop_goes_along() -> None:
    names: list[str] = []

    def reply(handler: Handler) -> None:
        names.extend(name.lower() for name in handler.headers)
        handler.reply(200, json.dumps(AWAKE).encode())

    with web_server(reply) as predict:
        Asker(predict.url, deadline=60).ask()
    assert not {"cookie", "x-other", SECRET_HEADER.lower()} & set(names)


def test_more_bytes_than_may_wait_are_answered_empty_at_once() -> None:
    release = threading.Event()

    def reply(handler: Handler) -> None:
        release.wait(60)
        handler.reply(200, json.dumps(AWAKE).encode())

    with web_server(reply) as predict, ThreadPoolExecutor(2) as label_studio:
        asker = Asker(predict.url, deadline=60, max_bytes=2 * len(BODY))
        waiting = [label_studio.submit(asker.ask) for _ in range(2)]
        eventually(lambda: len(predict.seen) == 2, "both are handed over")
        assert asker.ask() == EMPTY
        assert asker.empty_tasks("busy") == 2
        release.set()
        assert [answer.result() for answer in waiting] == [(200, AWAKE)] * 2
        assert asker.ask() == (200, AWAKE)  # their places are free again


def test_without_an_address_the_setting_is_named() -> None:
    status, body = Asker(None, deadline=60).ask()
    assert status == 503
    assert "PREDICT_URL" in str(body)
