"""Each control in a real Label Studio: annotated through its API, learnt by the real programs, better on new tasks.

`--screenshots FOLDER` also makes the pictures of docs/controls.md.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from infra.local.demo import connect_project, demo_settings
from infra.local.demo_controls import airships
from infra.local.demo_project import DemoProject
from infra.local.demo_screen import Screen
from infra.local.demo_story import Story
from infra.local.emulation import Emulation, emulation
from infra.local.label_studio import LabelStudioServer, label_studio
from infra.local.samples import CACHE, base_weights
from tests.browser import CHROMIUM, browser, keep, open_task

ANNOTATED, HELD_OUT = 14, 4  # tasks
FRAMES = 20
MARGIN = {
    "rectangle": 0.3,
    "obb": 0.3,
    "polygon": 0.3,
    "brush": 0.3,
    "ellipse": 0.3,
    "keypoint": 0.3,
    "choices": 0.3,
    "video": 0.3,
    "timeline": 0.3,
}
"""Control → by how much mAP50 of its own shape, or the part of right labels, has to be better after training."""


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
def loop(tmp_path_factory: pytest.TempPathFactory, pictures: Path | None) -> Iterator[Loop]:
    folder = tmp_path_factory.mktemp("controls")
    with ExitStack() as running:
        server = running.enter_context(label_studio(folder / "label-studio", say=lambda _: None))
        settings = demo_settings(
            server,
            folder,
            base_weights(),
            epochs=60 if pictures else 20,
            image_size=256 if pictures else 128,
            min_annotations=ANNOTATED,
        ).model_copy(update={"confidence": 0.05, "batch": 4})
        functions = emulation(settings, folder / "logs", environ=os.environ, say=lambda _: None)
        yield Loop(server, running.enter_context(functions))


@pytest.mark.parametrize("kind", MARGIN)
def test_a_control_learns(kind: str, loop: Loop, pictures: Path | None) -> None:
    size = (320, 240) if pictures else (128, 96)
    demo = airships(kind, count=ANNOTATED + HELD_OUT, size=size, frames=FRAMES, held_out=HELD_OUT)
    project = DemoProject(loop.server, demo)
    samples = demo.samples(CACHE)
    tasks = project.import_samples(samples)
    connect_project(loop.functions, project, Console(quiet=True))
    kept = {sample.name for sample in samples[:HELD_OUT]}
    held_out = {task: sample for task, sample in tasks.items() if sample.name in kept}
    outcome = Story(Screen(Console(quiet=True)), loop.functions, project, tasks, held_out).play()

    assert outcome.manifest.yolo_task == demo.control.yolo_task
    assert outcome.version == "label:v1"
    assert all(prediction.regions for prediction in outcome.found_after), "a task with airships was predicted empty"
    measure = "top1" if demo.control.yolo_task == "classify" else "map50"
    print(f"{kind}: {measure} {outcome.before[measure]:.2f} → {outcome.after[measure]:.2f}, {outcome.after}")
    assert outcome.after[measure] >= outcome.before[measure] + MARGIN[kind]
    if pictures:
        assert CHROMIUM, "no chromium on this machine: apt-get install chromium"
        with browser(loop.server) as page:
            open_task(page, loop.server, project.id, next(iter(held_out)), outcome.version)
            keep(page.screenshot(), pictures / f"{kind}.png")
