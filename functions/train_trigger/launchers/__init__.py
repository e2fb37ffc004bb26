"""The port of launchers, which start batch jobs somewhere, and the one that LABELLOOP_LAUNCHER names."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from shared.errors import SettingsError
from shared.launcher_url import LauncherUrl
from shared.settings import Settings
from shared.state.runs import TrainRequest

JobState = Literal["queued", "running", "finished", "failed", "refused", "gone", "unknown"]
"""`refused`: the job ended before it began. `gone`: there is no such job (any more), and nobody knows how it ended.
`unknown`: the target could not be asked; no launcher answers it, but raises LaunchError."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The state of a job, as its target says."""

    state: JobState
    why: str = ""  # why it waits, failed or was refused, in the target's own words
    stuck: bool = False  # it waits for a correction (an image, a right, a smaller request), not for capacity


class Launcher(Protocol):
    """Starts batch jobs at a target. A launch may happen twice: the second copy finds the claim taken, and ends.

    Image, resources, settings and secrets are configured at the target. A launch passes TRAIN_REQUEST, and a name made
    of run id and attempt. A job that was stopped or refused before it began is launched again under the same name.
    Targets must not retry by themselves: labelloop launches the next attempt, which goes on from the checkpoint.
    """

    def launch(self, request: TrainRequest, *, attempt: int) -> str:
        """Start the job of one attempt; answers a reference to it. Raises LaunchError."""

    def status(self, job: str) -> JobStatus:
        """The state of a job. Raises LaunchError if the target cannot tell."""

    def stop(self, job: str) -> None:
        """Ask a job to end; one that has ended already is no error. Raises LaunchError."""

    def tidy(self) -> None:
        """Once a sweep: free what ended jobs still hold at the target. Raises LaunchError."""

    def logs(self, job: str) -> str:
        """Where a job's log is: a URL, a command or a path. Asks nobody, holds no secret. Raises LaunchError."""

    def check(self) -> str:
        """Check that launches can succeed, and answer a line about the target. Launches nothing. Raises LaunchError."""


def open_launcher(settings: Settings, environ: Mapping[str, str]) -> Launcher:
    """The launcher that LABELLOOP_LAUNCHER names. `environ`: what a local job inherits. Raises SettingsError."""
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
