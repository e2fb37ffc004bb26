"""Where batch jobs run: the port, and how the adapter behind LABELLOOP_LAUNCHER is found."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from shared.errors import SettingsError
from shared.launcher_url import LauncherUrl
from shared.settings import Settings
from shared.state.runs import TrainRequest

JobState = Literal["queued", "running", "finished", "failed", "refused", "gone", "unknown"]
"""`refused`: it ended before it began, so its launch came to nothing; `gone`: there is none, and nobody knows how it
ended; `unknown`: the target could not be asked, which no launcher says itself."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How a job stands, as its target says."""

    state: JobState
    why: str = ""  # it waits, failed or was refused: the target's own words
    stuck: bool = False  # it waits for a correction (an image, a right, a smaller request), not for capacity


class Launcher(Protocol):
    """Starts batch jobs somewhere. A launch may happen twice; the job's claim makes the second copy end at once.

    The target holds image, resources, settings and secrets. A launch passes TRAIN_REQUEST and a name made of run id
    and attempt; after a job that was stopped or refused before it began, the same name is launched anew. Targets must
    not retry by themselves: the next attempt is launched by us, from the checkpoint.
    """

    def launch(self, request: TrainRequest, *, attempt: int) -> str:
        """Start one attempt of a run and answer a reference to its job. Raises LaunchError."""

    def status(self, job: str) -> JobStatus:
        """How the job stands. Raises LaunchError: cannot tell."""

    def stop(self, job: str) -> None:
        """Ask the job to end; one that has ended already is no error. Raises LaunchError."""

    def tidy(self) -> None:
        """End what ended jobs still hold of their target; once a sweep. Raises LaunchError."""

    def logs(self, job: str) -> str:
        """Where the job's log is: a URL, a command or a path, without a secret. Asks nobody. Raises LaunchError."""

    def check(self) -> str:
        """Whether launches can succeed, in one line about what was found. Launches nothing. Raises LaunchError."""


def open_launcher(settings: Settings, environ: Mapping[str, str]) -> Launcher:
    """The launcher that LABELLOOP_LAUNCHER names. `environ` is what a local job inherits. Raises SettingsError."""
    try:
        url = LauncherUrl.parse(settings.launcher)
    except ValueError as error:
        raise SettingsError(f"LABELLOOP_LAUNCHER={settings.launcher!r}: {error}") from error
    try:
        adapter = importlib.import_module(f"{__name__}.{url.scheme.replace('-', '_')}")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"LABELLOOP_LAUNCHER={settings.launcher} needs a client library that is not installed ({error.name}): "
            f"pip install 'labelloop[{url.scheme}]'"
        ) from error
    launcher: Launcher = adapter.open_launcher(url, settings, environ)
    return launcher
