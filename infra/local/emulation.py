"""Runs both functions under functions-framework and a sweeper on one machine, in place of the serverless platform."""

import secrets
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from infra.local import base_weights
from infra.local.label_studio import REPOSITORY
from infra.local.leftovers import noted, running_in
from infra.local.log_lines import LogFollower
from infra.local.processes import Child, Say, StartError, before_port, choose_port, reached_at
from infra.local.running_jobs import stop_jobs_of
from infra.local.sweeper import sweep_until
from shared.evolve import evolve
from shared.objectstore import open_store
from shared.settings import PREFIX, Settings, variable

OnLine = Callable[[str, dict[str, Any]], None]
"""Called for every log line with its file's name (`predict`, `train_trigger`, `<run id>-<attempt>`) and its fields."""

_START_SECONDS = 60.0
_RESTARTS = 5  # of one function within _RESTARTS_WITHIN, before the emulation gives up
_RESTARTS_WITHIN = 600.0  # seconds
_WATCH_INTERVAL = 0.25  # seconds


class Restarts:
    """Counts the restarts of one function."""

    def __init__(self) -> None:
        self._moments: list[float] = []

    def add(self, now: float) -> int:
        """Add a restart at `now` (seconds); answers how many there were within the last ten minutes, with this one."""
        self._moments = [*(moment for moment in self._moments if now - moment < _RESTARTS_WITHIN), now]
        return len(self._moments)


class Emulation:
    """Both functions and the sweeper, running; made by `emulation`."""

    def __init__(self, settings: Settings, folder: Path, environ: Mapping[str, str], on_line: OnLine, say: Say) -> None:
        self.settings = settings
        """Complete: with credentials and both addresses."""
        self.folder = folder
        self._environ = _environ_of_functions(settings, environ)
        self._on_line = on_line
        self._say = say
        self._children: dict[str, Child] = {}
        self._ports: dict[str, int] = {}
        self._restarts: defaultdict[str, Restarts] = defaultdict(Restarts)
        self._failure: str | None = None
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, daemon=True),
            threading.Thread(target=sweep_until, args=(self._ended, settings, say), daemon=True),
        ]

    @property
    def predict_url(self) -> str:
        """The address of functions/predict."""
        return str(self.settings.predict_url)

    @property
    def train_trigger_url(self) -> str:
        """The address of functions/train_trigger."""
        return str(self.settings.train_trigger_url)

    def check(self) -> None:
        """Raise StartError if a function died too often to be started again."""
        if self._failure:
            raise StartError(self._failure)

    def process(self, name: str) -> Child:
        """The current process of `predict` or `train_trigger`."""
        return self._children[name]

    def start(self, ports: Mapping[str, int]) -> None:
        """Make the base weights that the store lacks, start the functions (name → port), wait until they answer, then
        start watching and sweeping.
        """
        self._lines = LogFollower(self.folder / "*.log", Path(self.settings.work_dir) / "logs" / "*.log")
        self._ports |= ports
        if not self.settings.dummy:
            store = open_store(self.settings.store, s3_endpoint=self.settings.s3_endpoint)
            base_weights.ensure(store, self.settings, self._environ, self._say)
        for name in ports:
            self._say(f"starting {name}")
            self._children[name] = self._child(name)
        address = reached_at(self.settings.host)
        for name, port in ports.items():
            self._children[name].wait_until_healthy(f"http://{address}:{port}/health", _START_SECONDS, self._say)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End everything, training jobs too. train_trigger ends first: it would restart such a job."""
        self._ended.set()
        for name in ("train_trigger", "predict"):
            if name in self._children:
                self._children[name].stop()
                (self.folder / f"{name}-{self._ports[name]}.pid").unlink(missing_ok=True)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_WATCH_INTERVAL * 20)
        stop_jobs_of(self.settings, self._say)

    def _child(self, name: str) -> Child:
        source = REPOSITORY / "functions" / name / "main.py"
        command = [sys.executable, "-m", "functions_framework", "--source", str(source), "--target", name]
        port = str(self._ports[name])
        with noted(self.folder / f"{name}-{port}.pid") as (lock, note):
            child = Child(
                name,
                [*command, "--host", before_port(self.settings.host), "--port", port],
                self.folder / f"{name}.log",
                environ=self._environ | {"HOST": self.settings.host, "PORT": port},
                inherits=[lock],
            )
            note.write(str(child.pid))
        return child

    def _watch(self) -> None:
        """Pass log lines on and restart functions that died, until `stop`. An error of its own is raised by `check`."""
        try:
            while not self._ended.wait(_WATCH_INTERVAL):
                for path, line in self._lines.new_lines():
                    self._on_line(path.stem, line)
                for name, child in self._children.items():
                    if child.exit_code is not None and not self._failure:
                        self._restart(name, child)
        except (OSError, ValueError) as error:  # the terminal is gone or lacks a character, or the disk is full
            self._failure = f"watching the functions failed: {type(error).__name__}: {error}"

    def _restart(self, name: str, child: Child) -> None:
        count = self._restarts[name].add(time.monotonic())
        if count > _RESTARTS:
            often = f"{name} ended {count} times within {_RESTARTS_WITHIN / 60:.0f} minutes"
            self._failure = f"{often}; the end of its log ({child.log}):\n{child.last_lines()}"
            self._say(self._failure)
            return
        self._say(f"{name} ended with exit code {child.exit_code}; starting it again ({count} of {_RESTARTS})")
        child.stop()  # ends its workers too, which hold the port
        if not self._ended.wait(min(2.0 ** (count - 1), 10.0)):
            self._children[name] = self._child(name)


@contextmanager
def emulation(
    settings: Settings,
    folder: Path,
    *,
    environ: Mapping[str, str],
    predict_port: int = 0,
    train_trigger_port: int = 0,
    on_line: OnLine = lambda _, __: None,
    say: Say = print,
) -> Iterator[Emulation]:
    """Start both functions, yield when they are healthy, and end them on leaving, training jobs too.

    They listen on `settings.host`; port 0: any free one. Credentials that are not set are generated. The functions
    inherit `environ` (AWS_…, CUDA_…), except settings. Logs are written to `folder`. Raises StartError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"the folder of logs {folder} cannot be made: {error.strerror}") from error
    ports = {"predict": choose_port(predict_port), "train_trigger": choose_port(train_trigger_port)}
    running = Emulation(_complete(settings, ports), folder, environ, on_line, say)
    with running_in(folder):
        try:
            running.start(ports)
            yield running
        finally:
            running.stop()


def _complete(settings: Settings, ports: Mapping[str, int]) -> Settings:
    """The settings, with credentials and addresses added where they are not set."""
    defaults: dict[str, Any] = {
        "basic_auth_password": SecretStr(secrets.token_urlsafe(18)),
        "webhook_secret": SecretStr(secrets.token_urlsafe(18)),
        "predict_url": f"http://{reached_at(settings.host)}:{ports['predict']}",
        "train_trigger_url": f"http://{reached_at(settings.host)}:{ports['train_trigger']}",
    }
    return evolve(settings, **{name: value for name, value in defaults.items() if getattr(settings, name) is None})


def _environ_of_functions(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    ours = {variable(name) for name in Settings.model_fields}
    inherited = {name: value for name, value in environ.items() if name not in ours and not name.startswith(PREFIX)}
    return inherited | settings.to_environ()
