"""Makes the base weights that a store lacks, in a process of its own, which alone imports torch."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from infra.local.processes import Say
from shared.errors import LabelConfigError, NotFound, SettingsError, StoreRefusal
from shared.labelstudio.config import parse_label_config
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.base_weights import find_base_weights
from shared.state.projects import projects, read_project
from shared.state.servable import lacks_of
from shared.yolo.base_weights import is_official, listed


def missing(store: ObjectStore, settings: Settings) -> list[str]:
    """The base weights that are not in the store, of those that the settings list and that its projects need."""
    found = [weights for weights in listed(settings.base_weights) if _lacks(store, weights)]
    for uid in projects(store):
        try:
            project = read_project(store, uid)
            controls = parse_label_config(project.label_config) if project else ()
            lacks = lacks_of(store, uid, controls, settings.base_weights)
        except (LabelConfigError, StoreRefusal, NotFound):  # status, doctor and the log of the functions say it
            continue
        found += [lack.weights for lack in lacks if lack.weights]
    return list(dict.fromkeys(found))


def _lacks(store: ObjectStore, weights: str) -> bool:
    """Whether nobody has made them yet. A record that is no valid one is never replaced."""
    try:
        return find_base_weights(store, weights) is None
    except StoreRefusal:
        return False


def refuse_missing_files(store: ObjectStore, settings: Settings) -> None:
    """Raise SettingsError if LABELLOOP_BASE_WEIGHTS lists what nobody can have: no file here, and not in the store."""
    for weights in listed(settings.base_weights):
        path = Path(weights).expanduser()
        if path.is_file() or is_official(weights) or not _lacks(store, weights):
            continue
        raise SettingsError(
            f"LABELLOOP_BASE_WEIGHTS names {weights!r}: there is no such file ({path.absolute()}), and it is no name "
            "that ultralytics downloads (yolo11n.pt …)"
        )


def ensure(store: ObjectStore, settings: Settings, environ: Mapping[str, str], say: Say) -> None:
    """Make what is missing. `say` hears of what cannot be made, or is used in place of a file of the settings."""
    for weights in listed(settings.base_weights):
        try:
            record = find_base_weights(store, weights)
        except StoreRefusal as refusal:
            say(f"{refusal}. Nothing is predicted with these base weights until then")
            continue
        if record and (problem := record.problem_with(weights)):
            say(problem)
    for weights, error in make(missing(store, settings), environ, say).items():
        say(f"{error}. Nothing is predicted with them; try again with `labelloop base add {weights}`")


def make(weights: Iterable[str], environ: Mapping[str, str], say: Say) -> dict[str, str]:
    """Make base weights and keep them in the store; answers those that could not be made, with a sentence each.

    `environ`: the whole environment of the process, with the settings. `say` hears of each that is begun.
    """
    failed = {}
    for each in weights:
        say(f"making the base weights {each}, once for this store: seconds, and the time of a download")
        if error := _made(each, environ):
            failed[each] = error
    return failed


def _made(weights: str, environ: Mapping[str, str]) -> str:
    """Why they could not be made; empty: the store has them."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "infra.local.base_maker", weights],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode == -signal.SIGKILL:
        return f"making the base weights {weights} was killed, as when memory runs out: it needs 2 GB"
    try:
        return str(json.loads(done.stdout.splitlines()[-1])["error"])
    except (IndexError, KeyError, ValueError):
        return f"exit code {done.returncode}: {done.stderr.strip()[-500:]}"
