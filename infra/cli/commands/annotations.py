"""Subcommands about annotations: what predictions save of the work, and which annotations are worth a look."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.text import Text

from infra.cli.effort import measure_effort, render_effort
from infra.cli.options import JsonOption, ProjectOption, label_studio_of, store_of
from infra.cli.output import print_result
from infra.cli.projects import find_project
from infra.cli.suspects import dismiss_suspects, find_suspects, render_suspects, suspects_as_json
from infra.cli.suspects_tab import MAX_TASKS, show_in_tab
from infra.effort.picture import check_ending, draw
from shared.labelstudio.requests import project_id

commands = typer.Typer()


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
    every: Annotated[bool, typer.Option("--all", help="List all, not only the first 20 of each control.")] = False,
    dismissed: Annotated[
        list[str] | None,
        typer.Option("--dismiss", metavar="ID", help="This one is right: do not list it again. May be repeated."),
    ] = None,
    tab: Annotated[
        bool, typer.Option("--tab", help="Also show the tasks in a tab of Label Studio's data manager.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """List annotations that are worth a look: missing, spurious, loose, or with a swapped label, as the model sees it.

    Each training judges the tasks that it holds out. A dismissed one is listed again only if its annotation changes. An
    empty list does not mean that all annotations are right.
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
