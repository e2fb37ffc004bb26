"""A predict that scales to zero behind train_trigger, under a real Label Studio: asleep, woken, killed, woken again.

Label Studio knows train_trigger alone. It must never show a disconnected backend or a failed page, and predictions
must arrive in the labeling stream as soon as predict is there.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.label_studio import LabelStudioServer, label_studio
from infra.local.processes import LOOPBACK, choose_port
from shared.http import SECRET_HEADER
from tests.predict_parts import predict_process
from tests.trigger_process import PASSWORD, SECRET, USER, Place, TriggerProcess, eventually

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Tree"/></RectangleLabels></View>'
)
DUMMY = {"LABELLOOP_DUMMY": "true"}  # the wiring is real, the model is not


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    with label_studio(tmp_path_factory.mktemp("label_studio")) as server:
        yield server


class Annotator:
    """Works through the labeling stream; every call of Label Studio's API must succeed."""

    def __init__(self, server: LabelStudioServer, trigger: TriggerProcess, tasks: int) -> None:
        self._server, self._trigger = server, trigger
        self.project = self.call("POST", "/api/projects/", {"title": "sleep", "label_config": CONFIG})["id"]
        images = [{"image": f"https://e.org/{n}.jpg"} for n in range(tasks)]
        self.call("POST", f"/api/projects/{self.project}/import", images)
        backend = {
            "project": self.project, "url": trigger.url, "title": "labelloop", "auth_method": "BASIC_AUTH",
            "basic_auth_user": USER, "basic_auth_pass": PASSWORD,
        }  # fmt: skip
        self.call("POST", "/api/ml", backend)
        for webhook in self.call("GET", f"/api/webhooks/?project={self.project}"):
            self.call("DELETE", f"/api/webhooks/{webhook['id']}/")
        webhook = {"project": self.project, "url": f"{trigger.url}/webhook", "headers": {SECRET_HEADER: SECRET}}
        self.call("POST", "/api/webhooks/", webhook | {"send_payload": True, "send_for_all_actions": True})
        self.call("PATCH", f"/api/projects/{self.project}/", {"show_collab_predictions": True})

    def call(self, method: str, path: str, body: Any = None) -> Any:
        with self._server.session() as http:
            answer = http.request(method, self._server.url + path, json=body, timeout=120)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer.json() if answer.content else None

    def next_task(self) -> tuple[int, list[str]]:
        """The next task of the labeling stream, and the versions of its predictions."""
        task = self.call("GET", f"/api/projects/{self.project}/next")
        return task["id"], [prediction["model_version"] for prediction in task["predictions"]]

    def annotate(self, task: int) -> None:
        self.call("POST", f"/api/tasks/{task}/annotations/", {"result": []})

    def assert_connected(self) -> None:
        """What the model page shows: Label Studio asks /health and /setup for it."""
        (backend,) = self.call("GET", f"/api/ml/?project={self.project}")
        assert (backend["state"], backend["error_message"]) == ("CO", None)


def metrics(trigger: TriggerProcess) -> str:
    return requests.get(f"{trigger.url}/metrics", headers={SECRET_HEADER: SECRET}, timeout=30).text


def test_label_studio_never_notices_that_predict_sleeps_wakes_and_dies(
    tmp_path: Path, server: LabelStudioServer
) -> None:
    place, port = Place(tmp_path, server.url, server.token), choose_port()
    settings = {
        "PREDICT_URL": f"http://{LOOPBACK}:{port}",
        "LABELLOOP_PREDICT_DEADLINE": "8",
        "LABELLOOP_WARM_UP_INTERVAL": "0.5",
        **DUMMY,
    }
    with place.function(**settings) as trigger, ThreadPoolExecutor(1) as page:
        annotator = Annotator(server, trigger, tasks=4)
        for attempt in ("asleep", "killed"):
            opened = page.submit(annotator.next_task)
            eventually(lambda: "labelloop_waiting 1.0" in metrics(trigger), "the page waits for predict")
            annotator.assert_connected()  # while one waits
            assert opened.result()[1] == [], attempt  # it sleeps longer than Label Studio may wait
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


def with_predictions(annotator: Annotator) -> tuple[int, list[str]] | None:
    task, versions = annotator.next_task()
    return (task, versions) if versions else None
