"""Subcommands that start and end the loop, and show it."""

from typing import Annotated

import typer
from rich.console import Console

from functions.train_trigger.status.policy import presets, rules, thresholds
from functions.train_trigger.status.project import ProjectStatus, read_status, read_statuses
from infra.cli import configuration
from infra.cli.connect import connect as connect_project
from infra.cli.connect import connect_at_start
from infra.cli.disconnect import disconnect as disconnect_project
from infra.cli.doctor import examine
from infra.cli.findings import problems
from infra.cli.open_page import open_page, page_address
from infra.cli.options import JsonOption, ProjectOption, count_of, label_studio_of, store_of
from infra.cli.output import end, print_json, print_result, teller
from infra.cli.policy_view import render_policy
from infra.cli.projects import find_project
from infra.cli.status_view import coming, next_steps, render_status, watch_status
from infra.cli.train import run_sentence, start_training, stop_runs, write_predictions
from infra.cli.up import prepare, run_until_interrupted
from shared.errors import SettingsError
from shared.labelstudio.requests import project_id
from shared.state.projects import projects

commands = typer.Typer()


@commands.command()
def up(
    context: typer.Context,
    project: Annotated[
        str | None,
        typer.Option(
            "--project", "-p", metavar="N", help="Id or uid of a project to connect first, as `connect --no-inbound`."
        ),
    ] = None,
    dummy: Annotated[bool, typer.Option("--dummy", help="Answer fixed predictions without a model.")] = False,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on; 0.0.0.0 for a Label Studio in a container or on another machine. Kept."
        ),
    ] = None,
    predict_port: Annotated[int | None, typer.Option(min=1, max=65535, help="First: 9090. Kept.")] = None,
    train_trigger_port: Annotated[int | None, typer.Option(min=1, max=65535, help="First: 9091. Kept.")] = None,
) -> None:
    """Run both functions, a sweeper and training jobs on this machine, until Ctrl-C.

    With --project the project is connected too, in a way for which Label Studio need not reach this machine: labelloop
    asks it for changes and writes predictions into it. A project that is connected already stays as it is.

    The first start makes labelloop.env here (readable by you alone): new secrets, ports, a store in ./labelloop-data.
    It asks for LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY if they are not set. Each start writes the settings of your
    environment into that file, so that the other commands and the next start use the same settings.
    """
    console = Console()
    settings = prepare(
        context.obj,
        console,
        host=host,
        predict_port=predict_port,
        train_trigger_port=train_trigger_port,
        dummy=dummy,
    )
    if project is not None:
        found = connect_at_start(
            label_studio_of(settings), settings, project, store=store_of(settings), tell=teller(json_=False)
        )
        end(found, json_=False)
    run_until_interrupted(context.obj, settings, console, project)


@commands.command()
def connect(
    context: typer.Context,
    project: Annotated[str, typer.Option("--project", "-p", metavar="N", help="Id or uid of the project.")],
    backend_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where Label Studio reaches labelloop: PREDICT_URL; TRAIN_TRIGGER_URL where predict scales to zero.",
        ),
    ] = None,
    webhook_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Where Label Studio sends events: TRAIN_TRIGGER_URL/webhook, or --backend-url/webhook."
        ),
    ] = None,
    no_inbound: Annotated[
        bool,
        typer.Option(
            "--no-inbound",
            help="Add nothing that Label Studio would call: predictions are written into it, and the sweep asks it.",
        ),
    ] = False,
    smart: Annotated[
        bool,
        typer.Option("--smart", help="Offer to add a tool to the labeling config that draws an object by a click."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the labeling config is changed.")] = False,
    json_: JsonOption = False,
) -> None:
    """Connect a project of Label Studio to labelloop: check everything, then add the backend and the webhook.

    With --no-inbound neither is added, and existing ones of labelloop are removed. If something is wrong, it says what
    to set and changes nothing. You can run it as often as you like.
    """
    settings = context.obj.connection_settings()
    if no_inbound and (backend_url or webhook_url):
        raise SettingsError("--no-inbound gives Label Studio no address: leave out --backend-url and --webhook-url")
    if no_inbound and smart:
        raise SettingsError("--no-inbound gives Label Studio no address to ask what a click means: leave out --smart")
    label_studio = label_studio_of(settings)
    findings = connect_project(
        label_studio,
        settings,
        project,
        store=store_of(settings),
        backend_url=backend_url,
        webhook_url=webhook_url,
        inbound=not no_inbound,
        agrees=(lambda lines: yes or _agrees(lines)) if smart else None,
        tell=teller(json_=json_),
    )
    if not json_ and not problems(findings):
        changed = any(finding.level == "changed" for finding in findings)
        print("Connected." if changed else "Nothing to change.")
        uid = label_studio.project(project_id(project)).counters.uid or project
        Console().print(next_steps(read_status(store_of(settings), uid, settings, count=count_of(settings))))
    end(findings, json_=json_)


def _agrees(lines: str) -> bool:
    """Whether a person wants these lines of the labeling config changed."""
    typer.echo(lines, err=True)
    return typer.confirm("Change the labeling config so?", err=True)


@commands.command()
def disconnect(
    context: typer.Context,
    project: Annotated[str, typer.Option("--project", "-p", metavar="N", help="Id or uid of the project.")],
    predictions: Annotated[
        bool,
        typer.Option("--predictions", help="Also remove labelloop's predictions of tasks without annotations."),
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Undo `connect`: remove backend and webhook, show what was shown before, stop trainings and predictions.

    Labels stay in Label Studio, and so do stored predictions, unless --predictions is given. Models stay in the store;
    `labelloop forget` removes them.
    """
    settings = context.obj.connection_settings()
    findings = disconnect_project(
        label_studio_of(settings),
        project,
        store=store_of(settings),
        tell=teller(json_=json_),
        predictions=predictions,
    )
    if not json_ and not findings:
        print("Nothing to change.")
    end(findings, json_=json_)


@commands.command()
def doctor(context: typer.Context, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Check everything, change nothing: token, store, functions, launcher; a project's connection, an image, labels.

    --project is needed only if the store holds several projects. Exit code 1 if there is a problem.
    """
    settings, environ = context.obj.connection_settings(), context.obj.variables()
    findings = examine(
        label_studio_of(settings), settings, store_of(settings), project, environ=environ, tell=teller(json_=json_)
    )
    end(findings, json_=json_)


@commands.command()
def status(
    context: typer.Context,
    project: ProjectOption = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it, until Ctrl-C.")] = False,
    json_: JsonOption = False,
) -> None:
    """Show projects, what each control serves, its metrics, the running training, and when the next one is due.

    Needs only the store. If Label Studio's address and token are set, it is asked how much is annotated now.
    """
    settings = context.obj.settings()
    store, count = store_of(settings), count_of(settings)

    def read() -> list[ProjectStatus]:
        uids = [find_project(store, project)] if project else list(projects(store))
        return read_statuses(store, uids, settings, count=count)

    if json_:
        print_json({"projects": [found.as_json() for found in read()]})
        return
    if not watch:
        Console().print(render_status(read(), store.url))
        return
    watch_status(read, store.url)


@commands.command()
def policy(context: typer.Context, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Show each limit, threshold and preset in force, where it comes from, and when the next training starts.

    It comes from the default, the environment, labelloop.env, or the project's own extra params. This command reads the
    settings now; train_trigger and jobs read theirs when they started. If the store has no project, the operator's
    settings are shown.
    """
    settings = context.obj.settings()
    store = store_of(settings)
    uid = find_project(store, project) if project or any(projects(store)) else None
    status = read_status(store, uid, settings, count=count_of(settings)) if uid else None
    record = status.record if status else None
    listed = configuration.listing(settings, context.obj.environ, context.obj.from_file())
    given = {row["variable"]: row["from"] for row in listed}
    found = rules(settings, record, given)
    served = [(one.control, one.manifest) for one in status.controls if one.control] if status else []
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
    print_result(body, render_policy(title, found, chosen, shown, sentence), json_=json_)


@commands.command("open")
def open_(context: typer.Context, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Open the page in a browser: projects, versions, the running training, and buttons for what can be done.

    train_trigger serves it at /ui. The browser asks for LABELLOOP_BASIC_AUTH_USER and LABELLOOP_BASIC_AUTH_PASSWORD.
    """
    settings = context.obj.settings()
    address = page_address(settings, find_project(store_of(settings), project) if project else None)
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
    body = start_training(settings, find_project(store_of(settings), project))
    print_result(body, run_sentence(body), json_=json_)


@commands.command()
def prelabel(context: typer.Context, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Write predictions of the served version into Label Studio, for tasks that have neither annotations nor those.

    A job does this by itself after each new version and import. This command makes it look at all tasks again, also
    where predictions were deleted or the job was stopped. Needs a connected project and LABELLOOP_PUSH=on. If such a
    job is running, it is shown.
    """
    settings = context.obj.settings()
    body = write_predictions(settings, find_project(store_of(settings), project))
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
    body = stop_runs(settings, find_project(store_of(settings), project), only)
    told = "\n".join(f"run {run['run_id']} {run['reason']}" for run in body.get("stopped", ()))
    print_result(body, told, json_=json_)
