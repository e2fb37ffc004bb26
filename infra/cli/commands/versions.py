"""Subcommands about the versions of a control: what they are worth, what they learnt from, which one is served."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from infra.cli.compare import compare_versions, render_comparison
from infra.cli.dataset import FORMATS as DATASET_FORMATS
from infra.cli.dataset import write_dataset
from infra.cli.export import FORMATS, export_version
from infra.cli.options import (
    ControlOption,
    FolderOption,
    JsonOption,
    ProjectOption,
    VersionArgument,
    label_studio_of,
    store_of,
)
from infra.cli.output import print_result, print_with
from infra.cli.projects import choose
from infra.cli.report import show_report
from infra.cli.retrain import render_retrained
from infra.cli.retrain import retrain as retrain_version
from infra.cli.versions import list_versions, render_versions
from jobs.train.data.fetching import fetching
from shared.state.deletion import check_deletable, delete_version
from shared.state.notes import write_note
from shared.state.rollback import move_pointer, moved_sentence, version_before

commands = typer.Typer()


@commands.command()
def versions(
    context: typer.Context,
    project: ProjectOption = None,
    control: ControlOption = None,
    why: Annotated[bool, typer.Option("--why", help="Also say why each one was promoted or not.")] = False,
    json_: JsonOption = False,
) -> None:
    """List the versions of a control: what became of each, its tasks, metric, time. An arrow marks the served one."""
    chosen = choose(store_of(context.obj.settings()), project, control)
    found, problems = list_versions(chosen.store, chosen.uid, chosen.control)
    rendered = render_versions(chosen.control, found, why=why)
    print_with(chosen.as_json() | {"versions": found}, rendered, problems, json_=json_)


@commands.command()
def report(
    context: typer.Context,
    version: Annotated[
        int | None, typer.Argument(min=1, metavar="VERSION", help="Number of the version; default: the newest.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Write it to this file or folder.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it.")] = True,
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Open the report of a version: whether to trust it, before and after in pictures, and where it comes from.

    One HTML file that needs nothing else. With --json it is written, and not opened.
    """
    chosen = choose(store_of(context.obj.settings()), project, control)
    shown = show_report(chosen.registry, chosen.control, version, to, browser=browser and not json_)
    body = chosen.as_json() | shown.as_json()
    print_result(body, shown.sentence(chosen.control), json_=json_)


@commands.command()
def rollback(
    context: typer.Context,
    to: Annotated[
        int | None,
        typer.Option("--to", min=1, metavar="VERSION", help="Number of the version to serve; default: the one before."),
    ] = None,
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Serve an older version, or go forward again to a newer one. A training that runs now cannot undo it."""
    chosen = choose(store_of(context.obj.settings()), project, control)
    version = to or version_before(chosen.store, chosen.uid, chosen.control)
    before, promotion = move_pointer(chosen.store, chosen.uid, chosen.control, version)
    body = chosen.as_json() | {"before": before, "version": version, "moved": promotion.moved}
    told = moved_sentence(chosen.registry, chosen.control, before, promotion)
    print_result(body, told, json_=json_)


@commands.command()
def note(
    context: typer.Context,
    version: VersionArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help='What to note, one line; "" removes the note.')],
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Write a note of one line on a version, in place of an earlier one. `labelloop versions` and the page show it."""
    chosen = choose(store_of(context.obj.settings()), project, control)
    chosen.version(version)
    kept = write_note(
        chosen.store, chosen.uid, chosen.control, version, text, known=chosen.registry.numbers(chosen.control)
    )
    body = chosen.as_json() | {"version": version, "note": kept}
    print_result(body, f"{chosen.control} v{version}: {kept or 'the note was removed'}", json_=json_)


@commands.command()
def delete(
    context: typer.Context,
    version: VersionArgument,
    project: ProjectOption = None,
    control: ControlOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_: JsonOption = False,
) -> None:
    """Delete a version for ever: its weights, report and dataset. The served version cannot be deleted.

    Its number is never used again. Files that other versions share stay. Annotations stay in Label Studio.
    """
    chosen = choose(store_of(context.obj.settings()), project, control)
    check_deletable(chosen.store, chosen.uid, chosen.control, version)
    if not yes:
        typer.confirm(
            f"Delete v{version} of {chosen.control!r} of project {chosen.uid} for ever?", abort=True, err=True
        )
    deleted = delete_version(chosen.store, chosen.uid, chosen.control, version)
    shared = f"; {deleted.shared} that other versions have too stay" if deleted.shared else ""
    told = f"{chosen.control} v{version} is deleted: {deleted.files} files, {deleted.size / 1e6:.1f} MB{shared}"
    body = chosen.as_json() | {"version": version, "files": deleted.files, "size": deleted.size}
    print_result(body, told, json_=json_)


@commands.command()
def export(
    context: typer.Context,
    version: VersionArgument,
    folder: FolderOption,
    format_name: Annotated[str, typer.Option("--format", metavar="FORMAT", help=f"{', '.join(FORMATS)}.")] = "onnx",
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Write a version's model in another format, with a model card as README.md, to use it without labelloop.

    ultralytics' exporter is used; packages that a format needs are named if they are missing. `pt` is the weights file.
    """
    chosen = choose(store_of(context.obj.settings()), project, control)
    with Console(stderr=True).status("") as progress:
        exported = export_version(
            chosen, version, format_name=format_name, folder=folder, tell=lambda said: progress.update(said)
        )
    body = chosen.as_json() | {"version": version, "format": format_name} | exported.as_json()
    print_result(body, f"{chosen.control} v{version}: {exported.model}, described in {exported.card}", json_=json_)


@commands.command()
def dataset(
    context: typer.Context,
    version: VersionArgument,
    folder: FolderOption,
    format_name: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help=f"{', '.join(DATASET_FORMATS)}.")
    ] = "yolo",
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Write the dataset that a version learnt from: its images, and the annotations as they were then.

    Images that have changed or are gone are left out and named; the exit code is then 1.
    """
    settings = context.obj.connection_settings()
    chosen = choose(store_of(settings), project, control)
    with Console(stderr=True).status("") as progress:
        written = write_dataset(
            chosen.registry,
            chosen.version(version),
            fetching(settings, label_studio_of(settings), chosen.store, chosen.uid),
            settings,
            format_name=format_name,
            folder=folder,
            tell=lambda said: progress.update(said),
        )
    body = chosen.as_json() | {"version": version, "format": format_name} | written.as_json()
    print_result(body, f"{chosen.control} v{version}: {written.sentence()}", json_=json_)
    if written.rebuilt.missing:
        raise typer.Exit(1)


@commands.command()
def retrain(
    context: typer.Context,
    version: VersionArgument,
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Train a version again here, with the same data, settings, seed and initial weights, and compare its metrics.

    Nothing is published or promoted. On a machine like that one it takes as long as the training did.
    """
    invocation = context.obj
    settings = invocation.connection_settings()
    chosen = choose(store_of(settings), project, control)
    manifest = chosen.version(version)
    with Console(stderr=True).status("beginning") as progress:
        found = retrain_version(
            settings, invocation.variables(), chosen.uid, manifest, tell=lambda said: progress.update(said)
        )
    body = chosen.as_json() | {"version": version} | found.as_json()
    print_result(body, render_retrained(found), json_=json_)


@commands.command()
def compare(
    context: typer.Context,
    before: Annotated[int, typer.Argument(min=1, metavar="N", help="Number of a version.")],
    after: Annotated[int, typer.Argument(min=1, metavar="M", help="Number of another one.")],
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Show what differs between two versions: tasks, labels, settings, packages, thresholds and metrics."""
    chosen = choose(store_of(context.obj.settings()), project, control)
    found = compare_versions(chosen.registry, chosen.control, before, after)
    print_result(chosen.as_json() | found.as_json(), render_comparison(found), json_=json_)
