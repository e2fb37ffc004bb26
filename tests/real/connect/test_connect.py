"""`labelloop connect` and `doctor` on a real Label Studio, with both functions running as `up --dummy` runs them."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from label_studio_sdk.label_interface import LabelInterface
from PIL import Image
from typer.testing import CliRunner

from functions.train_trigger.status.counting import Counted, counting
from functions.train_trigger.status.findings import Finding
from infra.cli.connect import connect
from infra.cli.disconnect import disconnect
from infra.cli.doctor import examine
from infra.cli.environment import Invocation
from infra.cli.findings import problems
from infra.cli.main import app
from infra.cli.suspects_tab import TITLE, show_in_tab
from infra.cli.wiring import ACTIONS
from infra.demo.samples import base_weights
from infra.local.emulation import emulation
from infra.local.label_studio import LabelStudioServer, label_studio
from infra.local.processes import choose_port
from shared.errors import LabelStudioError
from shared.evolve import evolve
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.requests import ProjectCounters
from shared.objectstore import ObjectStore, open_store
from shared.prediction.region_ids import SMART
from shared.settings import Settings
from shared.state.base_weights import add_base_weights
from shared.state.effort import read_effort
from shared.state.jobs import Jobs
from shared.state.projects import projects, read_project, write_project
from shared.state.versions import GRAPH, WEIGHTS
from tests.servers.trigger_process import eventually

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="Tree"/>'
    "</RectangleLabels></View>"
)


LABELS = '<Label value="Tree"/>'
TAGS = ("RectangleLabels", "PolygonLabels", "BrushLabels", "EllipseLabels")
EVERYTHING = (
    '<View><Image name="image" value="$image"/>'
    + "".join(f'<{tag} name="{tag}" toName="image" model_skip="{tag[0] == "R"}">{LABELS}</{tag}>' for tag in TAGS)
    + '<KeyPointLabels name="points" toName="image"><Label value="top"/><Label value="foot"/></KeyPointLabels>'
    '<Choices name="season" toName="image"><Choice value="summer"/><Choice value="winter"/></Choices>'
    '<Choices name="state" toName="image" perRegion="true"><Choice value="alive"/></Choices>'
    "</View>"
)


def quiet(_: str) -> None:
    """Nobody watches the start."""


@pytest.fixture(scope="module")
def settings(server: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Those of both functions, which are running."""
    folder = tmp_path_factory.mktemp("functions")
    given = Settings.from_environ(
        {
            "HOST": "127.0.0.1",
            "LABEL_STUDIO_URL": server.url,
            "LABEL_STUDIO_API_KEY": server.token,
            "LABELLOOP_STORE": (folder / "store").as_uri(),
            "LABELLOOP_WORK_DIR": str(folder / "work"),
            "LABELLOOP_CACHE_DIR": str(folder / "cache"),
            "LABELLOOP_DUMMY": "true",
        }
    )
    with emulation(given, folder / "logs", environ=os.environ, say=quiet) as running:
        yield running.settings


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    """The functions' store."""
    return open_store(settings.store)


@pytest.fixture
def client(server: LabelStudioServer) -> LabelStudio:
    """With the legacy token."""
    return LabelStudio(server.url, server.token, timeout=30)


@pytest.fixture
def project(client: LabelStudio) -> int:
    """A new project."""
    return make_project(client)


def make_project(client: LabelStudio) -> int:
    return int(client.request_json("POST", "/api/projects/", {"title": "trees", "label_config": CONFIG})["id"])


def backends(client: LabelStudio, project: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get_json("/api/ml/", {"project": str(project)})
    return found


def webhooks(client: LabelStudio, project: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get_json("/api/webhooks/", {"project": str(project)})
    return found


def of(findings: list[Finding], check: str) -> list[str]:
    """The levels of one check's findings."""
    return [finding.level for finding in findings if finding.check == check]


def changes(findings: list[Finding]) -> list[str]:
    return [finding.message for finding in findings if finding.level == "changed"]


def only_problem(findings: list[Finding]) -> Finding:
    (problem,) = problems(findings)
    return problem


def test_connect_makes_what_is_needed_and_a_second_call_changes_nothing(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    first = connect(client, settings, project, store=store)

    assert not problems(first)
    assert of(first, "events") == ["ok"]
    (backend,), (webhook,) = backends(client, project), webhooks(client, project)
    assert settings.webhook_secret is not None
    assert (backend["title"], backend["url"], backend["state"]) == ("labelloop", settings.predict_url, "CO")
    assert (backend["auth_method"], backend["is_interactive"]) == ("BASIC_AUTH", True)
    assert webhook["url"] == f"{settings.train_trigger_url}/webhook"
    assert webhook["headers"] == {"X-Labelloop-Secret": settings.webhook_secret.get_secret_value()}
    assert sorted(webhook["actions"]) == sorted(ACTIONS)
    assert (webhook["send_for_all_actions"], webhook["send_payload"], webhook["is_active"]) == (False, True, True)
    assert client.get_json(f"/api/projects/{project}/")["model_version"] == "labelloop"

    second = connect(client, settings, project, store=store)

    assert not problems(second)
    assert changes(second) == []
    assert webhooks(client, project) == [webhook]
    assert [found["id"] for found in backends(client, project)] == [backend["id"]]


def test_connect_ends_with_how_far_the_first_training_is(
    settings: Settings, store: ObjectStore, project: int, tmp_path: Path
) -> None:
    invocation = Invocation(settings.to_environ(), tmp_path)
    answer = CliRunner().invoke(app, ["connect", "--project", str(project)], obj=invocation, env={"COLUMNS": "200"})
    assert answer.exit_code == 0, answer.output
    connected, last = answer.output.splitlines()[-2:]
    assert connected == "Connected."
    assert last.startswith("Next training: 0 of 5 annotated tasks; label away; ")


def test_a_connected_project_shows_predictions_to_annotators(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, server: LabelStudioServer
) -> None:
    upload_image(server, project)
    toggled = {"start_training_on_annotation_update": True}
    client.request_json("PATCH", f"/api/projects/{project}/", toggled)

    findings = connect(client, settings, project, store=store)

    assert of(findings, "training") == ["warning"], "each annotation would ask for a training"
    assert [found.message.split(": ")[1][:5] for found in findings if found.check == "prediction"] == ["1 box"]
    client.request_json("PATCH", f"/api/projects/{project}/", {"start_training_on_annotation_update": False})
    task = client.get_json(f"/api/projects/{project}/next")

    assert [prediction["model_version"] for prediction in task["predictions"]] == ["label:dummy"]


def test_label_studio_takes_predictions_of_every_control_of_an_image(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, server: LabelStudioServer
) -> None:
    client.request_json("PATCH", f"/api/projects/{project}/", {"label_config": EVERYTHING})
    upload_image(server, project)
    connect(client, settings, project, store=store)

    ((prediction,),) = (task["predictions"] for task in [client.get_json(f"/api/projects/{project}/next")])

    kinds = [(item["from_name"], item["type"]) for item in prediction["result"]]
    assert kinds == [
        *((tag, tag.lower()) for tag in TAGS[1:]),
        ("RectangleLabels", "rectanglelabels"),  # around the points
        *[("points", "keypointlabels")] * 2,
        ("season", "choices"),
        ("state", "choices"),
    ]


def test_what_is_not_understood_of_the_labeling_config_is_named(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    config = CONFIG.replace("<Rect", '<TextArea name="why" toName="image"/><Rect', 1).replace(
        'name="label"', 'name="label" model_path="../weights.pt" model_obb="perhaps"'
    )
    client.request_json("PATCH", f"/api/projects/{project}/", {"label_config": config})

    connected = connect(client, settings, project, store=store)
    examined = examine(client, settings, store, str(project))

    assert not problems(connected)
    assert of(connected, "config") == ["warning"] * 3
    named = [finding.message for finding in examined if finding.check == "config"]
    assert named == [finding.message for finding in connected if finding.check == "config"]
    assert ["why" in named[0], "model_obb" in named[1], "model_path" in named[2]] == [True] * 3


def test_personal_access_tokens_do(
    server: LabelStudioServer, settings: Settings, store: ObjectStore, project: int
) -> None:
    client = LabelStudio(server.url, server.personal_access_token(), timeout=30)

    findings = connect(client, settings, project, store=store)

    assert not problems(findings)
    assert "personal access token" in findings[0].message


def test_a_uid_names_the_project_too(client: LabelStudio, settings: Settings, store: ObjectStore, project: int) -> None:
    uid = client.project(project).counters.uid
    assert uid is not None

    assert not problems(connect(client, settings, uid, store=store))
    assert "another installation" in only_problem(connect(client, settings, f"{project}.1", store=store)).message


def test_a_wrong_token_is_said_and_not_shown(
    server: LabelStudioServer, settings: Settings, store: ObjectStore, project: int
) -> None:
    client = LabelStudio(server.url, "f" * 40, timeout=30)

    problem = only_problem(connect(client, settings, project, store=store))

    assert problem.check == "token"
    assert "LABEL_STUDIO_API_KEY" in problem.remedy
    assert "ffff" not in problem.message


def test_a_project_that_is_not_there(client: LabelStudio, settings: Settings, store: ObjectStore) -> None:
    assert "no project 12345" in only_problem(connect(client, settings, 12345, store=store)).message


def test_a_project_without_a_control_of_ours(client: LabelStudio, settings: Settings, store: ObjectStore) -> None:
    config = (
        '<View><Text name="text" value="$text"/><Choices name="c" toName="text"><Choice value="a"/></Choices></View>'
    )
    project = client.request_json("POST", "/api/projects/", {"title": "texts", "label_config": config})["id"]

    problem = only_problem(connect(client, settings, project, store=store))

    assert "RectangleLabels" in problem.remedy
    assert webhooks(client, project) == []


@pytest.mark.parametrize("wrong", ["basic_auth_password", "webhook_secret"])
def test_other_credentials_than_the_functions_change_nothing(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, wrong: str
) -> None:
    others = Settings.from_environ(settings.to_environ() | {f"LABELLOOP_{wrong.upper()}": "something-else"})

    findings = connect(client, others, project, store=store)

    assert [finding.check for finding in problems(findings)] == ["predict", "train_trigger"]
    assert all(f"LABELLOOP_{wrong.upper()}" in finding.remedy for finding in problems(findings))
    assert backends(client, project) == []
    assert webhooks(client, project) == []


@pytest.fixture(scope="module")
def blocking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """A Label Studio that calls no private address, as it is if nobody sets a switch."""
    switches = {"ML_BLOCK_LOCAL_IP": "true", "SSRF_PROTECTION_ENABLED": "true"}
    with label_studio(tmp_path_factory.mktemp("blocking"), environ=switches, say=quiet) as running:
        yield running


def test_a_label_studio_that_blocks_private_addresses(
    settings: Settings, store: ObjectStore, blocking: LabelStudioServer
) -> None:
    private_addresses_are_refused(settings, store, blocking)


def test_one_of_both_switches_is_not_enough(settings: Settings, store: ObjectStore, tmp_path: Path) -> None:
    with label_studio(tmp_path, environ={"SSRF_PROTECTION_ENABLED": "true"}, say=quiet) as half:
        private_addresses_are_refused(settings, store, half)


def private_addresses_are_refused(settings: Settings, store: ObjectStore, blocking: LabelStudioServer) -> None:
    client = LabelStudio(blocking.url, blocking.token, timeout=30)
    project = make_project(client)

    own = only_problem(connect(client, settings, project, store=store))
    public = only_problem(
        connect(client, settings, project, store=store, webhook_url="http://192.0.43.10/webhook")  # not private
    )

    for problem, check in ((own, "webhook"), (public, "backend")):
        assert problem.check == check
        assert "reserved network address" in problem.message
        for remedy in ("--no-inbound", "ML_BLOCK_LOCAL_IP=false", "SSRF_PROTECTION_ENABLED=false"):
            assert remedy in problem.remedy
    assert backends(client, project) == []
    assert webhooks(client, project) == []


def test_up_alone_serves_a_project_of_a_label_studio_that_calls_nobody(
    blocking: LabelStudioServer, tmp_path: Path
) -> None:
    client = LabelStudio(blocking.url, blocking.token, timeout=30)
    project, weights = make_project(client), base_weights()
    upload_image(blocking, project)
    environ = {name: value for name, value in os.environ.items() if "LABEL" not in name} | {
        "LABEL_STUDIO_URL": blocking.url,
        "LABEL_STUDIO_API_KEY": blocking.personal_access_token(),
        "LABELLOOP_BASE_WEIGHTS": str(weights),
        "LABELLOOP_SWEEP_INTERVAL": "1",
    }
    ports = [f"--{name}-port={choose_port()}" for name in ("predict", "train-trigger")]
    command = [sys.executable, "-m", "infra.cli.main", "up", "--project", str(project), *ports]

    def labelloop(*arguments: str) -> Any:
        answer = CliRunner().invoke(app, [*arguments, "--json"], obj=Invocation(environ, tmp_path))
        assert answer.exit_code == 0, answer.output
        return json.loads(answer.stdout)

    def predicted() -> list[int]:
        tasks = client.get_json("/api/tasks", {"project": str(project), "fields": "all"})["tasks"]
        return [len(task["predictions"]) for task in tasks]

    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as up:
        overdue = threading.Timer(180, up.kill)
        overdue.start()
        try:
            assert up.stdout is not None
            assert any("stops everything" in line for line in up.stdout)
            eventually(lambda: predicted() == [1], "the job predicts what is there")
            upload_image(blocking, project)
            eventually(lambda: predicted() == [1, 1], "the sweep finds an import that no event announced")
            config = CONFIG.replace("</Rect", '<Label value="Rock"/></Rect')
            client.request_json("PATCH", f"/api/projects/{project}/", {"label_config": config})
            store = open_store((tmp_path / "labelloop-data" / "store").as_uri())
            (uid,) = projects(store)
            eventually(lambda: config in str(read_project(store, uid)), "and a change of the labeling config")
            eventually(lambda: Jobs(store, uid).read().prelabel is None, "the job ends")
            found = labelloop("doctor", "--project", str(project))["findings"]
        finally:
            up.send_signal(signal.SIGINT)
            assert up.wait(60) == 0
            overdue.cancel()

    assert client.get_json(f"/api/projects/{project}/")["model_version"] == f"label:base-{weights.stem}"
    assert (backends(client, project), webhooks(client, project)) == ([], [])
    levels = {finding["check"]: finding["level"] for finding in found}
    assert (levels["connection"], levels["push"], levels["predictions"]) == ("ok", "ok", "ok")
    assert not {"backend", "webhook", "predict"} & levels.keys()
    assert labelloop("status")["projects"][0]["connection"] == "outbound"
    labelloop("disconnect", "--project", str(project))
    assert labelloop("status")["projects"][0]["connection"] == "none"
    assert client.get_json(f"/api/projects/{project}/")["model_version"] == ""


def test_a_tool_for_clicks_is_added_and_taken_out_again(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    def config() -> str:
        return str(client.get_json(f"/api/projects/{project}/")["label_config"])

    assert of(connect(client, settings, project, store=store, agrees=lambda _: True), "smart") == ["changed"]
    assert 'name="label_click"' in config()
    assert "label_click" in str(read_project(store, client.project(project).counters.uid or ""))
    again = connect(client, settings, project, store=store, agrees=lambda _: True)
    assert (of(again, "smart"), changes(again)) == (["ok"], [])
    assert [
        (one.level, one.remedy) for one in examine(client, settings, store, str(project)) if one.check == "smart"
    ] == [("ok", "")]
    assert of(disconnect(client, project, store=store, tell=lambda _: None), "smart") == ["changed"]
    assert config() == CONFIG


def test_a_half_made_backend_and_the_automatic_webhook_are_repaired(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    password = settings.basic_auth_password
    assert password is not None
    body = {"project": project, "title": "labelloop", "url": settings.predict_url}
    auth = {"auth_method": "BASIC_AUTH", "basic_auth_user": "labelloop", "basic_auth_pass": password.get_secret_value()}
    client.request_json("POST", "/api/ml/", body | auth)
    client.request_json("PATCH", f"/api/projects/{project}/", {"show_collab_predictions": False})
    assert webhooks(client, project)[0]["send_for_all_actions"]

    findings = connect(client, settings, project, store=store)

    assert not problems(findings)
    assert len(changes(findings)) == 4
    assert [backend["is_interactive"] for backend in backends(client, project)] == [True]
    assert [webhook["url"] for webhook in webhooks(client, project)] == [f"{settings.train_trigger_url}/webhook"]
    shown = client.get_json(f"/api/projects/{project}/")
    assert (shown["show_collab_predictions"], shown["model_version"]) == (True, "labelloop")


def test_what_somebody_changed_is_set_right(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    connect(client, settings, project, store=store)
    (webhook,) = webhooks(client, project)
    client.request_json("PATCH", f"/api/webhooks/{webhook['id']}/", {"is_active": False, "headers": {}})

    assert only_problem(examine(client, settings, store, str(project))).check == "webhook"
    assert len(changes(connect(client, settings, project, store=store))) == 1
    assert webhooks(client, project)[0]["is_active"]


def test_events_may_go_to_the_backend_address_which_hands_them_on(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    assert settings.predict_url is not None
    other_name = settings.predict_url.replace("127.0.0.1", "localhost")

    findings = connect(client, settings, project, store=store, backend_url=other_name)

    assert not problems(findings)
    assert of(findings, "events") == ["ok"]
    assert [webhook["url"] for webhook in webhooks(client, project)] == [f"{other_name}/webhook"]
    assert changes(connect(client, settings, project, store=store)) == []
    assert backends(client, project)[0]["url"] == other_name


@pytest.mark.parametrize("connected", [False, True])
def test_a_backend_that_label_studio_cannot_reach_changes_nothing(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, connected: bool
) -> None:
    if connected:
        connect(client, settings, project, store=store)

    problem = only_problem(connect(client, settings, project, store=store, backend_url="http://127.0.0.1:1"))

    assert "--backend-url" in problem.remedy
    assert "<a " not in problem.message
    own = (settings.predict_url, f"{settings.train_trigger_url}/webhook")
    assert [backend["url"] for backend in backends(client, project)] == [own[0]] * connected
    assert [webhook["url"] for webhook in webhooks(client, project)] == [own[1]] * connected


def test_a_webhook_host_without_a_dot_is_explained(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    problem = only_problem(connect(client, settings, project, store=store, webhook_url="http://trigger:9091/webhook"))

    assert "no dot" in problem.remedy
    assert backends(client, project) == []


def test_another_backend_in_front_is_said(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    password = settings.basic_auth_password
    assert password is not None
    body = {"project": project, "title": "other", "url": settings.train_trigger_url, "auth_method": "BASIC_AUTH"}
    credentials = {"basic_auth_user": "labelloop", "basic_auth_pass": password.get_secret_value()}
    client.request_json("POST", "/api/ml/", body | credentials)

    findings = connect(client, settings, project, store=store)

    assert "'other'" in only_problem(findings).message
    assert "warning" in of(findings, "predictions")


def test_doctor_fetches_an_image_and_changes_nothing(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, server: LabelStudioServer
) -> None:
    upload_image(server, project)

    before = examine(client, settings, store, str(project))

    assert only_problem(before).message == f"project {project} has no backend 'labelloop'"
    assert of(before, "image") == ["ok"]
    assert any("64×48 pixels" in finding.message for finding in before)
    assert webhooks(client, project) == []
    assert backends(client, project) == []

    connect(client, settings, project, store=store)

    assert not problems(examine(client, settings, store, str(project)))


def test_another_store_than_the_functions_is_found(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, tmp_path: Path
) -> None:
    connect(client, settings, project, store=store)

    problem = only_problem(examine(client, settings, open_store((tmp_path / "other").as_uri()), str(project)))

    assert problem.check == "same_store"


def test_labels_without_a_class_are_named(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, tmp_path: Path
) -> None:
    weights = tmp_path / "base.pt"
    weights.write_text("weights")
    add_base_weights(store, weights.name, "detect", ("0", "1"), {WEIGHTS: weights, GRAPH: weights})
    settings = evolve(settings, base_weights=str(weights))

    (finding,) = (found for found in examine(client, settings, store, str(project)) if found.check == "labels")

    assert finding.level == "warning"
    assert "no class for any label of 'label'" in finding.message


def test_a_renamed_label_is_named_with_its_tasks_and_an_alias_keeps_what_was_annotated(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    for place in range(3):
        data = {"project": project, "data": {"image": f"/{place}.jpg"}}
        task = client.request_json("POST", "/api/tasks/", data)["id"]
        annotate(client, task, [box("a", 10), box("b", 40)], lead_time=1.0)
    renamed, back = CONFIG.replace('"Tree"', '"tree crown"'), CONFIG.replace('"Tree"', '"Bäume" alias="Tree"')

    def said_of(config: str) -> list[str]:
        client.request_json("PATCH", f"/api/projects/{project}/", {"label_config": config})
        findings = examine(client, settings, store, str(project))
        return [one.message for one in findings if "annotated task" in one.message]

    assert said_of(CONFIG) == []
    assert said_of(renamed) == ["3 annotated tasks hold 'Tree', which is not in the labeling config of 'label'"]
    with pytest.raises(LabelStudioError, match="These labels still exist in annotations"):
        client.request_json("POST", f"/api/projects/{project}/validate/", {"label_config": renamed})
    assert said_of(back) == []
    client.request_json("POST", f"/api/projects/{project}/validate/", {"label_config": back})
    assert LabelInterface(back).validate_annotation({"result": [box("a", 10)]})
    assert client.tasks_with_label(project, "label", "Tree") == 3
    assert client.tasks_with_label(project, "label", "Baum") == client.tasks_with_label(project, "kind", "Tree") == 0
    uid = client.project(project).counters.uid
    assert uid is not None
    assert counting(client, patience=30)(uid, None) == Counted(annotated=3, changes=3)


def upload_image(server: LabelStudioServer, project: int) -> None:
    """One task with a real JPEG in Label Studio's own storage."""
    jpeg = io.BytesIO()
    Image.new("RGB", (64, 48), "green").save(jpeg, "JPEG")
    answer = server.session().post(
        f"{server.url}/api/projects/{project}/import",
        files={"file": ("tree.jpg", jpeg.getvalue(), "image/jpeg")},
        timeout=60,
    )
    assert answer.status_code == requests.codes.created, answer.text


def test_effort_counts_what_annotators_did_to_predictions(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, tmp_path: Path
) -> None:
    uid = str(ProjectCounters.model_validate(client.get_json(f"/api/projects/{project}/")).uid)
    write_project(store, uid, label_config=CONFIG)
    for place in range(3):
        data = {"project": project, "data": {"image": f"/{place}.jpg"}}
        task = client.request_json("POST", "/api/tasks/", data)["id"]
        if place == 2:  # by hand, and with a smart tool
            annotate(client, task, [box("c", 70), box(f"{SMART}d", 30, "manual")], lead_time=20.0)
            continue
        shown = {"task": task, "result": [box("a", 10), box("b", 40)], "model_version": "label:v1", "score": 0.5}
        prediction = client.request_json("POST", "/api/predictions/", shown)["id"]
        kept, moved, new = box("a", 10, "prediction"), box("b", 44, "prediction-changed"), box("c", 70, "manual")
        annotate(client, task, [kept, moved, new], lead_time=10.0, parent_prediction=prediction)
    picture = tmp_path / "effort.png"
    command = ["effort", "--project", uid, "--json", "--picture", str(picture)]

    answer = CliRunner().invoke(app, command, obj=Invocation(settings.to_environ(), tmp_path))

    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    by_hand, first = found["versions"]
    assert [by_hand[kind] for kind in ("version", "added", "smart", "images")] == [None, 1, 1, 1]
    assert (first["version"], first["control"], first["images"]) == ("v1", "label", 2)
    assert [first[kind] for kind in ("shown", "kept", "moved", "deleted", "added", "final")] == [4, 2, 2, 0, 2, 6]
    assert first["moved_median_iou"] == pytest.approx(2 / 3, abs=0.01)
    assert first["saved"] == pytest.approx(1 - (0.5 * 2 + 2) / 6)
    assert found["tasks"] == 3
    stored = read_effort(store, uid)
    assert stored is not None
    assert stored.saved == found["saved_of_everything"]
    assert {one.version: one.saved for one in stored.versions} == {"": by_hand["saved"], "v1": first["saved"]}
    with Image.open(picture) as drawn:
        assert drawn.width > 500


def box(name: str, x: float, origin: str = "") -> dict[str, Any]:
    value = {"x": x, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["Tree"]}
    item = {"id": name, "from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}
    return item | {"original_width": 100, "original_height": 100} | ({"origin": origin} if origin else {})


def annotate(client: LabelStudio, task: int, result: list[dict[str, Any]], **fields: Any) -> None:
    client.request_json("POST", f"/api/tasks/{task}/annotations/", {"result": result} | fields)


def test_a_tab_shows_the_tasks_with_suspects(client: LabelStudio, server: LabelStudioServer, project: int) -> None:
    urls = [{"image": f"https://images.example/{number}.jpg"} for number in range(5)]
    assert server.session().post(f"{server.url}/api/projects/{project}/import", json=urls, timeout=30).ok
    listed = client.get_json("/api/tasks", {"project": str(project)})["tasks"]
    first, second, third, *_ = sorted(int(task["id"]) for task in listed)

    def shown(view: int | None) -> set[int]:
        return {int(task["id"]) for task in client.get_json("/api/tasks", {"view": str(view)})["tasks"]}

    view = show_in_tab(client, project, [third, first, third])
    assert shown(view) == {first, third}
    assert [one["data"]["title"] for one in client.get_json("/api/dm/views/", {"project": str(project)})] == [
        "Default",
        TITLE,
    ]
    assert show_in_tab(client, project, [second]) == view
    assert shown(view) == {second}
    assert show_in_tab(client, project, []) is None
    assert len(client.get_json("/api/dm/views/", {"project": str(project)})) == 1
    assert show_in_tab(client, project, []) is None
