"""A GPU whose every call fails from a moment on, under a real functions-framework: a new worker goes on."""

import base64
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from infra.demo.samples import base_weights
from infra.local.label_studio import REPOSITORY
from tests.fakes.predict_parts import UID, jpeg, label_config, predict_function
from tests.samples.served_graphs import store_base_graph
from tests.servers.trigger_process import eventually
from tests.servers.web_server import Handler, WebServer, web_server

HERE = "data:image/jpeg;base64," + base64.b64encode(jpeg()).decode()


@contextmanager
def held_image() -> Iterator[tuple[WebServer, threading.Event]]:
    """A host whose image comes once the event is set."""
    released = threading.Event()

    def answer(handler: Handler) -> None:
        released.wait(60)
        handler.reply(200, jpeg())

    with web_server(answer) as host:
        yield host, released


def predict(url: str, *images: str) -> Any:
    body = {
        "tasks": [{"id": number, "data": {"image": image}} for number, image in enumerate(images)],
        "project": UID,
        "label_config": label_config(),
    }
    response = requests.post(f"{url}/predict", json=body, timeout=90)
    response.raise_for_status()
    return response.json()["results"]


def events(log: Path) -> list[str]:
    lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
    return [json.loads(line).get("event", "") for line in lines]


def test_a_lost_gpu_costs_the_predictions_under_way_and_nothing_else(tmp_path: Path) -> None:
    broken, log = tmp_path / "broken", tmp_path / "predict.log"
    store_base_graph((tmp_path / "store").as_uri(), tmp_path / "graph")
    with (
        held_image() as (host, released),
        predict_function(
            tmp_path,
            REPOSITORY / "tests" / "servers" / "lost_device.py",
            BREAK_DEVICE=str(broken),
            LABELLOOP_ALLOWED_PRIVATE_HOSTS="127.0.0.1",
            LABELLOOP_BASE_WEIGHTS=str(base_weights()),
            LABELLOOP_IMAGE_SIZE="64",
        ) as url,
        ThreadPoolExecutor(2) as clients,
    ):
        assert predict(url, HERE)[0]["model_version"] == "label:base-ABD"
        under_way = clients.submit(predict, url, f"{host.url}/image.jpg")
        eventually(lambda: host.seen, "its image is asked for")
        broken.touch()
        assert predict(url, HERE, HERE) == [[], []]
        assert "device_lost" in events(log)
        next_one = clients.submit(predict, url, HERE)  # before the worker that is lost has ended
        released.set()
        assert under_way.result() == [[]]
        assert next_one.result()[0]["model_version"] == "label:base-ABD"
        assert events(log).count("device_lost") == 1
        families = text_string_to_metric_families(requests.get(f"{url}/metrics", timeout=30).text)
        samples = {sample.name: sample.value for family in families for sample in family.samples}
        assert samples["labelloop_processes_ended"] == 1
