"""Each control in a real Label Studio: annotated through its API, learnt by the real programs, better on new tasks.

`rectangle` is in tests/real/test_loop_browser.py. `--screenshots FOLDER` also makes the pictures of docs/controls.md.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from infra.cli.environment import Invocation
from infra.cli.main import app
from infra.demo.controls import Demo, airships
from infra.demo.main import connect_project, demo_settings
from infra.demo.project import DemoProject
from infra.demo.samples import CACHE, base_weights
from infra.demo.screen import Screen
from infra.demo.story import Story
from infra.local.emulation import Emulation, emulation
from infra.local.label_studio import LabelStudioServer
from jobs.prelabel.target import LabelStudioTarget
from jobs.train.data.yolo_dataset import classes_of
from jobs.train.report.page import MAX_BYTES
from shared.evolve import evolve
from shared.labelstudio.api import LabelStudio
from shared.objectstore import open_store
from shared.state.projects import write_project
from tests.servers.browser import CHROMIUM, PAGE, SHOWN, browser, keep, open_task

SIZE = (320, 240)  # pixels; the models see less of them
FRAMES = 12  # of a video


@dataclass(frozen=True, slots=True)
class Row:
    """How little teaches a control something: other heads than those of boxes begin from random weights."""

    epochs: int
    annotated: int = 20  # tasks
    held_out: int = 4
    image_size: int = 128
    margin: float = 0.3
    """By how much mAP50 of its own shape, or the part of right labels, has to be better after training."""


ROWS = {
    "obb": Row(epochs=24),
    "polygon": Row(epochs=24),
    "brush": Row(epochs=24),
    "ellipse": Row(epochs=24),
    "keypoint": Row(annotated=40, epochs=40, image_size=192),  # which end is which takes a closer look
    "choices": Row(annotated=40, held_out=10, epochs=30, margin=0.7),  # guessing makes half of them right
    "video": Row(annotated=4, held_out=2, epochs=6),
    "timeline": Row(annotated=10, held_out=2, epochs=20, margin=0.7),
}


@dataclass(frozen=True, slots=True)
class Loop:
    """One Label Studio and both functions, for all controls."""

    server: LabelStudioServer
    functions: Emulation


@pytest.fixture(scope="module")
def pictures(request: pytest.FixtureRequest) -> Path | None:
    folder: Path | None = request.config.getoption("--screenshots", default=None)
    return folder


@pytest.fixture(scope="module")
def loop(server: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    folder = tmp_path_factory.mktemp("controls")
    settings = evolve(
        demo_settings(
            server,
            folder,
            base_weights(),
            epochs=max(row.epochs for row in ROWS.values()),  # each project takes fewer
            image_size=max(row.image_size for row in ROWS.values()),
            min_annotations=1000,
        ),
        confidence=0.15,
        batch=4,
        val_fraction=0.2,
        threads=1,
        push="off",  # asked for in one request: a job for each control would take longer
    )
    with emulation(settings, folder / "logs", environ=os.environ, say=lambda _: None) as functions:
        yield Loop(server, functions)


@pytest.mark.parametrize("kind", ROWS)
def test_a_control_learns(kind: str, loop: Loop, pictures: Path | None, tmp_path: Path) -> None:
    row = ROWS[kind]
    demo = airships(kind, count=row.annotated + row.held_out, size=SIZE, frames=FRAMES)
    project = DemoProject(loop.server, demo)
    samples = demo.samples(CACHE)
    tasks = project.import_samples(samples)
    connect_project(loop.functions, project, Console(quiet=True))
    overrides = {
        "epochs": row.epochs,
        "image_size": row.image_size,
        "min_annotations": row.annotated,
    }  # as in the backend's extra params
    store = open_store(loop.functions.settings.store)
    write_project(store, project.uid, label_config=demo.label_config, overrides=overrides)
    kept = {sample.name for sample in samples[: row.held_out]}
    held_out = {task: sample for task, sample in tasks.items() if sample.name in kept}
    story = Story(Screen(Console(quiet=True)), loop.functions, project, tasks, held_out, runs_at=[row.annotated])
    outcome = story.play()

    assert outcome.manifest.yolo_task == demo.control.yolo_task
    assert outcome.version == "label:v1"
    empty = sum(not prediction.regions for prediction in outcome.found_after)
    assert empty <= row.held_out // 4, (
        "tasks with airships were predicted empty"
    )  # a model of so few epochs may miss one
    measure = "top1" if demo.control.yolo_task == "classify" else "map50"
    _have_its_report(loop, project, demo, tmp_path)
    _look_at_suspects(loop, project, demo, tmp_path)
    _have_its_dataset_again(loop, project, demo, sorted(tasks.keys() - held_out.keys())[0], tmp_path)
    print(f"{kind}: {measure} {outcome.before[measure]:.2f} → {outcome.after[measure]:.2f}, {outcome.after}")
    assert outcome.after[measure] >= outcome.before[measure] + row.margin
    if pictures:
        assert CHROMIUM, "no chromium on this machine: apt-get install chromium"
        with browser(loop.server) as page:
            page.set_viewport_size(PAGE)
            fullest = max(held_out, key=lambda task: len(held_out[task].expert[0]))
            open_task(page, loop.server, project.id, fullest, outcome.version)
            keep(page.screenshot(clip=SHOWN), pictures / f"{kind}.png")
    _write_ahead(loop, project, sorted(held_out))  # last: pictures show one prediction


def _write_ahead(loop: Loop, project: DemoProject, tasks: list[int]) -> None:
    """Label Studio takes the predictions of each control also from a job, where it drops without a word what is odd."""
    server = loop.server
    target = LabelStudioTarget(LabelStudio(server.url, server.token, timeout=60), project.id)
    held = [one for task in tasks for one in project.predictions(task, "label:v1") if one["result"]]
    copies = [{name: one[name] for name in ("task", "result", "score")} | {"model_version": "ahead"} for one in held]
    assert held
    assert target.store(copies) == len(held)
    written = [one for task in tasks for one in project.predictions(task, "ahead")]
    assert [one["result"] for one in written] == [one["result"] for one in held]


def _have_its_report(loop: Loop, project: DemoProject, demo: Demo, folder: Path) -> None:
    """Every kind of object has its pictures."""
    invocation = Invocation(loop.functions.settings.to_environ(), folder)
    command = ["report", "1", "--to", str(folder), "--project", project.uid, "--json"]
    result = CliRunner().invoke(app, command, obj=invocation)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    page = Path(said["report"]).read_text(encoding="utf-8")
    assert (said["outcome"], said["serving"], said["opened"]) == ("unproven", True, False)
    assert "could not be made" not in page
    assert page.count("data:image/webp") >= 2
    assert ("Paths of the tracked objects" in page) == (demo.control.tag == "VideoRectangle")
    if demo.control.yolo_task != "classify":
        assert 'class="label' in page
        assert "data:image" in page.partition("<h2>The gate")[0], "pictures come first"
    assert len(page.encode()) < MAX_BYTES


def _look_at_suspects(loop: Loop, project: DemoProject, demo: Demo, folder: Path) -> None:
    """Tasks that the version was not trained on were judged; of videos there is no list."""
    invocation = Invocation(loop.functions.settings.to_environ(), folder)
    result = CliRunner().invoke(app, ["suspects", "--json", "--project", project.uid], obj=invocation)
    assert result.exit_code == 0, result.output
    (said,) = json.loads(result.stdout)["controls"]
    if demo.control.media == "video":
        assert said["version"] is None
        return
    print(f"{demo.control.tag}: {[(one['kind'], one['rarity'], one['reason']) for one in said['suspects']]}")
    assert (said["version"], said["judge"]) == (1, "v1")
    assert 0 < said["judged"] < said["tasks"]
    assert len(said["suspects"]) <= 2 * said["judged"], "nearly all that is annotated would be worth a look"


def _have_its_dataset_again(loop: Loop, project: DemoProject, demo: Demo, deleted: int, folder: Path) -> None:
    """As ultralytics and COCO read it, also of a task that is deleted in Label Studio meanwhile."""
    session = loop.server.session()
    assert session.delete(f"{loop.server.url}/api/tasks/{deleted}/", timeout=30).ok
    invocation = Invocation(loop.functions.settings.to_environ(), folder)
    classified = demo.control.yolo_task == "classify"
    for format_name in ("yolo",) if classified else ("yolo", "coco"):
        command = ["dataset", "1", "--to", str(folder / format_name), "--format", format_name, "--json"]
        result = CliRunner().invoke(app, [*command, "--project", project.uid], obj=invocation)
        assert result.exit_code == 0, result.output
        said = json.loads(result.stdout)
        assert (said["missing"], said["differs"]) == ({}, "")
        assert set(said["images"].values()) != {0}
    if demo.control.media == "video" and not classified:  # a short training
        invoked = Invocation(os.environ | invocation.environ, folder)
        result = CliRunner().invoke(app, ["retrain", "1", "--json", "--project", project.uid], obj=invoked)
        assert result.exit_code == 0, result.output
        said = json.loads(result.stdout)
        print(f"trained again: {said}")
        assert said["unlike"] == []
        then, now = said["metrics"]["IDF1"]
        assert now == pytest.approx(then, abs=0.05)
    moved = (folder / "yolo").rename(folder / "moved")
    from ultralytics.data.utils import check_cls_dataset, check_det_dataset

    read = check_cls_dataset(str(moved)) if classified else check_det_dataset(str(moved / "data.yaml"))
    assert list(read["names"].values()) == (
        sorted(path.name for path in (moved / "train").iterdir()) if classified else list(classes_of(demo.control))
    )
    assert Path(read["val"]).is_dir()
