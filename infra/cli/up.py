"""`labelloop up`: runs both functions, the sweeper and local training jobs on this machine, until Ctrl-C."""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.markup import escape

from functions.train_trigger.launchers import launcher_url
from infra.cli.environment import FILE, Invocation, first_values, keep, to_keep
from infra.cli.log_view import LogView
from infra.local.base_weights import refuse_missing_files
from infra.local.emulation import emulation
from infra.local.leftovers import end_leftovers
from infra.local.processes import EVERY_ADDRESS, StartError, choose_port, interrupt_once, reached_at
from shared.errors import SettingsError, StoreError
from shared.objectstore import ObjectStore, open_store
from shared.settings import Settings, variable
from shared.state.projects import read_project

PREDICT_PORT, TRAIN_TRIGGER_PORT = 9090, 9091
_PORTS = {"predict_url": "--predict-port", "train_trigger_url": "--train-trigger-port"}
_LABEL_STUDIO = ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY")
_CHECK_INTERVAL = 0.5  # seconds between two looks at the functions


def prepare(
    invocation: Invocation,
    console: Console,
    *,
    host: str | None,
    predict_port: int | None,
    train_trigger_port: int | None,
    dummy: bool,
) -> Settings:
    """Make or complete labelloop.env, and answer the settings to start with. Raises SettingsError, StartError.

    Options and settings of the environment are written into the file, so that the other commands, and the next start,
    go by the same.
    The file is written only if the settings are right, the base weights are found and the ports are free.
    """
    present, variables = invocation.from_file(), invocation.variables()
    new = first_values(invocation.folder, PREDICT_PORT, TRAIN_TRIGGER_PORT)
    ports = {"PREDICT_URL": predict_port, "TRAIN_TRIGGER_URL": train_trigger_port}
    chosen = _where_they_listen(new | variables, host, ports)
    kept = {name: variables.get(name, value) for name, value in new.items() if name not in present}
    kept |= to_keep(invocation.environ) | _ask_for_label_studio(variables) | chosen
    settings = Settings.from_environ(variables | kept | ({"LABELLOOP_DUMMY": "true"} if dummy else {}))
    settings.require_access_rules()
    launcher_url(settings)
    if settings.predict_url == settings.train_trigger_url:
        raise SettingsError(f"both functions cannot listen at {settings.predict_url}: pass another --predict-port")
    if not settings.dummy:
        refuse_missing_files(open_store(settings.store, s3_endpoint=settings.s3_endpoint), settings)
    end_leftovers(logs_of(invocation), lambda line: console.print(line, style="dim", highlight=False, soft_wrap=True))
    _check_ports(settings)
    made = not invocation.file.exists()
    changed = keep(invocation.file, kept)
    where = escape(str(invocation.file))
    if made:
        console.print(f"made {where}; the other commands read it in this folder", soft_wrap=True)
        changed = [name for name in changed if name not in new]
    if changed:
        console.print(
            f"wrote {', '.join(changed)} into {where}: other commands and the next start use that too", soft_wrap=True
        )
    return settings


def run_until_interrupted(
    invocation: Invocation, settings: Settings, console: Console, project: str | None = None
) -> None:
    """Start everything, print the addresses, and stop it at Ctrl-C. Raises StartError, SettingsError.

    `project`: the one that was connected, if any.
    """
    interrupt_once()
    with emulation(
        settings,
        logs_of(invocation),
        environ=invocation.environ,
        predict_port=urlsplit(str(settings.predict_url)).port or 0,
        train_trigger_port=urlsplit(str(settings.train_trigger_url)).port or 0,
        on_line=LogView(console, titles(open_store(settings.store, s3_endpoint=settings.s3_endpoint))),
        say=lambda line: console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True),
    ) as running:
        console.print(f"[green]✓[/] functions/predict        {running.predict_url}", highlight=False, soft_wrap=True)
        console.print(
            f"[green]✓[/] functions/train_trigger  {running.train_trigger_url}", highlight=False, soft_wrap=True
        )
        console.print(f"  models and claims        {escape(settings.store)}", highlight=False, soft_wrap=True)
        console.print(f"  logs                     {escape(str(running.folder))}", highlight=False, soft_wrap=True)
        page = f"{running.train_trigger_url}/ui"
        console.print(f"  the page                 {page}  (labelloop open)", highlight=False, soft_wrap=True)
        if settings.dummy:
            console.print("[yellow]![/] --dummy: fixed predictions, to prove the wiring; no model is loaded")
        if project is None:
            then = "[bold]labelloop connect --project N[/], then [bold]labelloop status --watch[/]"
        else:
            then = "[bold]labelloop status --watch[/]; [bold]labelloop train[/] starts a training now"
        console.print(f"\nIn another terminal, in this folder: {then}. Ctrl-C stops everything.")
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(_CHECK_INTERVAL)
                running.check()
        console.print("stopping")


def logs_of(invocation: Invocation) -> Path:
    """The folder of the functions' logs."""
    return invocation.folder / "labelloop-data" / "logs"


def titles(store: ObjectStore) -> Callable[[str], str]:
    """What people call a project: its title, else its id. Asks the store once for each."""

    @cache
    def title_of(uid: str) -> str:
        try:
            project = read_project(store, uid)
        except StoreError:
            project = None
        return project.title if project and project.title else f"project {uid.partition('.')[0]}"

    return title_of


def _where_they_listen(
    variables: Mapping[str, str], host: str | None, ports: Mapping[str, int | None]
) -> dict[str, str]:
    """The variables that the options set. On another host both functions have another address, and keep their ports."""
    host = host and host.strip("[]")  # as URLs write an IPv6 address
    chosen = {"HOST": host} if host else {}
    address = reached_at(host or variables["HOST"])
    for name, port in ports.items():
        if host and host not in EVERY_ADDRESS:
            with suppress(ValueError):  # no port: the settings refuse it
                port = port or urlsplit(variables[name]).port
        if port:
            chosen[name] = f"http://{address}:{port}"
    return chosen


def _ask_for_label_studio(variables: Mapping[str, str]) -> dict[str, str]:
    """Ask the person at the terminal for missing variables. Raises SettingsError if there is no terminal."""
    missing = [name for name in _LABEL_STUDIO if not variables.get(name)]
    if missing and not sys.stdin.isatty():
        raise SettingsError(
            f"{' and '.join(missing)} must be set, in the environment or in {FILE}: the address of Label Studio, and a "
            "token (in Label Studio: Account & Settings → Personal Access Token)"
        )
    prompts = {"LABEL_STUDIO_URL": "Address of Label Studio", "LABEL_STUDIO_API_KEY": "Token (Account & Settings)"}
    return {name: typer.prompt(prompts[name], hide_input=name == "LABEL_STUDIO_API_KEY") for name in missing}


def _check_ports(settings: Settings) -> None:
    """Raises one StartError for all ports that are taken, with a command that takes others."""
    taken, options = [], []
    for field, option in _PORTS.items():
        url = getattr(settings, field)
        port = urlsplit(url).port
        if port is None:
            raise SettingsError(
                f"{variable(field)}={url} names no port to listen on: set it to http://127.0.0.1:PORT, or pass {option}"
            )
        try:
            choose_port(port)
        except StartError as error:
            taken.append(str(error))
            options.append(f"{option} {_free_port_above(port)}")
    if taken:
        raise StartError(
            f"{' and '.join(taken)}: stop what listens there (another `labelloop up`?), or take others: "
            f"labelloop up {' '.join(options)}"
        )


def _free_port_above(port: int) -> int:
    """A free one that reads like it: 9190 for 9090."""
    for other in range(port + 100, 65536, 100):
        with suppress(StartError):
            return choose_port(other)
    return choose_port()
