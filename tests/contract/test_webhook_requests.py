"""Requests recorded from a real Label Studio, answered by train_trigger."""

import json
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import flask
import pytest
from pydantic import SecretStr
from werkzeug.test import EnvironBuilder

from functions.train_trigger.metrics import Metrics
from functions.train_trigger.routes import Routes
from functions.train_trigger.threads import ProcessThreads
from functions.train_trigger.trigger import Trigger
from functions.train_trigger.warm_up import WarmUp
from shared.errors import LaunchError, ProjectGone
from shared.evolve import evolve
from shared.labelstudio.requests import Event
from shared.objectstore.file import FileStore
from shared.settings import Settings
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.projects import write_project
from shared.state.runs import Progress
from shared.web.access import SECRET_HEADER
from shared.web.backend import Backend
from shared.web.http import Function, Route
from tests.fakes.trigger_parts import CONFIG, FakeLabelStudio, FakeLauncher
from tests.samples.shown_projects import add_base
from tests.servers.web_server import web_server

REQUESTS = Path(__file__).parent / "requests"
EVENTS = sorted(path.stem for path in REQUESTS.glob("webhook_*.json") if path.stem != "webhook_start_training")
SECRET, USER, PASSWORD = "s3cret", "labelloop", "passw0rd"


def recorded(name: str) -> dict[str, Any]:
    request: dict[str, Any] = json.loads((REQUESTS / f"{name}.json").read_text())
    return request


EXAMPLE = recorded("webhook_annotation_created")["body"]["project"]
CREATED = datetime.fromisoformat(EXAMPLE["created_at"])
UID = f"{EXAMPLE['id']}.{int(CREATED.timestamp())}"


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back. `json`: None where the body is none."""

    status_code: int
    json: Any
    text: str


class Trial:
    """train_trigger with its routes, without a server. `patience`: seconds until an event is answered anyway."""

    def __init__(self, folder: Path, predict_url: str | None = None, *, patience: float = 60.0) -> None:
        self.store = FileStore(f"file://{folder}")
        self.label_studio, self.launcher, self.metrics = FakeLabelStudio(), FakeLauncher(), Metrics()
        self.label_studio.created_at = CREATED
        self.label_studio.annotations = 20
        settings = evolve(
            Settings(),
            store=self.store.url,
            basic_auth_password=SecretStr(PASSWORD),
            webhook_secret=SecretStr(SECRET),
            predict_url=predict_url,
        )
        trigger = Trigger(self.store, self.label_studio, self.launcher, settings, self.metrics)
        warm_up = WarmUp(settings, self.store, self.metrics)
        routes = Routes(self.store, trigger, warm_up, self.metrics, ProcessThreads(), debounce=60, patience=patience)
        self.function = Function(
            [
                *Backend(settings, self.store).routes(),
                Route("POST", "/webhook", "basic or secret", routes.webhook),
                Route("POST", "/train", "basic", routes.train),
                Route("POST", "/prelabel", "basic", routes.prelabel),
                Route("POST", "/stop", "basic", routes.stop),
                Route("POST", "/job_status", "basic", routes.job_status),
                Route("POST", "/sweep", "basic or secret", routes.sweep),
                Route("GET", "/metrics", "basic or secret", routes.metrics),
            ],
            settings,
            registry=self.metrics.registry,
        )

    def send(self, method: str, path: str, body: Any = None, *, basic: bool = True, secret: bool = False) -> Answered:
        builder = EnvironBuilder(path, method=method, json=body, auth=(USER, PASSWORD) if basic else None)
        if secret:
            builder.headers[SECRET_HEADER] = SECRET
        response = self.function(flask.Request(builder.get_environ()))
        return Answered(response.status_code, response.get_json(silent=True), response.get_data(as_text=True))

    def event(self, name: str) -> Answered:
        request = recorded(name)
        return self.send(request["method"], request["path"], request["body"], basic=False, secret=True)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


@pytest.mark.parametrize("name", EVENTS)
def test_every_recorded_event_is_a_hint_to_look_at_its_project(trial: Trial, name: str) -> None:
    answered = trial.event(name)
    assert (answered.status_code, answered.json["status"]) == (200, "launched")
    assert [attempt for _, attempt in trial.launcher.launched] == [1]
    assert Jobs(trial.store, UID).read().training is not None
    assert trial.event(name).json == {"status": "noted"}  # the same once more: at the end of the interval
    assert len(trial.launcher.launched) == 1


def test_an_event_is_answered_while_label_studio_hangs_and_its_project_is_looked_at_afterwards(
    tmp_path: Path,
) -> None:
    trial = Trial(tmp_path, patience=0.1)
    trial.label_studio.reachable.clear()
    assert trial.event("webhook_annotation_created").json == {"status": "under way"}
    assert trial.event("webhook_annotation_created").json == {"status": "noted"}
    trial.label_studio.reachable.set()
    end = time.monotonic() + 60
    while not trial.launcher.launched:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_uid_is_the_one_that_label_studio_sends_to_setup() -> None:
    event = Event.parse(json.dumps(recorded("webhook_annotation_created")["body"]).encode())
    assert event.project is not None
    assert event.project.uid == UID
    setup = recorded("setup")["body"]["project"]
    assert setup.split(".")[1].isdecimal()


def test_the_start_training_button(trial: Trial) -> None:
    trial.label_studio.annotations = 1  # far below the threshold: a person asks
    request = recorded("webhook_start_training")
    first = trial.send("POST", request["path"], request["body"])
    assert first.status_code == 200
    run_id, _ = trial.launcher.launched[0]
    assert first.json["job"] == f"{UID}/{run_id}"
    assert len(first.json["job"]) <= 128  # what Label Studio's column holds
    again = trial.send("POST", request["path"], request["body"])
    assert (again.status_code, again.json["job"], again.json["status"]) == (200, first.json["job"], "active")
    assert len(trial.launcher.launched) == 1


def test_the_button_while_base_weights_are_made(trial: Trial) -> None:
    """The job that Label Studio remembers is the training, also before it begins."""
    trial.label_studio.annotations = 1
    write_project(trial.store, UID, label_config=trial.label_studio.label_config)
    trial.event("webhook_annotation_created")
    jobs = Jobs(trial.store, UID)
    base = jobs.update(claims.start, jobs.read().held.run_id, nonce="n", lifetime=60).held
    assert base.kind == "base"
    answered = trial.send("POST", "/webhook", recorded("webhook_start_training")["body"])
    assert (answered.status_code, answered.json["status"]) == (200, "waiting")
    job = answered.json["job"]
    assert job.split("/")[1] != base.run_id
    assert trial.send("POST", "/job_status", {"job": job}).json == {"job_status": "queued"}
    jobs.update(claims.release, base, outcome="prepared")
    trial.send("POST", "/sweep")
    assert trial.launcher.launched[-1] == (job.split("/")[1], 1)
    assert trial.send("POST", "/job_status", {"job": job}).json == {"job_status": "queued"}


def test_older_label_studios_post_train(trial: Trial) -> None:
    answered = trial.send("POST", "/train", {"project": UID, "annotations": [], "label_config": "<View/>"})
    assert answered.json["job"] == f"{UID}/{trial.launcher.launched[0][0]}"
    assert trial.send("POST", "/train", {"project": "1"}).status_code == 400


def test_the_button_on_an_empty_project_starts_nothing_and_says_why(trial: Trial) -> None:
    trial.label_studio.annotations = 0
    request = recorded("webhook_start_training")
    answered = trial.send("POST", request["path"], request["body"])
    assert answered.status_code == 409
    assert answered.json == {"status": "nothing", "error": "nothing is annotated yet"}


def test_the_button_when_nothing_can_be_launched(trial: Trial) -> None:
    trial.launcher.error = LaunchError("no such queue")
    request = recorded("webhook_start_training")
    answered = trial.send("POST", request["path"], request["body"])
    assert answered.status_code == 503
    assert answered.json == {"status": "refused", "error": "no such queue"}


def test_the_state_of_a_job(trial: Trial) -> None:
    job = trial.send("POST", "/train", {"project": UID}).json["job"]
    jobs = Jobs(trial.store, UID)

    def state(job: str) -> tuple[int, Any]:
        answered = trial.send("POST", "/job_status", {"job": job})
        return answered.status_code, answered.json.get("job_status")

    assert state(job) == (200, "queued")
    claim = jobs.update(claims.start, job.split("/")[1], nonce="n", lifetime=60).held
    assert state(job) == (200, "started")
    jobs.update(claims.release, claim, outcome="promoted", baseline=None)
    assert state(job) == (200, "finished")
    for unknown in (f"{UID}/run-2", f"9.9/{claim.run_id}", f"{UID}/../../x", UID):
        assert state(unknown) == (410, None)
    assert state("../..")[0] == 410


def test_runs_are_stopped(trial: Trial) -> None:
    assert trial.send("POST", "/stop", {"project": UID}).status_code == 404
    assert trial.send("POST", "/stop", {"project": "1"}).status_code == 400
    job = trial.send("POST", "/train", {"project": UID}).json["job"]
    assert trial.send("POST", "/stop", {"project": UID, "only": "predictions"}).status_code == 404
    answered = trial.send("POST", "/stop", {"project": UID, "only": "training"})
    assert answered.json == {
        "stopped": [{"run_id": job.split("/")[1], "reason": "stopped by somebody, with `labelloop stop`"}]
    }
    assert trial.launcher.stopped == ["fake:1"]
    assert trial.send("POST", "/job_status", {"job": job}).json == {"job_status": "finished"}


def test_predictions_are_written_when_a_person_asks(trial: Trial) -> None:
    assert trial.send("POST", "/prelabel", {"project": "1"}).status_code == 400
    refused = trial.send("POST", "/prelabel", {"project": UID})
    assert (refused.status_code, refused.json["status"]) == (409, "nothing")
    assert "not connected: `labelloop connect`" in refused.json["error"]
    add_base(trial.store, "yolo11n.pt", "detect")
    write_project(trial.store, UID, label_config=CONFIG, push=True)
    assert "every task has a prediction" in trial.send("POST", "/prelabel", {"project": UID}).json["error"]
    trial.label_studio.tasks = [3, 4]
    begun = trial.send("POST", "/prelabel", {"project": UID})
    assert (begun.status_code, begun.json["status"]) == (200, "launched")
    again = trial.send("POST", "/prelabel", {"project": UID}).json
    assert (again["status"], again["job"]) == ("active", begun.json["job"])


def test_a_failed_run_and_an_older_one(trial: Trial) -> None:
    jobs = Jobs(trial.store, UID)

    def run(outcome: Any) -> tuple[str, str]:
        job = trial.send("POST", "/train", {"project": UID}).json["job"]
        run_id = job.split("/")[1]
        jobs.update(
            claims.release,
            jobs.update(claims.start, run_id, nonce="n", lifetime=60).held,
            outcome=outcome,
            baseline=None,
        )
        return job, run_id

    first, first_id = run("failed")
    assert trial.send("POST", "/job_status", {"job": first}).json == {"job_status": "failed"}
    second, _ = run("promoted")
    assert trial.send("POST", "/job_status", {"job": second}).json == {"job_status": "finished"}
    assert trial.send("POST", "/job_status", {"job": first}).status_code == 410  # its files are gone
    jobs.runs.write_progress(first_id, Progress(phase="failed", attempt=1, updated_at=CREATED))
    assert trial.send("POST", "/job_status", {"job": first}).json == {"job_status": "failed"}


def test_an_event_without_payload_sweeps_the_known_projects(trial: Trial) -> None:
    write_project(trial.store, UID, label_config="<View/>")
    answered = trial.send("POST", "/webhook", {"action": "ANNOTATION_CREATED"}, basic=False, secret=True)
    assert answered.status_code == 200
    assert len(trial.launcher.launched) == 1


def test_a_deletion_with_the_id_alone_closes_nothing_by_itself(trial: Trial) -> None:
    write_project(trial.store, UID, label_config="<View/>")
    deleted = {"action": "PROJECT_DELETED", "project": {"id": 1}}
    assert trial.send("POST", "/webhook", deleted, secret=True).json["status"] == "launched"
    assert not Jobs(trial.store, UID).read().closed
    other = {"action": "PROJECT_DELETED", "project": {"id": 11}}
    assert trial.send("POST", "/webhook", other, secret=True).json == {"status": "noted"}


def test_a_deletion_that_label_studio_confirms_closes(trial: Trial) -> None:
    write_project(trial.store, UID, label_config="<View/>")
    trial.label_studio.error = ProjectGone("404")
    deleted = {"action": "PROJECT_DELETED", "project": {"id": 1}}
    assert trial.send("POST", "/webhook", deleted, secret=True).json["status"] == "closed"
    assert Jobs(trial.store, UID).read().closed


def test_the_sweep_answers_a_summary(trial: Trial) -> None:
    write_project(trial.store, UID, label_config="<View/>")
    summary = trial.send("POST", "/sweep", basic=False, secret=True).json
    assert (summary["projects"], summary["outcomes"]) == (1, {"launched": 1})
    assert summary["details"][UID]["run_id"] == trial.launcher.launched[0][0]


@pytest.mark.parametrize(
    ("method", "path", "basic", "secret", "status"),
    [
        ("GET", "/health", False, False, 200),
        ("POST", "/webhook", False, False, 401),
        ("POST", "/webhook", True, False, 400),  # let in: the body is no event
        ("POST", "/webhook", False, True, 400),
        ("POST", "/train", False, True, 401),
        ("POST", "/prelabel", False, True, 401),
        ("POST", "/stop", False, True, 401),
        ("POST", "/job_status", False, True, 401),
        ("POST", "/sweep", False, False, 401),
        ("POST", "/sweep", False, True, 200),
        ("GET", "/metrics", False, False, 401),
        ("GET", "/metrics", True, False, 200),
    ],
)
def test_who_may_ask(trial: Trial, method: str, path: str, basic: bool, secret: bool, status: int) -> None:
    assert trial.send(method, path, basic=basic, secret=secret).status_code == status


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"project": {"id": 1}},
        {"action": 7},
        {"action": "START_TRAINING"},
        {"action": "START_TRAINING", "project": {"id": 1, "created_at": "0001-01-01T00:00:00"}},
        {"action": "START_TRAINING", "project": {"id": 1}},
        {"action": "ANNOTATION_CREATED", "project": {"id": "x"}},
    ],
)
def test_what_is_no_event_is_refused(trial: Trial, body: Any) -> None:
    assert trial.send("POST", "/webhook", body).status_code == 400
    assert trial.launcher.launched == []


def test_events_and_answers_are_counted_by_action(trial: Trial) -> None:
    trial.event("webhook_annotation_created")
    trial.send("POST", "/webhook", {"action": "MADE_UP_" + "x" * 500}, secret=True)
    text = trial.send("GET", "/metrics").text
    for line in (
        'labelloop_events_total{action="ANNOTATION_CREATED"} 1.0',
        'labelloop_events_total{action="other"} 1.0',
        'labelloop_launches_total{result="launched"} 1.0',
        'labelloop_http_requests_total{route="/webhook",status="200"} 2.0',
    ):
        assert line in text


def test_annotations_and_setup_wake_a_predict_that_sleeps_and_nothing_else_does(tmp_path: Path) -> None:
    with web_server(lambda handler: handler.reply(200, b"{}")) as predict:
        trial = Trial(tmp_path, predict.url)
        write_project(trial.store, UID, label_config="<View/>")
        for name in EVENTS:
            if not name.startswith("webhook_annotation"):
                trial.event(name)
        assert trial.metrics.text().count(b"labelloop_warm_ups_total{") == 0
        trial.event("webhook_annotation_created")
        end = time.monotonic() + 60
        while b'labelloop_warm_ups_total{result="awake"} 1.0' not in trial.metrics.text():
            assert time.monotonic() < end
            time.sleep(0.01)
    assert [seen.path for seen in predict.seen] == ["/health", "/setup"]
