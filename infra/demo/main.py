"""`make demo`: the whole loop with a real Label Studio, from the base weights to what the models have saved."""

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from functions.train_trigger.schedule import Schedule
from infra.cli.connect import connect
from infra.cli.effort import Report, measure_effort
from infra.cli.environment import FILE, keep
from infra.cli.findings import problems, show
from infra.cli.output import escape_unknown_characters
from infra.demo import tiles
from infra.demo.controls import DEMOS, Demo
from infra.demo.pictures import draw
from infra.demo.project import DemoProject
from infra.demo.results import Results
from infra.demo.samples import CACHE, base_weights
from infra.demo.screen import Screen
from infra.demo.story import Story
from infra.local.emulation import Emulation, emulation
from infra.local.label_studio import REPOSITORY, VENV, LabelStudioServer, install, label_studio
from infra.local.processes import LOOPBACK, StartError, interrupt_once
from shared.errors import LabelloopError
from shared.labelstudio.api import LabelStudio
from shared.objectstore import open_store
from shared.settings import Settings

_BASE_WEIGHTS = (
    "Base weights: ABD.pt of the Python package ABD-model, a yolov8n for atoms and bonds in drawings of molecules. "
    "It was trained from the official COCO weights and knows no trees. The demo uses it because pip can download it. "
    "Your own projects start from LABELLOOP_BASE_WEIGHTS (yolo11n.pt)."
)
_HARDWARE = ("LABELLOOP_DEVICE", "LABELLOOP_THREADS", "LABELLOOP_PRECISION")
_CONTROLS = (*DEMOS, tiles.NAME)
"""Those of Label Studio, and the one without it."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line's options."""

    demo: Demo
    folder: Path  # new, for data, logs and pictures
    venv: Path  # Label Studio's
    samples: Path  # folder of downloads
    epochs: int
    tasks: int | None  # that are annotated; None: all there are
    report: Path | None
    stay: bool  # whether everything stays running at the end


def main(
    *,
    control: Annotated[str, typer.Option(help=f"What to show: {', '.join(_CONTROLS)}.")] = "detect",
    exit_: Annotated[bool, typer.Option("--exit", help="End after the table. Else everything stays running.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write the table as JSON.")] = None,
    folder: Annotated[Path | None, typer.Option(help="New folder for data, logs and pictures.")] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of each training; 0: the demo's default.")] = 0,
    tasks: Annotated[
        int | None, typer.Option(help="Annotate only so many tasks; the first run is due at 5.", min=5)
    ] = None,
    venv: Annotated[Path, typer.Option(help="Virtual environment of Label Studio; made if missing.")] = VENV,
    samples: Annotated[Path, typer.Option(help="Folder of downloaded photographs and base weights.")] = CACHE,
) -> None:
    """Play the whole loop: predictions that are there, annotations, the runs that they start, and what was saved.

    LABELLOOP_DEVICE, LABELLOOP_THREADS and LABELLOOP_PRECISION of the environment hold; other settings do not.
    """
    escape_unknown_characters()
    console = Console(highlight=False)
    if control not in _CONTROLS:
        raise typer.BadParameter(f"{control!r} is none of {', '.join(_CONTROLS)}")
    interrupt_once()
    try:
        check_report(report)
        folder = new_folder(folder, REPOSITORY / ".cache" / "demo")
        if control == tiles.NAME:
            tiles.play(folder, samples, console, report)
            return
        demo = DEMOS[control]
        options = Options(demo, folder, venv, samples, epochs or demo.epochs, tasks, report, not exit_)
        run(options, os.environ, console)
    except KeyboardInterrupt:
        console.print("\nEverything has been stopped before the end.")
        raise typer.Exit(130) from None
    except LabelloopError as error:
        console.print(f"\n[bold red]The demo failed:[/] {escape(str(error))}")
        raise typer.Exit(1) from error


def check_report(report: Path | None) -> None:
    """Raise StartError if the report could not be written at the end of the play."""
    if report is not None and (report.is_dir() or not report.parent.is_dir()):
        what = "it is a folder" if report.is_dir() else f"there is no folder {report.parent}"
        raise StartError(f"--report {report}: {what}")


def new_folder(asked: Path | None, parent: Path) -> Path:
    """The folder that was asked for, else a new one in `parent`: no two plays share one.

    Raises StartError if it holds anything, or cannot be made.
    """
    if asked is None:
        parent.mkdir(parents=True, exist_ok=True)
        return Path(mkdtemp(prefix=f"{datetime.now():%Y%m%d-%H%M%S}-", dir=parent)).resolve()
    try:
        asked.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"--folder {asked} cannot be made: {error.strerror}") from error
    if any(asked.iterdir()):
        raise StartError(f"{asked} is not empty: the demo needs a new folder")
    return asked.resolve()


def run(options: Options, environ: Mapping[str, str], console: Console) -> None:
    """Run the demo, from installation to the end. Raises LabelloopError."""
    screen, demo = Screen(console), options.demo
    with ExitStack() as running:
        with screen.step("install", "Download samples, base weights and Label Studio, if missing"):
            weights = base_weights(options.samples)
            samples = demo.samples(options.samples)
            if options.tasks:
                samples = samples[: demo.held_out + options.tasks]
            install(options.venv, screen.whisper)
            screen.say(f"{len(samples)} tasks. {demo.source}")
            screen.say(_BASE_WEIGHTS)
        with screen.step("start", "Start Label Studio and both functions"):
            server = running.enter_context(
                label_studio(options.folder / "label-studio", options.venv, say=screen.whisper)
            )
            settings = demo_settings(
                server,
                options.folder,
                weights,
                epochs=options.epochs,
                image_size=demo.image_size,
                environ=environ,
            )
            functions = running.enter_context(
                emulation(settings, options.folder / "logs", environ=environ, say=screen.say)
            )
            screen.say(
                f"Label Studio {server.url}, predict {functions.predict_url}, "
                f"train_trigger {functions.train_trigger_url}"
            )
        with screen.step("connect", "Make a project with the tasks and connect it, as `labelloop connect` does"):
            project = DemoProject(server, demo)
            tasks = project.import_samples(samples)
            connect_project(functions, project, console)
        kept = {sample.name for sample in samples[: demo.held_out]}
        held_out = {task: sample for task, sample in tasks.items() if sample.name in kept}
        due = runs_at(settings, len(tasks) - len(held_out))
        outcome = Story(screen, functions, project, tasks, held_out, due).play()
        with screen.step("effort", "Read from Label Studio what was saved, as `labelloop effort` does"):
            effort = read_effort(functions.settings, project, screen)
        results = Results(demo, list(held_out.values()), outcome, effort)
        results.show(screen, console)
        found = [[prediction.frames for prediction in act] for act in (outcome.found_before, outcome.found_after)]
        pictures = options.folder / "pictures"
        console.print(f"Pictures: {draw(pictures, results.held_out, *found)}", soft_wrap=True)
        if options.report is not None:
            report = results.as_json(screen.seconds, pictures)
            options.report.write_text(json.dumps(report, indent=1) + "\n")
            console.print(f"Report: {options.report}", soft_wrap=True)
        if options.stay:
            keep(options.folder / FILE, functions.settings.to_environ())
            with suppress(KeyboardInterrupt):
                stay(options, console, server, project, functions)
            console.print("\nStopping everything.")


def demo_settings(
    server: LabelStudioServer,
    folder: Path,
    weights: Path,
    *,
    epochs: int,
    image_size: int,
    min_annotations: int = 5,
    environ: Mapping[str, str] = {},
) -> Settings:
    """Settings of a small, quick training; of `environ` those that say what it computes with; else the defaults."""
    return Settings.from_environ(
        {name: environ[name] for name in _HARDWARE if name in environ}
        | {
            "LABEL_STUDIO_URL": server.url,
            "LABEL_STUDIO_API_KEY": server.personal_access_token(),
            "HOST": LOOPBACK,
            "LABELLOOP_STORE": (folder / "store").as_uri(),
            "LABELLOOP_WORK_DIR": str(folder / "work"),
            "LABELLOOP_CACHE_DIR": str(folder / "cache"),
            "LABELLOOP_BASE_WEIGHTS": str(weights),
            "LABELLOOP_MIN_ANNOTATIONS": str(min_annotations),
            "LABELLOOP_COOL_DOWN": "0",  # the annotator waits for each run
            "LABELLOOP_SWEEP_INTERVAL": "2",  # what finds a new version, whose predictions are to be written
            "LABELLOOP_ATTEMPTS": "2",
            "LABELLOOP_EPOCHS": str(epochs),
            "LABELLOOP_IMAGE_SIZE": str(image_size),
            "LABELLOOP_BATCH": "8" if epochs else "0",
            "LABELLOOP_VAL_FRACTION": "0.25",  # a fifth of so few tasks would be too little to choose the best epoch
        }
    )


def runs_at(settings: Settings, tasks: int) -> list[int]:
    """The numbers of annotated tasks, of so many, at which a run is due."""
    schedule, due = Schedule(settings.min_annotations, settings.changed_share), [settings.min_annotations]
    while (following := due[-1] + schedule.changes(due[-1], tasks)) <= tasks:
        due.append(following)
    return [count for count in due if count <= tasks]


def read_effort(settings: Settings, project: DemoProject, screen: Screen) -> Report:
    """What `labelloop effort` would show. Raises LabelloopError."""
    label_studio = LabelStudio(*settings.label_studio())
    return measure_effort(open_store(settings.store), settings, label_studio, project.uid, tell=screen.whisper)


def connect_project(functions: Emulation, project: DemoProject, console: Console) -> None:
    """Connect the project as `labelloop connect --project N` does. Raises StartError."""
    settings = functions.settings
    findings = connect(
        LabelStudio(*settings.label_studio()),
        settings,
        project.id,
        store=open_store(settings.store),
        tell=lambda finding: show(finding, console),
    )
    if wrong := problems(findings):
        raise StartError(f"the project cannot be connected: {wrong[0].message} {wrong[0].remedy}")


def stay(
    options: Options, console: Console, server: LabelStudioServer, project: DemoProject, functions: Emulation
) -> None:
    """Keep everything running until Ctrl-C. Raises StartError if a function keeps dying."""
    console.print(f"\n[bold]Look around:[/] {project.address}", soft_wrap=True)
    account = server.account
    console.print(f"Log in as [bold]{account.username}[/] with password [bold]{escape(account.password)}[/]")
    console.print(f"More: cd {options.folder} && {Path(sys.executable).with_name('labelloop')} status", soft_wrap=True)
    console.print("[dim]Ctrl-C stops everything.[/]")
    while True:
        functions.check()
        time.sleep(1)


if __name__ == "__main__":
    typer.run(main)
