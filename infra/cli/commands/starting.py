"""Subcommands that start labelloop and connect projects of Label Studio to it."""

from typing import Annotated

import typer
from rich.console import Console

from functions.train_trigger.status.project import read_status
from infra.cli.connect import connect as connect_project
from infra.cli.connect import connect_at_start
from infra.cli.disconnect import disconnect as disconnect_project
from infra.cli.doctor import examine
from infra.cli.findings import problems
from infra.cli.options import JsonOption, ProjectOption, count_of, label_studio_of, store_of
from infra.cli.output import end, teller
from infra.cli.status_view import next_steps
from infra.cli.up import prepare, run_until_interrupted
from shared.errors import SettingsError
from shared.labelstudio.requests import project_id

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
