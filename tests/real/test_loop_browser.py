"""The loop as a person sees it: Label Studio's own pages in a real browser, a training that its button starts.

Of the control `rectangle`; tests/real/test_controls.py has the others. `--screenshot` trains as long as the demo.
"""

import os
import re
import sqlite3
import time
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page

from infra.cli.connect import connect
from infra.cli.findings import problems
from infra.demo.controls import CONTROL, DEMOS, airships
from infra.demo.main import demo_settings
from infra.demo.project import DemoProject
from infra.demo.samples import CACHE, base_weights
from infra.local.emulation import emulation
from infra.local.label_studio import LabelStudioServer
from shared.evolve import evolve
from shared.labelstudio.api import LabelStudio
from shared.objectstore import open_store
from shared.settings import Settings
from shared.state.jobs import Jobs
from shared.state.registry import Registry
from tests.servers.browser import CHROMIUM, PAGE, SHOWN, browser, keep, open_task

_TRAIN_SECONDS = 1200
_QUICK = airships("rectangle", count=24, size=(320, 240), held_out=4, epochs=30, image_size=128)
"""Learns in a minute or two what the gate lets pass; after 12 epochs it did not always."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")


def test_start_training_is_pressed_and_the_new_models_boxes_are_shown(
    server: LabelStudioServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    picture: Path | None = request.config.getoption("--screenshot", default=None)
    pictures: Path | None = request.config.getoption("--screenshots", default=None)
    demo = DEMOS["detect"] if picture else _QUICK
    samples = demo.samples(CACHE)
    settings = demo_settings(
        server, tmp_path, base_weights(), epochs=demo.epochs, image_size=demo.image_size, min_annotations=1000
    )
    settings = evolve(settings, push="off")  # the button and what it brings are shown, not what is there ahead
    if not picture:
        settings = evolve(settings, confidence=0.15, batch=4, val_fraction=0.2)
    with emulation(settings, tmp_path / "logs", environ=os.environ) as functions:
        project = DemoProject(server, demo)
        tasks = project.import_samples(samples)
        client = LabelStudio(server.url, server.token)
        store = open_store(settings.store)
        assert not problems(connect(client, functions.settings, project.id, store=store))
        kept = {sample.name for sample in samples[: demo.held_out]}
        for task, sample in tasks.items():
            if sample.name not in kept:
                project.annotate(task, sample)
        jobs = Jobs(store, project.uid)
        assert jobs.read().training is None, "the threshold is 1000, so no event may start a run"

        with browser(server) as page:
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

            held_out = next(task for task, sample in tasks.items() if sample.name == samples[0].name)
            project.retrieve_predictions([held_out])
            open_task(page, server, project.id, held_out, f"{CONTROL}:v{manifest.version}")
            labels = re.compile("|".join(demo.control.class_names))
            page.locator(".lsf-outliner-item", has_text=labels).first.wait_for()
            keep(page.screenshot(), picture or tmp_path / "label-studio.png")
            if pictures:
                page.set_viewport_size(PAGE)
                keep(page.screenshot(clip=SHOWN), pictures / "rectangle.png")


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
        ((backend, state),) = database.execute("select id, state from ml_mlbackend where project_id = ?", [project.id])
        assert state == "TR"
        ((job,),) = database.execute("select job_id from ml_mlbackendtrainjob where ml_backend_id = ?", [backend])
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
        assert time.monotonic() < deadline, jobs.runs.progress(record.training.run_id)
        time.sleep(0.5)
    assert record.last_run is not None
    assert record.last_run.outcome == "promoted", record.last_run
