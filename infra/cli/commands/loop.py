"""Subcommands that show the loop, and start or stop its runs."""

from typing import Annotated

import typer
from rich.console import Group

from functions.train_trigger.status.policy import presets, rules, thresholds
from functions.train_trigger.status.project import ProjectStatus, Unreadable, read_status, read_statuses
from infra.cli import configuration
from infra.cli.options import JsonOption, ProjectOption, count_of, store_of
from infra.cli.output import print_projects, print_result, print_with
from infra.cli.policy_view import render_policy
from infra.cli.projects import find_project
from infra.cli.status_view import coming, render_status, watch_status
from infra.cli.trigger import ask, open_page, page_address, run_sentence
from shared.errors import SettingsError
from shared.state.projects import projects

commands = typer.Typer()


@commands.command()
def status(
    context: typer.Context,
    project: ProjectOption = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it, until Ctrl-C.")] = False,
    json_: JsonOption = False,
) -> None:
    """Show projects, what each control serves, its metrics, the running training, and when the next one is due.

    Needs only the store. If Label Studio's address and token are set, it is asked how much is annotated now. A project
    of which a record cannot be read is named, and the exit code is 1.
    """
    if watch and json_:
        raise SettingsError("--watch shows it anew to a person, --json prints it once: leave out one of them")
    settings = context.obj.settings()
    store, count = store_of(settings), count_of(settings)

    def read() -> list[ProjectStatus | Unreadable]:
        uids = [find_project(store, project)] if project is not None else list(projects(store))
        return read_statuses(store, uids, settings, count=count)

    if watch:
        watch_status(read, store.url)
        return
    found = read()
    shown = [one for one in found if isinstance(one, ProjectStatus)]
    unreadable = [one for one in found if isinstance(one, Unreadable)]
    rendered = render_status(shown, store.url) if shown or not found else Group()
    print_projects({"projects": [one.as_json() for one in shown]}, rendered, unreadable, json_=json_)
    if any(one.unreadable for one in shown):
        raise typer.Exit(1)


@commands.command()
def policy(context: typer.Context, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Show each limit, threshold and preset in force, where it comes from, and when the next training starts.

    It comes from the default, the environment, labelloop.env, or the project's own extra params. This command reads the
    settings now; train_trigger and jobs read theirs when they started. If the store has no project, the operator's
    settings are shown.
    """
    settings = context.obj.settings()
    store = store_of(settings)
    uid = find_project(store, project) if project is not None or any(projects(store)) else None
    status = read_status(store, uid, settings, count=count_of(settings)) if uid else None
    record = status.record if status else None
    listed = configuration.listing(settings, context.obj.environ, context.obj.from_file())
    given = {row["variable"]: row["from"] for row in listed}
    found = rules(settings, record, given)
    served = status.served if status else []
    shown, chosen = thresholds(served, settings, record), presets(served)
    due = status.next_training if status else None
    body = {
        "project": uid,
        "next_training": due.as_json() if due else None,
        "rules": [rule.as_json() for rule in found],
        "presets": list(chosen),
        "thresholds": [each.as_json() for each in shown],
    }
    title = f"Project {uid} {status.title}" if status else ""
    sentence = coming(status) if status else ()
    problems = status.unreadable if status else []
    print_with(body, render_policy(title, found, chosen, shown, sentence), problems, json_=json_)


@commands.command("open")
def open_(context: typer.Context, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Open the page in a browser: projects, versions, the running training, and buttons for what can be done.

    train_trigger serves it at /ui. The browser asks for LABELLOOP_BASIC_AUTH_USER and LABELLOOP_BASIC_AUTH_PASSWORD.
    """
    settings = context.obj.settings()
    address = page_address(settings, find_project(store_of(settings), project) if project is not None else None)
    opened = open_page(settings, address)
    told = address if opened else f"there is no browser here; open {address}"
    if settings.basic_auth_password is not None:
        where = context.obj.file if "LABELLOOP_BASIC_AUTH_PASSWORD" in context.obj.from_file() else "the environment"
        told += f"\nuser {settings.basic_auth_user}, password: LABELLOOP_BASIC_AUTH_PASSWORD in {where}"
    print_result({"url": address, "opened": opened}, told, json_=json_)


@commands.command()
def train(context: typer.Context, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Start a training now, without waiting for enough annotations. If one is running, show that one."""
    settings = context.obj.settings()
    body = ask(settings, "/train", {"project": find_project(store_of(settings), project)})
    print_result(body, run_sentence(body), json_=json_)


@commands.command()
def prelabel(context: typer.Context, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Write predictions of the served version into Label Studio, for tasks that have neither annotations nor those.

    A job does this by itself after each new version and import. This command makes it look at all tasks again, also
    where predictions were deleted or the job was stopped. Needs a connected project and LABELLOOP_PUSH=on. If such a
    job is running, it is shown.
    """
    settings = context.obj.settings()
    body = ask(settings, "/prelabel", {"project": find_project(store_of(settings), project)})
    print_result(body, run_sentence(body), json_=json_)


@commands.command()
def stop(
    context: typer.Context,
    project: ProjectOption = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="WHAT", help="training or predictions; without it both.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """End the run that is active now: the training, and the job that writes predictions ahead.

    Annotations stay, and the next training learns from them. It starts after as many changes from now on as after any
    run, or at once with `labelloop train`. Predictions continue with the next version, or with `labelloop prelabel`.
    """
    if only not in (None, "training", "predictions"):
        raise SettingsError(f"--only {only}: it is training or predictions")
    settings = context.obj.settings()
    body = ask(settings, "/stop", {"project": find_project(store_of(settings), project), "only": only})
    told = "\n".join(f"run {run['run_id']} {run['reason']}" for run in body.get("stopped", ()))
    print_result(body, told, json_=json_)
