"""What a person does on the page: asked once, guarded against other sites, told what really came of it."""

import time
from datetime import timedelta
from pathlib import Path

import pytest

from functions.train_trigger.ui.forgery import Tokens
from shared.errors import LaunchError
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.projects import write_project
from shared.state.registry import Registry
from tests.fakes.stores import BeforeWrite
from tests.fakes.trigger_parts import CONFIG, UID, World
from tests.fakes.ui_parts import Browser, seen, world_with
from tests.samples.shown_projects import add_base, manifest, publish

HERE = {"Origin": "http://127.0.0.1"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = world_with(tmp_path)
    write_project(world.store, UID, label_config=CONFIG, title="Trees", push=True)
    add_base(world.store, "yolo11n.pt", "detect")
    return world


def versions(world: World, count: int = 3) -> Registry:
    for number in range(1, count + 1):
        publish(world.store, UID, "label", manifest(number, world.store.now()))
    return Registry(world.store, UID)


def pointer(registry: Registry) -> int | None:
    named = registry.pointer("label")
    return named.version if named else None


def test_a_training_is_asked_for_once_and_started(world: World) -> None:
    browser = Browser(world)
    question = browser.get("/ui/train", project=UID)
    assert "Start a training now?" in question.text
    assert world.launcher.launched == [], "a question does nothing"

    answer = browser.press("/ui/train", project=UID)

    assert (answer.status_code, "A run was started" in answer.text) == (200, True)
    assert world.claim.run_id in answer.text
    again = browser.press("/ui/train", project=UID)
    assert "A run is active already" in again.text
    assert len(world.launcher.launched) == 1


def test_a_run_is_stopped_once(world: World) -> None:
    browser = Browser(world)
    assert "Stop this run" not in browser.get("/ui/project", project=UID).text
    browser.press("/ui/train", project=UID)
    run = world.claim.run_id
    assert "Stop this run" in browser.get("/ui/project", project=UID).text
    form = browser.form("/ui/stop", project=UID)
    answer = browser.post("/ui/stop", HERE, **form)
    assert (answer.status_code, "The run was stopped" in answer.text) == (200, True)
    assert f"Run {run}: stopped by somebody, on the page" in seen(answer).text
    again = browser.post("/ui/stop", HERE, **form)
    assert (again.status_code, f"Run {run} has ended" in again.text) == (409, True)
    assert "stopped" in seen(browser.get("/ui/project", project=UID)).text
    browser.press("/ui/train", project=UID)
    assert browser.post("/ui/stop", HERE, **form).status_code == 409, "that was another run"
    assert world.claim.run_id != run


def test_a_training_on_the_same_annotations_is_said_before_and_after(world: World) -> None:
    world.reconcile()
    world.job_ends(world.job_runs())
    browser, nothing = (
        Browser(world),
        "Nothing has changed since the last run: it trains on the same annotations again.",
    )
    assert nothing in seen(browser.get("/ui/train", project=UID)).text
    answer = browser.press("/ui/train", project=UID)
    assert "A run was started" in answer.text
    assert "a person asked for it; nothing has changed since the last run" in answer.text


def test_a_form_that_is_sent_again_later_does_not_do_it_again(world: World) -> None:
    registry, browser = versions(world), Browser(world)
    train = browser.form("/ui/train", project=UID)
    back = browser.form("/ui/rollback", project=UID, control="label", version=1)
    assert "A run was started" in browser.post("/ui/train", HERE, **train).text
    run = world.claim.run_id
    Jobs(world.store, UID).update(claims.release, world.claim, outcome="rejected")
    registry.promote("label", 2, fence=10**6, run_id="somebody", expected=3, reason="rollback")

    for path, form, said in (("/ui/train", train, f"run {run} has ended"), ("/ui/rollback", back, "v2 is served")):
        answer = browser.post(path, HERE, **form)
        assert (answer.status_code, f"Since this was asked, {said}" in answer.text) == (409, True)
    assert (len(world.launcher.launched), pointer(registry)) == (1, 2)
    assert browser.post("/ui/train", HERE, **train | {"seen": run}).status_code == 403, "the token is for what was seen"


def test_a_training_that_cannot_start_says_why(world: World) -> None:
    world.launcher.error = LaunchError("AWS Batch refused: no such queue [gpu]; create it")
    refused = Browser(world).press("/ui/train", project=UID)
    assert (refused.status_code, "AWS Batch refused: no such queue [gpu]" in refused.text) == (503, True)
    assert "It could not be started" in refused.text


def test_a_training_of_nothing_says_so(world: World) -> None:
    world.label_studio.annotations = 0
    nothing = Browser(world).press("/ui/train", project=UID)
    assert (nothing.status_code, "nothing is annotated yet" in nothing.text) == (409, True)


def test_a_rollback_moves_the_pointer_and_says_from_where(world: World) -> None:
    registry, browser = versions(world), Browser(world)
    assert "Serve v1 of label?" in browser.get("/ui/rollback", project=UID, control="label", version=1).text
    assert pointer(registry) == 3

    answer = browser.press("/ui/rollback", project=UID, control="label", version=1)

    assert pointer(registry) == 1
    assert "v1 is served" in answer.text
    assert "(was v3)" in answer.text
    assert browser.looked_at == [UID], "predictions of v1 follow"
    assert "Nothing was changed" in browser.press("/ui/rollback", project=UID, control="label", version=1).text


@pytest.mark.parametrize(
    ("version", "said"), [(9, "has no version v9"), (2, "v2 of &#39;label&#39; failed verification")]
)
def test_a_rollback_to_what_cannot_be_served_changes_nothing(world: World, version: int, said: str) -> None:
    registry, browser = versions(world), Browser(world)
    back = browser.form("/ui/rollback", project=UID, control="label", version=2)
    registry.reject("label", 2, "SHA-256 differs")
    asked = browser.get("/ui/rollback", project=UID, control="label", version=version)
    assert (asked.status_code, said in asked.text) == (404, True), "nobody is asked about it"
    answer = browser.post("/ui/rollback", {"Origin": "http://127.0.0.1"}, **back)
    assert (answer.status_code, "failed verification" in answer.text, pointer(registry)) == (409, True, 3)


def test_a_rollback_that_somebody_forestalls_says_so(world: World) -> None:
    registry = versions(world)

    def somebody_else() -> None:
        registry.promote("label", 2, fence=10**6, run_id="other", expected=3, reason="rollback")

    store = BeforeWrite(world.store, somebody_else, "pointer.json")
    answer = Browser(world, store).press("/ui/rollback", project=UID, control="label", version=1)
    assert (answer.status_code, pointer(registry)) == (409, 2)
    assert "somebody" in answer.text


def test_predictions_are_written_when_a_person_asks(world: World) -> None:
    versions(world, 1)
    world.label_studio.tasks = [4, 5]
    answer = Browser(world).press("/ui/prelabel", project=UID)
    assert "The job that writes predictions was started" in answer.text
    assert Jobs(world.store, UID).read().prelabel is not None
    assert "A job writes predictions already" in Browser(world).press("/ui/prelabel", project=UID).text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser: the token says enough
        (HERE, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://labelloop.example"}, 200),
        ({"Origin": "https://labelloop.example", "X-Forwarded-Host": "labelloop.example"}, 200),
        ({"Origin": "https://labelloop.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"} | HERE, 403),
        ({"Sec-Fetch-Site": "same-site"} | HERE, 403),
    ],
)
def test_forms_of_other_sites_are_refused(world: World, headers: dict[str, str], status: int) -> None:
    open_ = {"LABELLOOP_AUTH": "off"}  # else loopback refuses some of them before
    answer = Browser(world, **open_).press("/ui/train", headers, project=UID)
    assert answer.status_code == status
    assert len(world.launcher.launched) == (status == 200)


def test_without_credentials_a_page_of_another_site_is_told_nothing_under_any_name(world: World) -> None:
    browser = Browser(world)
    for headers in ({"Host": "rebound.example"}, {"Origin": "https://elsewhere.example"}):
        assert browser.get("/ui", headers).status_code == 403
        assert browser.post("/ui/train", headers, **browser.form("/ui/train", project=UID)).status_code == 403
    assert world.launcher.launched == []


def test_a_form_needs_the_token_of_its_own_question(world: World) -> None:
    versions(world)
    browser = Browser(world)
    asked = browser.get("/ui/rollback", project=UID, control="label", version=1)
    token = next(field["value"] for field in seen(asked).all("input") if field["name"] == "token")
    for path, form in (
        ("/ui/train", {}),
        ("/ui/train", {"token": token}),
        ("/ui/rollback", {"token": token, "control": "label", "version": 2}),
        ("/ui/rollback", {"control": "label", "version": 1}),
        ("/ui/rollback", {"token": f"9{token}", "control": "label", "version": 1}),
    ):
        answer = browser.post(path, HERE, project=UID, **form)
        assert (answer.status_code, "Nothing was done" in answer.text) == (403, True), form
    assert pointer(Registry(world.store, UID)) == 3
    assert world.launcher.launched == []


def test_a_token_ends_and_belongs_to_whom_it_was_given(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from flask import Flask

    tokens = Tokens("secret")
    with (
        Flask("a").test_request_context(headers={"Authorization": "Basic a"}) as one,
        Flask("b").test_request_context(headers={"Authorization": "Basic b"}) as other,
    ):
        token = tokens.make(one.request, "train")
        assert tokens.fits(one.request, "train", token)
        assert Tokens("secret").fits(one.request, "train", token), "of another instance"
        assert not Tokens("other").fits(one.request, "train", token)
        assert not tokens.fits(other.request, "train", token)
        later = time.time() + timedelta(hours=13).total_seconds()
        monkeypatch.setattr("functions.train_trigger.ui.forgery.time.time", lambda: later)
        assert not tokens.fits(one.request, "train", token)
