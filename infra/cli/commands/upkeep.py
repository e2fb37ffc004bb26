"""Subcommands about what lies in the store, settings and notices."""

from typing import Annotated

import typer
from rich.console import Console, Group

from infra.cli import configuration
from infra.cli.base_weights import add_base_weights, base_as_json, render_base
from infra.cli.keeping import forget_project, known_uids, prune_projects, removals_as_json, render_removals
from infra.cli.notify import render_waiting, send_test, waiting, waiting_as_json
from infra.cli.options import JsonOption, ProjectOption, store_of
from infra.cli.output import print_projects, print_result, print_with
from infra.cli.projects import find_project
from shared.state.base_weights import all_base_weights

commands = typer.Typer()
base = typer.Typer(
    name="base",
    no_args_is_help=True,
    help="Base weights in the store: trainings start from them, and they are served before a first version.",
)
commands.add_typer(base)


@base.command("add")
def base_add(
    context: typer.Context,
    weights: Annotated[
        list[str], typer.Argument(metavar="WEIGHTS", help="Files, or names that ultralytics knows: yolo11n.pt …")
    ],
    json_: JsonOption = False,
) -> None:
    """Convert base weights to a graph, check it, and store both, unless the store has them already.

    `labelloop up` and jobs do this by themselves; use it where jobs have no internet. To train from a file of your own,
    name it in LABELLOOP_BASE_WEIGHTS too.
    """
    settings, environ = context.obj.settings(), context.obj.variables()
    with Console(stderr=True).status("") as progress:
        added = add_base_weights(store_of(settings), weights, environ=environ, tell=lambda said: progress.update(said))
    print_result({"base": base_as_json(added)}, render_base(added), json_=json_)


@base.command("list")
def base_list(context: typer.Context, json_: JsonOption = False) -> None:
    """List the base weights in the store."""
    found, problems = all_base_weights(store_of(context.obj.settings()))
    rendered = render_base(found) if found or not problems else Group()
    print_with({"base": base_as_json(found)}, rendered, problems, json_=json_)


@commands.command()
def notify(
    context: typer.Context,
    test: Annotated[bool, typer.Option("--test", help="Post one notice to LABELLOOP_NOTIFY_URL, from here.")] = False,
    json_: JsonOption = False,
) -> None:
    """Show the notices that wait to be sent; with --test send one, to try the address.

    train_trigger posts them after each sweep: versions promoted or rejected, runs that failed, budgets that are spent.
    """
    settings = context.obj.settings()
    if test:
        status = send_test(settings)
        print_result({"sent": True, "status": status}, f"The receiver answered {status}.", json_=json_)
        return
    found, unreadable = waiting(store_of(settings))
    print_projects({"notices": waiting_as_json(found)}, render_waiting(found, settings), unreadable, json_=json_)


@commands.command()
def prune(
    context: typer.Context,
    project: ProjectOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")] = False,
    json_: JsonOption = False,
) -> None:
    """Remove what no pointer, rollback, newest run or active run needs, of all projects or of one.

    Each run does this for its project when it ends. LABELLOOP_KEEP_RUNS and LABELLOOP_KEEP_VERSIONS say how much stays.
    """
    settings = context.obj.settings()
    store = store_of(settings)
    uids = [find_project(store, project)] if project is not None else known_uids(store)
    removals, unreadable = prune_projects(store, uids, settings, dry_run=dry_run)
    rendered = render_removals(removals, dry_run=dry_run)
    print_projects(removals_as_json(removals, dry_run=dry_run), rendered, unreadable, json_=json_)


@commands.command()
def forget(
    context: typer.Context,
    project: Annotated[str, typer.Option("--project", "-p", metavar="N", help="Id or uid of the project.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_: JsonOption = False,
) -> None:
    """Remove a project from the store for ever: its versions, runs, config and claims. Label Studio's data stays.

    Run `labelloop disconnect` first, or the next setup of its backend adds the project again.
    """
    store = store_of(context.obj.settings())
    uid = find_project(store, project)
    if not yes:
        typer.confirm(f"Remove all versions and runs of project {uid} from {store.url} for ever?", abort=True, err=True)
    count = forget_project(store, uid)
    print_result(
        {"project": uid, "removed": count}, f"project {uid} is forgotten: {count} objects were removed", json_=json_
    )


@commands.command()
def settings(
    context: typer.Context,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/configuration.md instead.")] = False,
    json_: JsonOption = False,
) -> None:
    """Show every setting with the value that is in force here, secrets hidden, and where it comes from."""
    if markdown:
        print(configuration.markdown(), end="")
        return
    invocation = context.obj
    rows = configuration.listing(invocation.settings(), invocation.environ, invocation.from_file())
    print_result({"settings": rows}, configuration.render_listing(rows), json_=json_)
