"""The loop as a person sees it: Label Studio's own pages in a real browser, a training that its button starts."""

import io
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from infra.cli.connect import connect
from infra.cli.findings import problems
from infra.local.demo import EPOCHS, HELD_OUT, demo_settings
from infra.local.demo_project import CONTROL, DemoProject
from infra.local.emulation import emulation
from infra.local.label_studio import LabelStudioServer, label_studio
from infra.local.samples import base_weights, tiles
from shared.jobs import Jobs
from shared.labelstudio.api import LabelStudio
from shared.objectstore import open_store
from shared.registry import Registry
from shared.settings import Settings

_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
_TRAIN_SECONDS = 1200

pytestmark = pytest.mark.skipif(_CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")


@contextmanager
def _browser(server: LabelStudioServer) -> Iterator[Page]:
    """A page that is logged in."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(60_000)
        page.goto(f"{server.url}/user/login/")
        page.fill("input[name=email]", server.username)
        page.fill("input[name=password]", server.password)
        page.get_by_role("button", name="Log In").click()
        page.wait_for_url(lambda url: "login" not in url)
        yield page
        browser.close()


def test_start_training_is_pressed_and_the_new_models_boxes_are_shown(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    picture: Path | None = request.config.getoption("--screenshot", default=None)
    cut = tiles()
    random.Random(0).shuffle(cut)
    with label_studio(tmp_path / "label-studio") as server:
        settings = demo_settings(server, tmp_path, base_weights(), EPOCHS if picture else 3, min_annotations=1000)
        if not picture:  # three epochs learn next to nothing
            settings = settings.model_copy(update={"confidence": 0.03})
        with emulation(settings, tmp_path / "logs", environ=os.environ) as functions:
            project = DemoProject(server)
            tasks = project.import_tiles(cut)
            client = LabelStudio(server.url, server.token)
            store = open_store(settings.store)
            assert not problems(connect(client, functions.settings, project.id, store=store))
            for tile in cut[HELD_OUT:]:
                project.annotate(tasks[tile.name], tile)
            jobs = Jobs(store, project.uid)
            assert jobs.read().training is None, "the threshold is 1000, so no event may start a run"

            with _browser(server) as page:
                run_id = _press_start_training(page, server, project)
                claim = jobs.read().training
                assert claim is not None
                assert claim.run_id == run_id
                assert claim.forced
                assert _job_status(functions.settings, f"{project.uid}/{run_id}") in ("queued", "started")

                _await_end(jobs)
                assert _job_status(functions.settings, f"{project.uid}/{run_id}") == "finished"
                manifest = Registry(store, project.uid).serving(CONTROL)
                assert manifest is not None
                assert manifest.run_id == run_id

                held_out = tasks[cut[0].name]
                project.retrieve_predictions([held_out])
                _open_task(page, server, project, held_out, f"{CONTROL}:v{manifest.version}")
                _keep(page.screenshot(), picture or tmp_path / "label-studio.png")


def _press_start_training(page: Page, server: LabelStudioServer, project: DemoProject) -> str:
    """The button on the Model page of the settings; answers the run that it started."""
    page.goto(f"{server.url}/projects/{project.id}/settings/ml")
    page.get_by_role("button", name="Machine learning model options").click()
    page.get_by_text("Start Training", exact=True).click()  # in the menu; a dialog explains and asks again
    with page.expect_response(lambda response: response.url.endswith("/train")) as pressed:
        page.get_by_role("button", name="Start Training", exact=True).click()
    assert pressed.value.ok, pressed.value.text()
    page.get_by_text("Request Sent!").wait_for()
    with sqlite3.connect(f"file:{server.folder}/label_studio.sqlite3?mode=ro", uri=True) as database:
        assert database.execute("select state from ml_mlbackend").fetchall() == [("TR",)]
        ((job,),) = database.execute("select job_id from ml_mlbackendtrainjob")
    uid, run_id = job.split("/")
    assert uid == project.uid
    return str(run_id)


def _job_status(settings: Settings, job: str) -> str:
    """What Label Studio asks of the backend URL to know how its training job stands."""
    assert settings.basic_auth_password is not None
    answer = requests.post(
        f"{settings.predict_url}/job_status",
        json={"job": job},
        auth=(settings.basic_auth_user, settings.basic_auth_password.get_secret_value()),
        timeout=10,
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["job_status"])


def _await_end(jobs: Jobs) -> None:
    deadline = time.monotonic() + _TRAIN_SECONDS
    while (record := jobs.read()).training is not None:
        assert time.monotonic() < deadline, jobs.progress(record.training.run_id)
        time.sleep(0.5)
    assert record.last_run is not None
    assert record.last_run.outcome == "promoted", record.last_run


def _open_task(page: Page, server: LabelStudioServer, project: DemoProject, task: int, model_version: str) -> None:
    """A task in the labeling view: a tab names the model version, the boxes wait for Submit with their scores."""
    page.goto(f"{server.url}/projects/{project.id}/data?task={task}")
    page.locator(".lsf-annotation-button__name", has_text=model_version).wait_for()
    page.locator(".lsf-outliner-item", has_text="Tree").first.wait_for()
    page.get_by_role("button", name="Submit").wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(2_000)  # the canvas says to nobody when it has drawn the picture


def _keep(screenshot: bytes, picture: Path) -> None:
    """A small PNG: 128 colors do for a page."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(screenshot)).convert("RGB").quantize(128).save(picture, optimize=True)
