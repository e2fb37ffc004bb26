"""The loop as a person sees it: Label Studio's own pages in a real browser, a training that its button starts.

Of the control `rectangle`; tests/real/test_controls.py has the others. `--screenshot` trains as long as the demo.
"""

import os
import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import requests
from playwright.sync_api import FloatRect, Page

from infra.cli.connect import connect
from infra.cli.findings import problems
from infra.demo.controls import CONTROL, DEMOS, airships
from infra.demo.main import demo_settings
from infra.demo.project import DemoProject
from infra.demo.regions import predicted
from infra.demo.samples import CACHE, Sample, base_weights
from infra.local.emulation import emulation
from infra.local.label_studio import LabelStudioServer
from shared.evolve import evolve
from shared.geometry.detections import Floats
from shared.geometry.suppression import suppress
from shared.inference.letterbox import letterbox, place_in
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.items import without_labels
from shared.objectstore import open_store
from shared.prediction.region_ids import is_smart
from shared.settings import Settings
from shared.state.jobs import Jobs
from shared.state.registry import Registry
from tests.fakes.predict_parts import publish
from tests.samples.tiny_graphs import SEEN, blind_graph
from tests.servers.browser import CHROMIUM, PAGE, SHOWN, browser, keep, open_task
from tests.servers.smart_page import SmartPage
from tests.servers.trigger_process import eventually

_TRAIN_SECONDS = 1200
_QUICK = airships("rectangle", count=24, size=(320, 240), held_out=4, epochs=30, image_size=128)
"""Learns in a minute or two what the gate lets pass; after 12 epochs it did not always."""

_DRAWING: FloatRect = {"x": 240, "y": 48, "width": 1040, "height": 752}  # of a page, without header and list of tasks

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
        assert not problems(connect(client, functions.settings, project.id, store=store, agrees=lambda _: True))
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
            page.set_viewport_size({"width": 1280, "height": 800})
            others = [task for task, sample in tasks.items() if sample.name in kept and task != held_out]
            drawn_on = max(others, key=lambda task: len(tasks[task].expert[0]))
            client.request_json("PATCH", f"/api/projects/{project.id}/", {"show_collab_predictions": False})

            def serve(graph: Path) -> None:
                version = publish(
                    store, graph, control=CONTROL, labels=demo.control.class_names, uid=project.uid
                ).version
                eventually(lambda: f"{CONTROL}:v{version}" == _served(functions.settings, project), "it is served")

            _draw_with_smart_tools(page, server, project, drawn_on, tasks[drawn_on], pictures, serve)


def _draw_with_smart_tools(
    page: Page,
    server: LabelStudioServer,
    project: DemoProject,
    task: int,
    sample: Sample,
    pictures: Path | None,
    serve: Callable[[Path], None],
) -> None:
    """By a click and by a rough box, accepted and refused: exactly what was accepted is in the stored annotation.

    `serve` makes a graph the version that predict serves.
    """
    (expert,) = sample.expert
    order = np.argsort(-np.prod(expert.xyxy[:, 2:] - expert.xyxy[:, :2], axis=1))  # the largest first
    boxes, labels = expert.xyxy[order], [expert.names[index] for index in expert.classes[order].tolist()]
    page.goto(f"{server.url}/projects/{project.id}/data?task={task}")
    page.get_by_role("button", name="Submit").wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(2_000)
    tools = SmartPage(page, labels[0])

    def picture(name: str) -> None:
        if pictures:
            keep(page.screenshot(clip=_DRAWING), pictures.parent / "smart" / f"{name}.png")

    size = np.array([expert.width, expert.height] * 2, dtype=np.float64)
    (left, top, right, bottom), (middle, down) = boxes[0] / size, (boxes[0, :2] + boxes[0, 2:]) / 2 / size[:2]
    first = tools.click(middle, down)
    assert first, "the model finds nothing where an object is"
    picture("click")
    clicked = tools.click(middle - (right - left) / 8, down - (bottom - top) / 8)
    tools.accept()
    tools.label = labels[-1]
    rough = boxes[-1] + np.array([-0.1, 0.1, 0.1, -0.1]) * np.tile(boxes[-1, 2:] - boxes[-1, :2], 2)
    rough = np.clip(rough, 0, size) / size
    refused = tools.drag(rough)
    tools.refuse()
    dragged = tools.drag(rough)
    picture("box")
    tools.accept()
    page.wait_for_timeout(500)
    picture("drawn")
    drawn_at = np.array([boxes[0, :2] + boxes[0, 2:], boxes[-1, :2] + boxes[-1, 2:]]) / 2 / size[:2]
    serve(_two_at(free := _farthest(drawn_at), sample, server.folder / "two.onnx"))
    _ask_for_the_second(tools, free, project, sample)
    tools.submit()

    (annotation,) = LabelStudio(server.url, server.token).get_json(f"/api/tasks/{task}/annotations/")
    stored = [item for item in annotation["result"] if "is_positive" not in item]
    ids = [items[0]["id"] for items in (clicked, dragged)]
    assert list(dict.fromkeys(item["id"] for item in stored)) == ids, "exactly what was accepted"
    assert refused[0]["id"] not in ids
    assert all(map(is_smart, ids))
    chosen = [item["value"]["labels"] for item in stored if item["type"] == "labels"]
    assert chosen == [[labels[0]], [labels[-1]]], "with the labels that were chosen"
    for accepted in (clicked[0], dragged[0]):
        shape = next(item["value"] for item in stored if item["id"] == accepted["id"])
        assert without_labels(shape) == pytest.approx(without_labels(accepted["value"]), abs=0.01)
    (drawn,) = predicted(stored, project.demo.control, sample)
    both = np.vstack([boxes[:1], drawn.xyxy[:1]])
    assert suppress(both, np.ones(2), 0.3).tolist() == [True, False], "what was clicked is the object"


def _farthest(drawn: Floats) -> Floats:
    """Of four places in a picture (fractions) the one that is farthest from the middles of what is drawn, (N, 2)."""
    places = np.array([(0.3, 0.3), (0.7, 0.3), (0.3, 0.7), (0.7, 0.7)])
    far: Floats = places[np.linalg.norm(places[:, None] - drawn, axis=2).min(axis=1).argmax()]
    return far


def _two_at(place: Floats, sample: Sample, path: Path) -> Path:
    """A graph that sees a small object in a large one there, and is hardly sure of both."""
    (expert,) = sample.expert
    height, width, _ = letterbox(np.zeros((expert.height, expert.width, 3), np.uint8), SEEN, 32).shape
    corner, inner = place_in((height, width), (expert.height, expert.width))
    x, y = (corner + place * inner).tolist()
    return blind_graph(path, [(x, y, 6, 6, 0.03), (x, y, 16, 16, 0.05)])


def _ask_for_the_second(tools: SmartPage, place: Floats, project: DemoProject, sample: Sample) -> None:
    """A click gets the small one, Alt and a click beside it the large one instead; both are refused."""
    x, y = place.tolist()
    first = tools.click(x, y)
    following = tools.click(x + 4.5 / SEEN, y, negative=True)
    assert [point["is_positive"] for point in tools.sent[-2:]] == [True, False]
    tools.refuse()
    (small,), (large,) = (predicted(items, project.demo.control, sample) for items in (first, following))
    widths = [float(np.ptp(found.xyxy[0, [0, 2]])) / found.width * SEEN for found in (small, large)]
    assert widths == pytest.approx([6, 16], abs=0.5), "not that one, the next"


def _served(settings: Settings, project: DemoProject) -> str:
    """What predict answers to Label Studio's question for its version."""
    assert settings.basic_auth_password is not None
    answer = requests.post(
        f"{settings.predict_url}/setup",
        json={"project": project.uid, "schema": project.demo.label_config},
        auth=(settings.basic_auth_user, settings.basic_auth_password.get_secret_value()),
        timeout=10,
    )
    return str(answer.json()["model_version"])


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
