"""A predict that scales to zero behind train_trigger, under a real Label Studio: asleep, woken, killed, woken again.

Label Studio knows train_trigger alone. It must never show a disconnected backend or a failed page, and predictions
must arrive in the labeling stream as soon as predict is there.
"""

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from ultralytics.models import YOLO
from ultralytics.utils import ASSETS

from infra.demo.samples import base_weights
from infra.local.label_studio import LabelStudioServer
from infra.local.processes import LOOPBACK, choose_port
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.requests import ProjectCounters
from shared.web.access import SECRET_HEADER
from tests.fakes.predict_parts import predict_process, publish
from tests.samples.graphs import export
from tests.servers.cold_start import cold_start
from tests.servers.trigger_process import PASSWORD, SECRET, USER, Place, TriggerProcess, eventually

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Tree"/></RectangleLabels></View>'
)
BUS = "data:image/jpeg;base64," + base64.b64encode((ASSETS / "bus.jpg").read_bytes()).decode()
DUMMY = {"LABELLOOP_DUMMY": "true"}  # the wiring is real, the model is not
IMAGES = tuple(f"https://e.org/{n}.jpg" for n in range(4))


class Annotator:
    """Works through the labeling stream; every call of Label Studio's API must succeed."""

    def __init__(
        self,
        server: LabelStudioServer,
        trigger: TriggerProcess,
        images: Sequence[str] = IMAGES,
    ) -> None:
        self._trigger = trigger
        self.call = LabelStudio(server.url, server.token, timeout=120).request_json
        project = self.call("POST", "/api/projects/", {"title": "sleep", "label_config": CONFIG})
        self.project, self.uid = project["id"], ProjectCounters.model_validate(project).uid or ""
        self.call("POST", f"/api/projects/{self.project}/import", [{"image": image} for image in images])

    def connect(self) -> None:
        """Label Studio's model and webhook: train_trigger alone."""
        trigger = self._trigger
        backend = {
            "project": self.project, "url": trigger.url, "title": "labelloop", "auth_method": "BASIC_AUTH",
            "basic_auth_user": USER, "basic_auth_pass": PASSWORD, "is_interactive": True,
        }  # fmt: skip
        self.call("POST", "/api/ml", backend)
        for webhook in self.call("GET", f"/api/webhooks/?project={self.project}"):
            self.call("DELETE", f"/api/webhooks/{webhook['id']}/")
        webhook = {"project": self.project, "url": f"{trigger.url}/webhook", "headers": {SECRET_HEADER: SECRET}}
        self.call("POST", "/api/webhooks/", webhook | {"send_payload": True, "send_for_all_actions": True})
        self.call("PATCH", f"/api/projects/{self.project}/", {"show_collab_predictions": True})

    def next_task(self) -> tuple[int, list[str]]:
        """The next task of the labeling stream, and the versions of its predictions."""
        task = self.call("GET", f"/api/projects/{self.project}/next")
        return task["id"], [prediction["model_version"] for prediction in task["predictions"]]

    def annotate(self, task: int) -> None:
        self.call("POST", f"/api/tasks/{task}/annotations/", {"result": []})

    def click(self, task: int) -> Any:
        """What a smart tool of the page gets for a point."""
        (backend,) = self.call("GET", f"/api/ml/?project={self.project}")
        point = {"type": "keypointlabels", "value": {"x": 50, "y": 50, "width": 1, "keypointlabels": ["Tree"]}}
        body = {"task": task, "context": {"result": [{"id": "p", "from_name": "label", "to_name": "image", **point}]}}
        return self.call("POST", f"/api/ml/{backend['id']}/interactive-annotating", body)

    def assert_connected(self) -> None:
        """What the model page shows: Label Studio asks /health and /setup for it."""
        (backend,) = self.call("GET", f"/api/ml/?project={self.project}")
        assert (backend["state"], backend["error_message"]) == ("CO", None)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of trained weights whose every class is called Tree."""
    model = YOLO(base_weights(), task="detect")
    model.model.names = dict.fromkeys(model.model.names, "Tree")  # type: ignore[union-attr]
    path = tmp_path_factory.mktemp("weights") / "tree.pt"
    model.save(path)
    return export(path).graph


def metrics(trigger: TriggerProcess) -> str:
    return requests.get(f"{trigger.url}/metrics", headers={SECRET_HEADER: SECRET}, timeout=30).text


def trigger_log(folder: Path) -> str:
    (log,) = folder.glob("trigger-*.log")
    return log.read_text()


def test_label_studio_never_notices_that_predict_sleeps_wakes_and_dies(
    tmp_path: Path, server: LabelStudioServer
) -> None:
    place, port = Place(tmp_path, server.url, server.token), choose_port()
    settings = {
        "PREDICT_URL": f"http://{LOOPBACK}:{port}",
        "LABELLOOP_PREDICT_DEADLINE": "4",
        "LABELLOOP_WARM_UP_INTERVAL": "0.5",
        **DUMMY,
    }
    with place.function(**settings) as trigger, ThreadPoolExecutor(1) as page:
        annotator = Annotator(server, trigger)
        annotator.connect()
        for attempt in ("asleep", "killed"):
            opened = page.submit(annotator.next_task)
            eventually(lambda: "labelloop_waiting 1.0" in metrics(trigger), "the page waits for predict")
            annotator.assert_connected()  # while one waits
            task, versions = opened.result()
            assert versions == [], attempt  # it sleeps longer than Label Studio may wait
            assert annotator.click(task) == {"data": []}, "nothing, and no error"
            assert "a smart tool does not wait for it" in trigger_log(tmp_path)
            assert 'labelloop_failures_total{reason="asleep"}' in metrics(trigger)

            opened = page.submit(annotator.next_task)
            eventually(lambda: "labelloop_waiting 1.0" in metrics(trigger), "the next page waits for predict")
            predict = predict_process(tmp_path, port, LABELLOOP_BASIC_AUTH_PASSWORD=PASSWORD, **DUMMY)
            try:
                task, versions = opened.result()
                if not versions:  # a busy machine: it was not there in time
                    task, versions = eventually(lambda: with_predictions(annotator), "predictions arrive")
                assert versions == ["label:dummy"], attempt
                annotator.annotate(task)
                annotator.assert_connected()
                eventually(lambda: 'labelloop_warm_ups_total{result="awake"}' in metrics(trigger), "it is kept warm")
            finally:
                predict.stop(grace=0)  # SIGKILL follows at once
            annotator.assert_connected()


def test_a_predict_that_starts_slowly_and_is_killed_while_somebody_labels(
    tmp_path: Path, server: LabelStudioServer, weights: Path, request: pytest.FixtureRequest
) -> None:
    """Its runtime holds requests until it is there, as Cloud Run and Knative do. Real weights, real photographs."""
    place, seconds = Place(tmp_path, server.url, server.token), request.config.getoption("cold_start")
    secret = {"LABELLOOP_BASIC_AUTH_PASSWORD": PASSWORD, "LABELLOOP_WEBHOOK_SECRET": SECRET}
    with (
        cold_start(tmp_path, seconds, **secret) as predict,
        place.function(PREDICT_URL=predict.url, LABELLOOP_WARM_UP_INTERVAL="1") as trigger,
        ThreadPoolExecutor(1) as page,
    ):
        annotator = Annotator(server, trigger, images=[BUS] * 4)
        publish(place.store, weights, uid=annotator.uid)
        annotator.connect()
        for start in (1, 2):
            opened = page.submit(annotator.next_task)
            while not opened.done():  # somebody else looks at the model page meanwhile
                annotator.assert_connected()
            task, versions = opened.result()
            assert (versions, predict.starts) == (["label:v1"], start)
            annotator.annotate(task)
            predict.kill()
            annotator.assert_connected()
        assert "labelloop_failures_total{" not in metrics(trigger), "no task was answered empty"


def with_predictions(annotator: Annotator) -> tuple[int, list[str]] | None:
    task, versions = annotator.next_task()
    return (task, versions) if versions else None
