"""Where batch jobs run: the port, and the table from the scheme of LABELLOOP_LAUNCHER to the adapter behind it."""

import importlib
from collections.abc import Mapping
from typing import Literal, Protocol

from shared.errors import SettingsError
from shared.runs import TrainRequest
from shared.settings import Settings

JobStatus = Literal["queued", "running", "finished", "failed", "gone"]


class Launcher(Protocol):
    """Starts batch jobs somewhere. A launch may happen twice; the job's claim makes the second copy end at once."""

    def launch(self, request: TrainRequest, *, attempt: int) -> str:
        """Start one attempt of a run and answer a reference to its job. Raises LaunchError."""

    def status(self, job: str) -> JobStatus:
        """How the job stands; `gone`: there is none, and nobody knows how it ended. Raises LaunchError: cannot tell."""

    def stop(self, job: str) -> None:
        """Ask the job to end; one that has ended already is no error. Raises LaunchError."""


_ADAPTERS = {"local": "functions.train_trigger.launchers.local"}


def open_launcher(settings: Settings, environ: Mapping[str, str]) -> Launcher:
    """The launcher that LABELLOOP_LAUNCHER names. `environ` is what a local job inherits. Raises SettingsError."""
    scheme = settings.launcher.partition(":")[0]
    if scheme not in _ADAPTERS:
        raise SettingsError(f"LABELLOOP_LAUNCHER={settings.launcher!r}: use one of {', '.join(_ADAPTERS)}")
    launcher: Launcher = importlib.import_module(_ADAPTERS[scheme]).open_launcher(settings, environ)
    return launcher
