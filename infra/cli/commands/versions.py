"""Subcommands about versions: what they are worth, what they learnt from, which one is served."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.text import Text

from infra.cli.compare import compare_versions, render_comparison
from infra.cli.dataset import FORMATS as DATASET_FORMATS
from infra.cli.dataset import write_dataset
from infra.cli.effort import measure_effort, render_effort
from infra.cli.export import FORMATS, export_version
from infra.cli.options import ControlOption, JsonOption, ProjectOption, label_studio_of, store_of
from infra.cli.output import print_result
from infra.cli.projects import find_control, find_project, find_version
from infra.cli.report import show_report
from infra.cli.retrain import render_retrained
from infra.cli.retrain import retrain as retrain_version
from infra.cli.suspects import dismiss_suspects, find_suspects, render_suspects, suspects_as_json
from infra.cli.suspects_tab import MAX_TASKS, show_in_tab
from infra.cli.versions import list_versions, render_versions
from infra.effort.picture import check_ending, draw
from jobs.train.data.fetching import fetching
from shared.labelstudio.requests import project_id
from shared.state.deletion import check_deletable, delete_version
from shared.state.notes import write_note
from shared.state.registry import Registry
from shared.state.rollback import move_pointer, moved_sentence, version_before

commands = typer.Typer()


@commands.command()
def versions(
    context: typer.Context,
    project: ProjectOption = None,
    control: ControlOption = None,
    why: Annotated[bool, typer.Option("--why", help="Also say of each why it was promoted, or not.")] = False,
    json_: JsonOption = False,
) -> None:
    """List the versions of a control: what became of each, its tasks, metric and time. An arrow: it is served."""
    store = store_of(context.obj.settings())
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    found = list_versions(store, uid, name)
    rendered = render_versions(name, found, why=why)
    print_result({"project": uid, "control": name, "versions": found}, rendered, json_=json_)


@commands.command()
def report(
    context: typer.Context,
    version: Annotated[
        int | None, typer.Argument(min=1, metavar="VERSION", help="Number of the version; else the newest.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write it to this file or folder, and keep it.")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it.")] = True,
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Open the report of a version: whether to trust it, before and after in pictures, and where it comes from.

    One HTML file that needs nothing else. With --json it is written, and not opened.
    """
    store = store_of(context.obj.settings())
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    shown = show_report(Registry(store, uid), name, version, to, browser=browser and not json_)
    body = {"project": uid, "control": name} | shown.as_json()
    print_result(body, shown.sentence(name), json_=json_)


@commands.command()
def rollback(
    context: typer.Context,
    to: Annotated[
        int | None,
        typer.Option("--to", min=1, metavar="VERSION", help="Number of the version to serve; else the one before."),
    ] = None,
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Serve an older version, or go forward again to a newer one. A training that runs now cannot undo it."""
    store = store_of(context.obj.settings())
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    version = to or version_before(store, uid, name)
    before, promotion = move_pointer(store, uid, name, version)
    body = {"project": uid, "control": name, "before": before, "version": version, "moved": promotion.moved}
    told = moved_sentence(Registry(store, uid), name, before, promotion)
    print_result(body, told, json_=json_)


@commands.command()
def note(
    context: typer.Context,
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", help="Number of the version.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help='What to note, one line; "" removes the note.')],
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Note a line on a version, in place of what was noted. `labelloop versions` and the page show it."""
    store = store_of(context.obj.settings())
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    registry = Registry(store, uid)
    find_version(registry, name, version)
    kept = write_note(store, uid, name, version, text, known=registry.numbers(name))
    body = {"project": uid, "control": name, "version": version, "note": kept}
    print_result(body, f"{name} v{version}: {kept or 'the note was removed'}", json_=json_)


@commands.command()
def delete(
    context: typer.Context,
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", help="Number of the version.")],
    project: ProjectOption = None,
    control: ControlOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_: JsonOption = False,
) -> None:
    """Delete a version for ever: its weights, report and dataset. Not the one that is served.

    Its number is never taken again. Files that other versions have too stay. Annotations stay in Label Studio.
    """
    store = store_of(context.obj.settings())
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    check_deletable(store, uid, name, version)
    if not yes:
        typer.confirm(f"Delete v{version} of {name!r} of project {uid} for ever?", abort=True, err=True)
    deleted = delete_version(store, uid, name, version)
    shared = f"; {deleted.shared} that other versions have too stay" if deleted.shared else ""
    told = f"{name} v{version} is deleted: {deleted.files} files, {deleted.size / 1e6:.1f} MB{shared}"
    body = {"project": uid, "control": name, "version": version, "files": deleted.files, "size": deleted.size}
    print_result(body, told, json_=json_)


@commands.command()
def export(
    context: typer.Context,
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", help="Number of the version.")],
    folder: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="Folder to write to: empty, or made if it is not there.")
    ],
    format_name: Annotated[str, typer.Option("--format", metavar="FORMAT", help=f"{', '.join(FORMATS)}.")] = "onnx",
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Write a version's model in another format, with a model card as README.md, to use it without labelloop.

    ultralytics' exporter does it. Packages that a format needs are named if missing. `pt`: the weights as they are.
    """
    store = store_of(context.obj.settings())
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    with Console(stderr=True).status("") as progress:
        exported = export_version(
            store, uid, name, version, format_name=format_name, folder=folder, tell=lambda said: progress.update(said)
        )
    body = {"project": uid, "control": name, "version": version, "format": format_name} | exported.as_json()
    print_result(body, f"{name} v{version}: {exported.model}, described in {exported.card}", json_=json_)


@commands.command()
def dataset(
    context: typer.Context,
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", help="Number of the version.")],
    folder: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="Folder to write to: empty, or made if it is not there.")
    ],
    format_name: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help=f"{', '.join(DATASET_FORMATS)}.")
    ] = "yolo",
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Write the dataset that a version learnt from: its images, and the annotations as they were then.

    An image that is another one now, or is gone, is named and left out; then the exit code is 1.
    """
    settings = context.obj.connection_settings()
    store = store_of(settings)
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    registry = Registry(store, uid)
    with Console(stderr=True).status("") as progress:
        written = write_dataset(
            registry,
            find_version(registry, name, version),
            fetching(settings, label_studio_of(settings), store, uid),
            settings,
            format_name=format_name,
            folder=folder,
            tell=lambda said: progress.update(said),
        )
    body = {"project": uid, "control": name, "version": version, "format": format_name} | written.as_json()
    print_result(body, f"{name} v{version}: {written.sentence()}", json_=json_)
    if written.rebuilt.missing:
        raise typer.Exit(1)


@commands.command()
def retrain(
    context: typer.Context,
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", help="Number of the version.")],
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Train a version again on this machine: same data, settings, seed and start. Says how far the numbers are.

    Nothing is published or promoted. It takes as long as the training did, on a machine like that one.
    """
    invocation = context.obj
    settings = invocation.connection_settings()
    store = store_of(settings)
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    manifest = find_version(Registry(store, uid), name, version)
    with Console(stderr=True).status("beginning") as progress:
        found = retrain_version(
            settings, invocation.variables(), uid, manifest, tell=lambda said: progress.update(said)
        )
    body = {"project": uid, "control": name, "version": version} | found.as_json()
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
    store = store_of(context.obj.settings())
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    found = compare_versions(Registry(store, uid), name, before, after)
    print_result({"project": uid, "control": name} | found.as_json(), render_comparison(found), json_=json_)


@commands.command()
def effort(
    context: typer.Context,
    project: ProjectOption = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Also draw it: a file named .png, .svg or .pdf.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Show what predictions saved: per version, kept, moved, deleted and added objects, and times.

    Counts the annotations in Label Studio; a thousand tasks take about a minute. Also says whether the next hundred
    labels are worth it, from the versions so far.
    """
    if picture is not None:
        check_ending(picture)
    settings = context.obj.connection_settings()
    store = store_of(settings)
    uid = find_project(store, project)
    with Console(stderr=True).status("") as progress:
        label_studio = label_studio_of(settings)
        report = measure_effort(store, settings, label_studio, uid, tell=lambda said: progress.update(said))
    if picture is not None:
        draw(report.effort, report.curves, report.fit.weights, picture)
    print_result(report.as_json(), render_effort(report), json_=json_)


@commands.command()
def suspects(
    context: typer.Context,
    project: ProjectOption = None,
    control: Annotated[
        str | None, typer.Option("--control", "-c", metavar="NAME", help="Only those of this control tag.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Not only the first 20 of each control.")] = False,
    dismissed: Annotated[
        list[str] | None,
        typer.Option("--dismiss", metavar="ID", help="Looked at, and right: listed no more. May be repeated."),
    ] = None,
    tab: Annotated[
        bool, typer.Option("--tab", help="Also show the tasks in a tab of Label Studio's data manager.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """List annotations that are worth a look: missing, spurious, loose, or with a swapped label, as the model sees it.

    Each training judges the tasks that it holds out. What is dismissed stays so until the annotation changes. That
    nothing is listed does not say that all is right.
    """
    settings = context.obj.connection_settings() if tab else context.obj.settings()
    store = store_of(settings)
    uid = find_project(store, project)
    found = find_suspects(store, uid, control)
    told = []
    if dismissed:
        count = dismiss_suspects(store, uid, found, dismissed)
        told.append(f"{count} dismissed, until their annotations change")
        found = find_suspects(store, uid, control)
    body = suspects_as_json(uid, found, settings.label_studio_url)
    if tab:
        tasks = [suspect.task for one in found if one.listed for suspect in one.listed.open]
        number = show_in_tab(label_studio_of(settings), project_id(uid), tasks)
        address = f"{settings.label_studio_url}/projects/{project_id(uid)}/data?tab={number}"
        body["tab"] = None if number is None else {"id": number, "url": address}
        more = f", the first {MAX_TASKS} tasks" if len(set(tasks)) > MAX_TASKS else ""
        told.append("no tab: there is nothing to show" if number is None else f"in Label Studio: {address}{more}")
    shown = told if dismissed else [render_suspects(uid, found, settings.label_studio_url, every=every), *told]
    print_result(body, Group(*(Text(one) if isinstance(one, str) else one for one in shown)), json_=json_)
