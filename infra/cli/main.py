"""The `labelloop` command: its subcommands with their options; the modules beside it do the work."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.text import Text

from functions.train_trigger.status.counting import Count, counting
from functions.train_trigger.status.policy import presets, rules, thresholds
from functions.train_trigger.status.project import ProjectStatus, read_status, read_statuses
from infra.cli import configuration
from infra.cli.base_weights import add_base_weights, base_as_json, render_base
from infra.cli.compare import compare_versions, render_comparison
from infra.cli.connect import connect as connect_project
from infra.cli.connect import connect_at_start
from infra.cli.dataset import FORMATS as DATASET_FORMATS
from infra.cli.dataset import write_dataset
from infra.cli.disconnect import disconnect as disconnect_project
from infra.cli.doctor import examine
from infra.cli.effort import measure_effort, render_effort
from infra.cli.environment import Invocation
from infra.cli.export import FORMATS, export_version
from infra.cli.findings import problems
from infra.cli.keeping import forget_project, known_uids, prune_projects, removals_as_json, render_removals
from infra.cli.notify import render_waiting, send_test, waiting, waiting_as_json
from infra.cli.open_page import open_page, page_address
from infra.cli.output import end, print_json, print_result, teller
from infra.cli.policy_view import render_policy
from infra.cli.projects import find_control, find_project, find_version
from infra.cli.report import show_report
from infra.cli.retrain import render_retrained
from infra.cli.retrain import retrain as retrain_version
from infra.cli.status_view import coming, next_steps, render_status, watch_status
from infra.cli.suspects import dismiss_suspects, find_suspects, render_suspects, suspects_as_json
from infra.cli.suspects_tab import MAX_TASKS, show_in_tab
from infra.cli.train import start_training, stop_runs
from infra.cli.up import prepare, run_until_interrupted
from infra.cli.versions import list_versions, render_versions
from infra.effort.picture import check_ending, draw
from jobs.train.data.fetching import fetching
from shared.errors import LabelloopError, SettingsError
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.requests import project_id
from shared.objectstore import ObjectStore, open_store
from shared.settings import Settings
from shared.state.base_weights import all_base_weights
from shared.state.deletion import check_deletable, delete_version
from shared.state.notes import write_note
from shared.state.projects import projects
from shared.state.registry import Registry
from shared.state.rollback import move_pointer, moved_sentence, version_before

app = typer.Typer(
    name="labelloop",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
base = typer.Typer(
    name="base",
    no_args_is_help=True,
    help="Base weights in the store: what controls begin with, and are served with before a first version.",
)
app.add_typer(base)
_LABEL_STUDIO_TIMEOUT = 30.0  # seconds: to add a backend Label Studio itself calls it four times
_LOOK = 3.0  # seconds that a command which needs the store alone waits for Label Studio

ProjectOption = Annotated[
    str | None,
    typer.Option(
        "--project", "-p", metavar="N", help="Id (the N in Label Studio's address /projects/N) or uid of a project."
    ),
]
ControlOption = Annotated[
    str | None,
    typer.Option("--control", "-c", metavar="NAME", help="Name of a control tag; needed only where there are several."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.callback()
def labelloop(context: typer.Context) -> None:
    """YOLO models that learn from your annotators, inside Label Studio.

    Start with `labelloop up`, then `labelloop connect --project N` in another terminal, in the same
    folder. Settings come from the environment and from labelloop.env in the current folder, which `up` makes.
    """
    if context.obj is None:
        context.obj = Invocation(os.environ, Path.cwd())


@app.command()
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

    With --project all is done, and Label Studio need not reach this machine: its project is asked for changes, and
    predictions are written into it. A project that is connected already stays as it is.

    The first time it makes labelloop.env here (readable by you alone): new secrets, ports, a store in ./labelloop-data,
    and LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY of your environment, which it asks for if they are not set.
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
            _label_studio(settings), settings, project, store=_store(settings), tell=teller(json_=False)
        )
        end(found, json_=False)
    run_until_interrupted(context.obj, settings, console, project)


@app.command()
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
    json_: JsonOption = False,
) -> None:
    """Wire a project of Label Studio to labelloop: check everything, add the backend and the webhook.

    With --no-inbound neither is added, and those of before are removed. Says in plain words what is wrong and what to
    set. Changes nothing while something is wrong; run it as often as you like.
    """
    settings = context.obj.connection_settings()
    if no_inbound and (backend_url or webhook_url):
        raise SettingsError("--no-inbound gives Label Studio no address: leave out --backend-url and --webhook-url")
    label_studio = _label_studio(settings)
    findings = connect_project(
        label_studio,
        settings,
        project,
        store=_store(settings),
        backend_url=backend_url,
        webhook_url=webhook_url,
        inbound=not no_inbound,
        tell=teller(json_=json_),
    )
    if not json_ and not problems(findings):
        changed = any(finding.level == "changed" for finding in findings)
        print("Connected." if changed else "Nothing to change.")
        uid = label_studio.project(project_id(project)).counters.uid or project
        Console().print(next_steps(read_status(_store(settings), uid, settings, count=_count(settings))))
    end(findings, json_=json_)


@app.command()
def disconnect(
    context: typer.Context,
    project: Annotated[str, typer.Option("--project", "-p", metavar="N", help="Id or uid of the project.")],
    predictions: Annotated[
        bool,
        typer.Option("--predictions", help="Also remove labelloop's predictions of tasks without annotations."),
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Take back what `connect` made: backend, webhook, what annotators are shown, predictions ahead, trainings.

    Labels stay in Label Studio, stored predictions unless --predictions; models stay in the store (`labelloop forget`
    removes those).
    """
    settings = context.obj.connection_settings()
    findings = disconnect_project(
        _label_studio(settings),
        project,
        store=_store(settings),
        tell=teller(json_=json_),
        predictions=predictions,
    )
    if not json_ and not findings:
        print("Nothing to change.")
    end(findings, json_=json_)


@app.command()
def doctor(context: typer.Context, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Check all and change nothing: token, store, functions, launcher; with --project also wiring, an image, labels.

    Exit code 1 if there is a problem.
    """
    settings, environ = context.obj.connection_settings(), context.obj.variables()
    findings = examine(
        _label_studio(settings), settings, _store(settings), project, environ=environ, tell=teller(json_=json_)
    )
    end(findings, json_=json_)


@app.command()
def status(
    context: typer.Context,
    project: ProjectOption = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it, until Ctrl-C.")] = False,
    json_: JsonOption = False,
) -> None:
    """Show projects, what each control serves, its metrics, the running training, and when the next one is due.

    Needs the store alone; Label Studio is asked how much is annotated now, if it is known and answers.
    """
    settings = context.obj.settings()
    store, count = _store(settings), _count(settings)

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


@app.command()
def policy(context: typer.Context, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Show each limit, threshold and preset in force, where it comes from, and when the next training starts.

    Where it comes from: default, environment, labelloop.env, or the project's own extra params. Settings are those that
    this command reads; train_trigger and jobs have read theirs when they were started. Without any project: the
    operator's alone.
    """
    settings = context.obj.settings()
    store = _store(settings)
    uid = find_project(store, project) if project or any(projects(store)) else None
    status = read_status(store, uid, settings, count=_count(settings)) if uid else None
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


@app.command("open")
def open_(context: typer.Context, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Open the page in a browser: projects, versions, the running training, and buttons for what can be done.

    train_trigger serves it at /ui. The browser asks for LABELLOOP_BASIC_AUTH_USER and LABELLOOP_BASIC_AUTH_PASSWORD.
    """
    settings = context.obj.settings()
    address = page_address(settings, find_project(_store(settings), project) if project else None)
    opened = open_page(settings, address)
    told = address if opened else f"there is no browser here; open {address}"
    if settings.basic_auth_password is not None:
        where = context.obj.file if "LABELLOOP_BASIC_AUTH_PASSWORD" in context.obj.from_file() else "the environment"
        told += f"\nuser {settings.basic_auth_user}, password: LABELLOOP_BASIC_AUTH_PASSWORD in {where}"
    print_result({"url": address, "opened": opened}, told, json_=json_)


@app.command()
def versions(
    context: typer.Context,
    project: ProjectOption = None,
    control: ControlOption = None,
    why: Annotated[bool, typer.Option("--why", help="Also say of each why it was promoted, or not.")] = False,
    json_: JsonOption = False,
) -> None:
    """List the versions of a control: what became of each, its tasks, metric and time. An arrow: it is served."""
    store = _store(context.obj.settings())
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    found = list_versions(store, uid, name)
    rendered = render_versions(name, found, why=why)
    print_result({"project": uid, "control": name, "versions": found}, rendered, json_=json_)


@app.command()
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
    store = _store(context.obj.settings())
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    shown = show_report(Registry(store, uid), name, version, to, browser=browser and not json_)
    body = {"project": uid, "control": name} | shown.as_json()
    print_result(body, shown.sentence(name), json_=json_)


@app.command()
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
    store = _store(context.obj.settings())
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    version = to or version_before(store, uid, name)
    before, promotion = move_pointer(store, uid, name, version)
    body = {"project": uid, "control": name, "before": before, "version": version, "moved": promotion.moved}
    told = moved_sentence(Registry(store, uid), name, before, promotion)
    print_result(body, told, json_=json_)


@app.command()
def note(
    context: typer.Context,
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", help="Number of the version.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help='What to note, one line; "" removes the note.')],
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Note a line on a version, in place of what was noted. `labelloop versions` and the page show it."""
    store = _store(context.obj.settings())
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    registry = Registry(store, uid)
    find_version(registry, name, version)
    kept = write_note(store, uid, name, version, text, known=registry.numbers(name))
    body = {"project": uid, "control": name, "version": version, "note": kept}
    print_result(body, f"{name} v{version}: {kept or 'the note was removed'}", json_=json_)


@app.command()
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
    store = _store(context.obj.settings())
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


@app.command()
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
    store = _store(context.obj.settings())
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    with Console(stderr=True).status("") as progress:
        exported = export_version(
            store, uid, name, version, format_name=format_name, folder=folder, tell=lambda said: progress.update(said)
        )
    body = {"project": uid, "control": name, "version": version, "format": format_name} | exported.as_json()
    print_result(body, f"{name} v{version}: {exported.model}, described in {exported.card}", json_=json_)


@app.command()
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
    store = _store(settings)
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    registry = Registry(store, uid)
    with Console(stderr=True).status("") as progress:
        written = write_dataset(
            registry,
            find_version(registry, name, version),
            fetching(settings, _label_studio(settings), store, uid),
            settings,
            format_name=format_name,
            folder=folder,
            tell=lambda said: progress.update(said),
        )
    body = {"project": uid, "control": name, "version": version, "format": format_name} | written.as_json()
    print_result(body, f"{name} v{version}: {written.sentence()}", json_=json_)
    if written.rebuilt.missing:
        raise typer.Exit(1)


@app.command()
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
    store = _store(settings)
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    manifest = find_version(Registry(store, uid), name, version)
    with Console(stderr=True).status("beginning") as progress:
        found = retrain_version(
            settings, invocation.variables(), uid, manifest, tell=lambda said: progress.update(said)
        )
    body = {"project": uid, "control": name, "version": version} | found.as_json()
    print_result(body, render_retrained(found), json_=json_)


@app.command()
def compare(
    context: typer.Context,
    before: Annotated[int, typer.Argument(min=1, metavar="N", help="Number of a version.")],
    after: Annotated[int, typer.Argument(min=1, metavar="M", help="Number of another one.")],
    project: ProjectOption = None,
    control: ControlOption = None,
    json_: JsonOption = False,
) -> None:
    """Show what differs between two versions: tasks, labels, settings, packages, thresholds and metrics."""
    store = _store(context.obj.settings())
    uid = find_project(store, project)
    name = find_control(store, uid, control)
    found = compare_versions(Registry(store, uid), name, before, after)
    print_result({"project": uid, "control": name} | found.as_json(), render_comparison(found), json_=json_)


@app.command()
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
    store = _store(settings)
    uid = find_project(store, project)
    with Console(stderr=True).status("") as progress:
        report = measure_effort(store, settings, _label_studio(settings), uid, tell=lambda said: progress.update(said))
    if picture is not None:
        draw(report.effort, report.curves, report.fit.weights, picture)
    print_result(report.as_json(), render_effort(report), json_=json_)


@app.command()
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
    store = _store(settings)
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
        number = show_in_tab(_label_studio(settings), project_id(uid), tasks)
        address = f"{settings.label_studio_url}/projects/{project_id(uid)}/data?tab={number}"
        body["tab"] = None if number is None else {"id": number, "url": address}
        more = f", the first {MAX_TASKS} tasks" if len(set(tasks)) > MAX_TASKS else ""
        told.append("no tab: there is nothing to show" if number is None else f"in Label Studio: {address}{more}")
    shown = told if dismissed else [render_suspects(uid, found, settings.label_studio_url, every=every), *told]
    print_result(body, Group(*(Text(one) if isinstance(one, str) else one for one in shown)), json_=json_)


@base.command("add")
def base_add(
    context: typer.Context,
    weights: Annotated[
        list[str], typer.Argument(metavar="WEIGHTS", help="Files, or names that ultralytics knows: yolo11n.pt …")
    ],
    json_: JsonOption = False,
) -> None:
    """Make base weights ready to serve, and keep them in the store: the file, and its graph, checked. Once each.

    `labelloop up` does it by itself, and so does a job; this does it ahead, or where jobs have no internet. To begin
    with a file, name it in LABELLOOP_BASE_WEIGHTS too.
    """
    settings, environ = context.obj.settings(), context.obj.variables()
    with Console(stderr=True).status("") as progress:
        added = add_base_weights(_store(settings), weights, environ=environ, tell=lambda said: progress.update(said))
    print_result({"base": base_as_json(added)}, render_base(added), json_=json_)


@base.command("list")
def base_list(context: typer.Context, json_: JsonOption = False) -> None:
    """List the base weights in the store."""
    found = list(all_base_weights(_store(context.obj.settings())))
    print_result({"base": base_as_json(found)}, render_base(found), json_=json_)


@app.command()
def train(context: typer.Context, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Start a training now, without waiting for enough annotations. While one is active, that one is shown."""
    settings = context.obj.settings()
    body = start_training(settings, find_project(_store(settings), project))
    run_id = str(body.get("job", "")).rpartition("/")[2]
    print_result(body, f"run {run_id} {body.get('status')}: {body.get('reason')}", json_=json_)


@app.command()
def stop(
    context: typer.Context,
    project: ProjectOption = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="WHAT", help="training, or predictions; else both.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """End the run that is active now: the training, and the job that writes predictions ahead.

    What is annotated stays, and is learnt from by the next training: after as many changes from now on as after any
    run, or at once by `labelloop train`. Predictions go on with the next version, or by the button on the page.
    """
    if only not in (None, "training", "predictions"):
        raise SettingsError(f"--only {only}: it is training or predictions")
    settings = context.obj.settings()
    body = stop_runs(settings, find_project(_store(settings), project), only)
    told = "\n".join(f"run {run['run_id']} {run['reason']}" for run in body.get("stopped", ()))
    print_result(body, told, json_=json_)


@app.command()
def notify(
    context: typer.Context,
    test: Annotated[bool, typer.Option("--test", help="Post one notice to LABELLOOP_NOTIFY_URL, from here.")] = False,
    json_: JsonOption = False,
) -> None:
    """Show the notices that wait to be sent; with --test send one, to try the address out.

    train_trigger posts them after each sweep: versions promoted or rejected, runs that failed, budgets that are spent.
    """
    settings = context.obj.settings()
    if test:
        status = send_test(settings)
        print_result({"sent": True, "status": status}, f"The receiver answered {status}.", json_=json_)
        return
    found = list(waiting(_store(settings)))
    print_result({"notices": waiting_as_json(found)}, render_waiting(found, settings), json_=json_)


@app.command()
def prune(
    context: typer.Context,
    project: ProjectOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")] = False,
    json_: JsonOption = False,
) -> None:
    """Remove what no pointer, rollback, newest run or active run needs: of all projects, or of one.

    Each run does it for its project when it ends. LABELLOOP_KEEP_RUNS and LABELLOOP_KEEP_VERSIONS say how much stays.
    """
    settings = context.obj.settings()
    store = _store(settings)
    uids = [find_project(store, project)] if project else known_uids(store)
    removals = prune_projects(store, uids, settings, dry_run=dry_run)
    print_result(removals_as_json(removals, dry_run=dry_run), render_removals(removals, dry_run=dry_run), json_=json_)


@app.command()
def forget(
    context: typer.Context,
    project: Annotated[str, typer.Option("--project", "-p", metavar="N", help="Id or uid of the project.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_: JsonOption = False,
) -> None:
    """Remove a project from the store for ever: its versions, runs, config and claims. Label Studio keeps its own.

    First run `labelloop disconnect`: the next setup of its backend would make it known again.
    """
    store = _store(context.obj.settings())
    uid = find_project(store, project)
    if not yes:
        typer.confirm(f"Remove all versions and runs of project {uid} from {store.url} for ever?", abort=True, err=True)
    count = forget_project(store, uid)
    print_result(
        {"project": uid, "removed": count}, f"project {uid} is forgotten: {count} objects were removed", json_=json_
    )


@app.command()
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


def run() -> None:
    """Run the command; exit code 1 and one sentence for an error, 130 for Ctrl-C."""
    try:
        app()
    except LabelloopError as error:
        print(f"labelloop: {error}", file=sys.stderr)
        sys.exit(1)


def _store(settings: Settings) -> ObjectStore:
    return open_store(settings.store, s3_endpoint=settings.s3_endpoint)


def _count(settings: Settings) -> Count | None:
    """Asks Label Studio what is annotated now; None without its address and token."""
    if settings.label_studio_url is None or settings.label_studio_api_key is None:
        return None
    token = settings.label_studio_api_key.get_secret_value()
    return counting(LabelStudio(settings.label_studio_url, token, timeout=_LOOK), patience=_LOOK)


def _label_studio(settings: Settings) -> LabelStudio:
    assert settings.label_studio_url
    assert settings.label_studio_api_key
    return LabelStudio(
        settings.label_studio_url, settings.label_studio_api_key.get_secret_value(), timeout=_LABEL_STUDIO_TIMEOUT
    )


if __name__ == "__main__":
    run()
