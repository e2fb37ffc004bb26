"""train_trigger beside a real Label Studio: its webhooks, its button, and what no event announces."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.label_studio import VENV, LabelStudioServer
from shared.labelstudio.api import LabelStudio
from shared.state.jobs import Jobs
from shared.web.access import SECRET_HEADER
from tests.servers.trigger_process import PASSWORD, SECRET, USER, Place, TriggerProcess, eventually

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Tree"/></RectangleLabels></View>'
)
BOX = {
    "from_name": "label", "to_name": "image", "type": "rectanglelabels", "original_width": 100, "original_height": 100,
    "value": {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["Tree"]},
}  # fmt: skip

# Asks for the state of the newest training job, at every line of input, with Label Studio's own code: its pages and API
# have no route for it.
ASK_JOB_STATE = """
import os, sys
sys.path.insert(0, sys.argv[1] + "/label_studio")
os.environ["DJANGO_SETTINGS_MODULE"] = "label_studio.core.settings.label_studio"
import django
django.setup()
from ml.models import MLBackendTrainJob
for _ in sys.stdin:
    job = MLBackendTrainJob.objects.latest("id")
    answer = job.ml_backend.api.get_train_job_status(job)
    print("ANSWER", job.job_id, answer.status_code, answer.response.get("job_status"), flush=True)
"""


class Project:
    """A project of the real Label Studio, worked on as an annotator does."""

    def __init__(self, server: LabelStudioServer, tasks: int) -> None:
        self.server = server
        self.call = LabelStudio(server.url, server.token, timeout=60).request_json
        made = self.call("POST", "/api/projects/", {"title": "trigger", "label_config": CONFIG})
        self.id = made["id"]
        self.call(
            "POST", f"/api/projects/{self.id}/import", [{"image": f"https://e.org/{n}.jpg"} for n in range(tasks)]
        )
        listed = self.call("GET", f"/api/tasks?project={self.id}&page_size=100")
        self.tasks = [task["id"] for task in listed["tasks"]]

    def annotate(self, task: int) -> int:
        made = self.call("POST", f"/api/tasks/{task}/annotations/", {"result": [BOX]})
        return int(made["id"])

    def let_a_second_pass(self) -> None:
        """Label Studio's clock, read from its Date header, has whole seconds."""

        def clock() -> float:
            answer = requests.get(f"{self.server.url}/health", timeout=30)
            return parsedate_to_datetime(answer.headers["Date"]).timestamp()

        then = clock()
        eventually(lambda: clock() >= then + 2, "Label Studio's clock moves on")

    def add_backend(self, trigger: TriggerProcess) -> dict[str, Any]:
        """The trigger as ML backend; the webhook that Label Studio makes for it goes."""
        backend: dict[str, Any] = self.call(
            "POST",
            "/api/ml",
            {"project": self.id, "url": trigger.url, "title": "labelloop", "auth_method": "BASIC_AUTH",
             "basic_auth_user": USER, "basic_auth_pass": PASSWORD},
        )  # fmt: skip
        for webhook in self.call("GET", f"/api/webhooks/?project={self.id}"):
            self.call("DELETE", f"/api/webhooks/{webhook['id']}/")
        return backend

    def add_webhook(self, trigger: TriggerProcess, *, payload: bool = True) -> None:
        self.call(
            "POST",
            "/api/webhooks/",
            {"project": self.id, "url": f"{trigger.url}/webhook", "headers": {SECRET_HEADER: SECRET},
             "send_payload": payload, "send_for_all_actions": True},
        )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, server: LabelStudioServer) -> Iterator[Place]:
    place = Place(tmp_path, server.url, server.token)
    yield place
    place.finish()


def only_project(place: Place) -> str:
    uids = {path.name for path in (place.folder / "store" / "projects").iterdir()}
    assert len(uids) == 1
    return uids.pop()


@pytest.mark.parametrize("payload", [True, False], ids=["with payload", "without payload"])
def test_annotations_start_one_run_by_label_studio_s_own_webhook(
    place: Place, server: LabelStudioServer, payload: bool
) -> None:
    project = Project(server, tasks=4)
    with place.function(LABELLOOP_MIN_ANNOTATIONS="3") as trigger:
        project.add_backend(trigger)
        project.add_webhook(trigger, payload=payload)
        for task in project.tasks[:2]:
            project.annotate(task)
        assert place.starts() == []
        project.annotate(project.tasks[2])
        eventually(place.starts, "the third annotation starts a run")
        uid = only_project(place)
        assert uid.startswith(f"{project.id}.")
        place.running(uid)
        project.annotate(project.tasks[3])
        assert trigger.sweep()["outcomes"] == {"active": 1}
        assert len(place.starts()) == 1


def test_the_sweep_finds_what_no_event_announced(place: Place, server: LabelStudioServer) -> None:
    project = Project(server, tasks=3)
    with place.function(LABELLOOP_MIN_ANNOTATIONS="2", LABELLOOP_CHANGED_SHARE="0") as trigger:
        project.add_backend(trigger)  # makes the project known by /setup; there is no webhook at all
        annotations = [project.annotate(task) for task in project.tasks[:2]]
        project.let_a_second_pass()

        def one_more_run(count: int, *, after: str) -> None:
            assert trigger.sweep()["outcomes"] == {"launched": 1}, after
            uid = only_project(place)
            place.running(uid)
            eventually(lambda: len(place.starts()) == count, after)
            place.finish_run(uid)
            assert trigger.sweep()["outcomes"] == {"nothing": 1}, f"a second run after {after}"

        one_more_run(1, after="annotations that were never announced")

        project.call("PATCH", f"/api/annotations/{annotations[0]}/", {"result": [BOX, BOX]})
        project.let_a_second_pass()
        one_more_run(2, after="an updated annotation")

        project.call("DELETE", f"/api/annotations/{annotations[1]}/")
        project.annotate(project.tasks[1])
        project.let_a_second_pass()
        one_more_run(3, after="an annotation that was deleted and made anew")

        project.call("DELETE", f"/api/annotations/{annotations[0]}/")
        project.let_a_second_pass()
        one_more_run(4, after="a deleted annotation")

        project.call("DELETE", f"/api/projects/{project.id}/")
        assert trigger.sweep()["outcomes"] == {"closed": 1}
        assert Jobs(place.store, only_project(place)).read().closed
        assert len(place.starts()) == 4


def test_the_start_training_button_and_the_state_of_its_job(place: Place, server: LabelStudioServer) -> None:
    project = Project(server, tasks=2)
    with place.function() as trigger, job_states(server, place.folder / "job-states.log") as job_state:
        backend = project.add_backend(trigger)
        button = f"/api/ml/{backend['id']}/train"

        project.call("POST", button, {})  # nothing is annotated yet
        assert place.starts() == []

        project.annotate(project.tasks[0])  # one of twenty: a person decides, not the threshold
        project.call("POST", button, {})
        eventually(place.starts, "the button starts a run")
        uid = only_project(place)
        place.running(uid)
        claim = Jobs(place.store, uid).read().training
        assert claim is not None
        assert claim.forced
        assert job_state() == [f"{uid}/{claim.run_id}", "200", "started"]

        project.call("POST", button, {})  # while the run is active: the same run
        assert len(place.starts()) == 1

        place.finish_run(uid)
        assert job_state()[2] == "finished"
        for path in (place.folder / "store").rglob("jobs.json"):
            path.unlink()
        assert job_state()[1] == "410"


@contextmanager
def job_states(server: LabelStudioServer, log: Path) -> Iterator[Callable[[], list[str]]]:
    """Answers job, HTTP status and state, as Label Studio itself gets them, at every call."""
    (packages,) = VENV.glob("lib/python3.*/site-packages")
    environ = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(server.folder),
        "HOME": str(server.folder),
        "ML_BLOCK_LOCAL_IP": "false",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
    }
    command = [str(VENV / "bin" / "python"), "-c", ASK_JOB_STATE, str(packages)]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        ) as asking,
    ):
        assert asking.stdin
        assert asking.stdout
        questions, output = asking.stdin, asking.stdout

        def ask() -> list[str]:
            questions.write("\n")
            questions.flush()
            answer = next((line for line in output if line.startswith("ANSWER")), None)
            assert answer is not None, log.read_text()[-2000:]
            return answer.split()[1:]

        yield ask
