"""`labelloop connect` on a real Label Studio: what it makes, repairs, and refuses."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from infra.cli.connect import connect
from infra.cli.environment import Invocation
from infra.cli.findings import problems
from infra.cli.main import app
from infra.cli.wiring import ACTIONS
from infra.local.label_studio import LabelStudioServer
from shared.labelstudio.api import LabelStudio
from shared.objectstore import ObjectStore, open_store
from shared.settings import Settings
from tests.servers.connected_projects import backends, changes, of, only_problem, webhooks
from tests.servers.web_server import Handler, web_server


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
    problem = only_problem(connect(client, settings, 12345, store=store))
    assert "no project 12345" in problem.message
    assert "labelloop forget --project 12345" in problem.remedy


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


def test_a_project_of_another_labelloop_stays_its_own_until_a_person_says_so(
    client: LabelStudio, settings: Settings, store: ObjectStore, project: int, tmp_path: Path
) -> None:
    """Its webhook had got the secret of this one, so that it refused all events from then on."""
    assert settings.predict_url is not None
    theirs, ours = settings.predict_url.replace("127.0.0.1", "localhost"), open_store((tmp_path / "store").as_uri())
    connect(client, settings, project, store=store, backend_url=theirs)
    (webhook,) = webhooks(client, project)
    secret = {"headers": {"X-Labelloop-Secret": "theirs"}}
    before = client.request_json("PATCH", f"/api/webhooks/{webhook['id']}/", {**webhook, **secret})

    problem = only_problem(connect(client, settings, project, store=ours))

    assert theirs in problem.message
    assert f"--backend-url {settings.predict_url}" in problem.remedy
    assert webhooks(client, project) == [before]
    assert [backend["url"] for backend in backends(client, project)] == [theirs]
    taken = connect(client, settings, project, store=ours, backend_url=settings.predict_url)
    assert of(taken, "backend") == ["changed", "ok"]
    assert [backend["url"] for backend in backends(client, project)] == [settings.predict_url]


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


def test_what_label_studio_made_twice_is_there_once(
    server: LabelStudioServer, client: LabelStudio, settings: Settings, store: ObjectStore, project: int
) -> None:
    """On SQLite it does a request again that found its database locked, and keeps what the first try had written."""
    asked: list[str] = []

    def answer(handler: Handler) -> None:
        asked.append(handler.path)
        if handler.path == "/setup" and asked.count("/setup") == 2:  # the first is asked before anything is written
            threading.Thread(target=lock_database, args=(server, locked := threading.Event()), daemon=True).start()
            assert locked.wait(30)
        sent = {name: handler.headers[name] for name in ("Authorization", "Content-Type") if name in handler.headers}
        url = f"{settings.predict_url}{handler.path}"
        found = requests.request(handler.command, url, data=handler.body, headers=sent, timeout=30)
        handler.reply(found.status_code, found.content, Content_Type="application/json")

    own = f"{settings.train_trigger_url}/webhook"
    with web_server(answer) as web:
        findings = connect(client, settings, project, store=store, backend_url=web.url, webhook_url=own)
        assert not problems(findings)
        assert f"removed a second backend at {web.url}" in changes(findings), asked
        (backend,) = backends(client, project)
    assert (backend["url"], backend["state"]) == (web.url, "CO")
    assert len(webhooks(client, project)) == 1


def lock_database(server: LabelStudioServer, locked: threading.Event) -> None:
    """For longer than Label Studio waits for its database, five seconds."""
    with closing(sqlite3.connect(server.folder / "label_studio.sqlite3", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        locked.set()
        time.sleep(6.0)
        database.execute("ROLLBACK")
