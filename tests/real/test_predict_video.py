"""predict as a process, asked about films on a web server, with real weights and trackers."""

from pathlib import Path
from typing import Any

import requests
from label_studio_sdk.label_interface import LabelInterface

from infra.demo.samples import base_weights
from infra.local.processes import LOOPBACK
from tests.fakes.predict_parts import UID, predict_function
from tests.samples.served_graphs import store_base_graph
from tests.samples.videos import panned
from tests.servers.web_server import Handler, web_server

CONFIG = """<View><Video name="video" value="$film" frameRate="$fps"/>
<VideoRectangle name="box" toName="video" model_tracker="bytetrack" model_score_threshold="0.2"/>
<Labels name="kind" toName="video"><Label value="Thing"/></Labels></View>"""


def test_films_are_answered_with_tracks_and_what_is_none_with_nothing(tmp_path: Path) -> None:
    film = panned(tmp_path / "pan.webm").read_bytes()
    films = {"/pan.webm": film, "/page": b"<html>", "/half.webm": film[:300]}

    def answer(handler: Handler) -> None:
        data = films.get(handler.path)
        handler.reply(404) if data is None else handler.reply(200, data)

    store_base_graph((tmp_path / "store").as_uri(), tmp_path / "graph")
    with (
        web_server(answer) as web,
        predict_function(
            tmp_path, LABELLOOP_BASE_WEIGHTS=str(base_weights()), LABELLOOP_ALLOWED_PRIVATE_HOSTS=LOOPBACK
        ) as url,
    ):
        tasks = [
            {"id": number, "data": {"film": f"{web.url}{path}", "fps": 10}}
            for number, path in enumerate(["/pan.webm", "/page", "/half.webm", "/gone.webm"], 1)
        ]
        body = {"tasks": tasks, "project": UID, "label_config": CONFIG}
        response = requests.post(f"{url}/predict", json=body, timeout=120)
        response.raise_for_status()
        found, *others = response.json()["results"]
        metrics = requests.get(f"{url}/metrics", timeout=10).text
    assert others == [[], [], []]
    for reason in ("unsupported", "broken", "not_found"):
        assert f'labelloop_failures_total{{reason="{reason}"}} 1.0' in metrics
    assert LabelInterface(CONFIG).validate_prediction(found, True) == []
    assert 0.1 < found["score"] < 1
    regions: list[dict[str, Any]] = found["result"]
    assert len(regions) > 3
    for region in regions:
        value = region["value"]
        assert (value["framesCount"], value["duration"]) == (10, 1.0)
        assert "labels" not in value  # base weights do not know whether these are the only label's objects
        frames = [one["frame"] for one in value["sequence"]]
        assert frames == sorted(set(frames))
        assert frames[0] >= 1
        assert frames[-1] <= 10
        assert not value["sequence"][-1]["enabled"]
