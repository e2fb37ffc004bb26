"""Requests recorded from a real Label Studio, answered by predict as a process; the SDK judges the predictions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from label_studio_sdk.label_interface import LabelInterface
from ultralytics.utils import ASSETS

from infra.demo.samples import base_weights
from shared.prediction.region_ids import is_smart
from shared.web.forwarding import HELD_HEADER
from tests.fakes.predict_parts import UID, jpeg, label_config, predict_function
from tests.samples.served_graphs import store_base_graph
from tests.servers.web_server import Handler, WebServer, web_server

REQUESTS = Path(__file__).parent / "requests"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
CREDENTIALS = ("u", "p")  # as recorded
SMART = sorted(path.stem for path in REQUESTS.glob("predict_smart_*.json"))
WEBHOOKS = sorted(path.stem for path in REQUESTS.glob("webhook_*.json"))


@dataclass(frozen=True, slots=True)
class Served:
    """The function, and the servers that replace Label Studio and train_trigger."""

    url: str
    label_studio: WebServer
    trigger: WebServer
    log: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("predict")
    photograph = (ASSETS / "bus.jpg").read_bytes()

    def label_studio(handler: Handler) -> None:
        if handler.headers.get("Authorization") != f"Token {TOKEN}":
            handler.reply(401)
        elif "broken" in handler.path:
            handler.reply(200, photograph[:3000])
        elif "text" in handler.path:
            handler.reply(200, b"a page of text")
        elif "gone" in handler.path:
            handler.reply(404)
        else:
            handler.reply(200, photograph, Content_Type="image/jpeg")

    def trigger(handler: Handler) -> None:
        handler.reply(201, json.dumps({"path": handler.path}).encode(), Content_Type="application/json")

    store_base_graph((folder / "store").as_uri(), folder / "graph")
    with (
        web_server(label_studio) as studio,
        web_server(trigger) as other,
        predict_function(
            folder,
            LABEL_STUDIO_URL=studio.url,
            LABEL_STUDIO_API_KEY=TOKEN,
            LABELLOOP_BASIC_AUTH_USER=CREDENTIALS[0],
            LABELLOOP_BASIC_AUTH_PASSWORD=CREDENTIALS[1],
            LABELLOOP_WEBHOOK_SECRET="s3cret",
            LABELLOOP_BASE_WEIGHTS=str(base_weights()),
            TRAIN_TRIGGER_URL=other.url,
        ) as url,
    ):
        yield Served(url, studio, other, folder / "predict.log")


def recorded(name: str) -> dict[str, Any]:
    request: dict[str, Any] = json.loads((REQUESTS / f"{name}.json").read_text())
    return request


def replay(served: Served, name: str, body: Any = None) -> requests.Response:
    """Send a recorded request as it was, or with another body."""
    request = recorded(name)
    headers = {key: value for key, value in request["headers"].items() if key not in ("Host", "Content-Length")}
    sent = request["body"] if body is None else body
    data = None if sent is None else json.dumps(sent)
    return requests.request(request["method"], served.url + request["path"], headers=headers, data=data, timeout=90)


def test_health(served: Served) -> None:
    response = replay(served, "health")
    assert (response.status_code, response.json()["status"]) == (200, "UP")


def test_setup_answers_a_model_version(served: Served) -> None:
    assert replay(served, "setup").json() == {"model_version": "label:base-ABD"}


def test_versions(served: Served) -> None:
    assert replay(served, "versions").json() == {"versions": []}


@pytest.mark.parametrize("name", ["predict_interactive", *SMART])
def test_a_smart_tool_gets_one_object_or_nothing(served: Served, name: str) -> None:
    body = recorded(name)["body"]
    response = replay(served, name)
    assert response.status_code == 200, response.text
    (drawn,) = response.json()["results"]
    if name == "predict_smart_box":
        assert drawn, "at least the box as drawn"
    if drawn:
        (region,) = drawn["result"]
        assert (region["from_name"], region["value"]["rectanglelabels"]) == ("label", ["Tree"])
        assert is_smart(region["id"])
        LabelInterface(body["label_config"]).validate_prediction(drawn)


@pytest.mark.parametrize("name", ["predict_one_task", "predict_batch"])
def test_predictions_are_what_label_studio_accepts(served: Served, name: str) -> None:
    body = recorded(name)["body"]
    response = replay(served, name)
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert len(results) == len(body["tasks"])
    assert json.loads(response.headers[HELD_HEADER]) == {"project": body["project"], "held": {}}  # to train_trigger
    interface = LabelInterface(body["label_config"])
    for prediction in results:
        assert interface.validate_prediction(prediction, return_errors=True) == []
        assert prediction["model_version"] == replay(served, "setup").json()["model_version"]
        assert 0 <= prediction["score"] <= 1
        assert prediction["result"]
        assert len({region["id"] for region in prediction["result"]}) == len(prediction["result"])
        for region in prediction["result"]:
            assert (region["original_width"], region["original_height"]) == (810, 1080)
            value = region["value"]
            assert 0 <= value["x"] <= value["x"] + value["width"] <= 100.0001
            assert 0 <= value["y"] <= value["y"] + value["height"] <= 100.0001


def test_a_config_with_one_label_does_not_name_every_proposal(served: Served) -> None:
    body = recorded("predict_one_task")["body"] | {"label_config": label_config(labels=("Tree",))}
    (prediction,) = replay(served, "predict_one_task", body).json()["results"]
    assert LabelInterface(body["label_config"]).validate_prediction(prediction, return_errors=True) == []
    assert {tuple(region["value"]["rectanglelabels"]) for region in prediction["result"]} == {()}


def test_failing_images_beside_good_ones(served: Served) -> None:
    files = [f"/data/upload/1/{name}.jpg" for name in ("a", "broken", "text", "gone")]
    values: list[Any] = [*files, None, 7, "ftp://x/y"]
    tasks = [{"id": number, "data": {"image": value}} for number, value in enumerate([*values, values[0]])]
    body = {"tasks": [*tasks, {"id": 9, "data": {}}], "project": UID, "label_config": label_config()}
    response = replay(served, "predict_batch", body)
    assert response.status_code == 200
    assert [bool(item) for item in response.json()["results"]] == [True, *[False] * 6, True, False]
    metrics = requests.get(f"{served.url}/metrics", auth=CREDENTIALS, timeout=10).text
    for reason in ("broken", "not_found", "unsupported"):
        assert f'labelloop_failures_total{{reason="{reason}"}}' in metrics
    assert 'reason="crashed"' not in metrics
    assert 'labelloop_phase_seconds_count{phase="model"}' in metrics


def test_the_token_goes_to_label_studio_and_stays_out_of_the_log(served: Served) -> None:
    with web_server(lambda handler: handler.reply(200, jpeg())) as elsewhere:
        tasks = [{"id": 1, "data": {"image": f"{elsewhere.url}/a.jpg"}}, {"id": 2, "data": {"image": "/data/upload/b"}}]
        body = {"tasks": tasks, "project": UID, "label_config": label_config()}
        first, second = replay(served, "predict_batch", body).json()["results"]
    assert (first, bool(second)) == ([], True)  # a loopback address that no setting allows
    assert elsewhere.seen == []
    assert TOKEN not in served.log.read_text()


@pytest.mark.parametrize("name", WEBHOOKS)
def test_events_are_handed_to_the_other_function(served: Served, name: str) -> None:
    request = recorded(name)
    signed = {"X-Labelloop-Secret": "s3cret", "Content-Type": "application/json"}
    response = requests.post(f"{served.url}/webhook", json=request["body"], headers=signed, timeout=10)
    assert (response.status_code, response.json()) == (201, {"path": "/webhook"})
    assert json.loads(served.trigger.seen[-1].body) == request["body"]


@pytest.mark.parametrize("path", ["/", "/webhook", "/train", "/job_status"])
def test_what_the_other_function_serves(served: Served, path: str) -> None:
    response = requests.post(f"{served.url}{path}", json={"job": "x"}, auth=CREDENTIALS, timeout=10)
    assert (response.status_code, response.json()) == (201, {"path": path})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/setup"),
        ("POST", "/predict"),
        ("GET", "/versions"),
        ("GET", "/metrics"),
        ("POST", "/"),
        ("POST", "/webhook"),
        ("POST", "/train"),
        ("POST", "/job_status"),
        ("POST", "/validate"),
        ("POST", "/duplicate_model"),
        ("POST", "/delete"),
        ("GET", "/nothing"),
    ],
)
def test_wrong_credentials_open_nothing(served: Served, method: str, path: str) -> None:
    before = len(served.trigger.seen)
    for auth, secret in ((None, None), (("u", "wrong"), None), (None, "wrong")):
        headers = {"X-Labelloop-Secret": secret} if secret else {}
        response = requests.request(method, served.url + path, auth=auth, headers=headers, json={}, timeout=10)
        assert response.status_code == 401
    assert len(served.trigger.seen) == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"tasks": 3}',
        *(
            json.dumps({"tasks": [], "project": project, "label_config": config}).encode()
            for project, config in ((UID, "<View>"), ("\ud800", "<View/>"), ("1" * 100_000, "<View/>"), ("", "<View/>"))
        ),
    ],
)
def test_bodies_that_are_no_request_are_refused_with_a_reason(served: Served, body: bytes) -> None:
    response = requests.post(f"{served.url}/predict", data=body, auth=CREDENTIALS, timeout=10)
    assert response.status_code == 400
    assert response.json()["error"]


def test_dummy_predictions_are_what_label_studio_accepts(tmp_path: Path) -> None:
    body = recorded("predict_batch")["body"]
    with predict_function(tmp_path, LABELLOOP_DUMMY="true") as url:
        results = requests.post(f"{url}/predict", json=body, timeout=10).json()["results"]
        setup = requests.post(f"{url}/setup", json=recorded("setup")["body"], timeout=10).json()
    assert len(results) == len(body["tasks"])
    for prediction in results:
        assert LabelInterface(body["label_config"]).validate_prediction(prediction, return_errors=True) == []
        assert prediction["result"][0]["value"]["rectanglelabels"] == ["Tree"]
        assert prediction["model_version"] == setup["model_version"] == "label:dummy"
