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
"""Of a launch of several workers: `running` while one of them runs. `refused`: the job ended before it began. `gone`:
there is no such job (any more), and nobody knows how it ended. `unknown`: the target could not be asked; no launcher
answers it, but raises LaunchError."""


_SEVERAL = ("aws-batch", "kubernetes", "cloud-run")
"""Schemes whose targets start several copies of a job as one."""


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
        """Start the job of one attempt; answers a reference to it. Raises LaunchError.

        With `request.workers` above 1 so many copies of it, which the reference stands for together; who of them does
        what they settle among themselves (`jobs.prelabel.shares`). `open_launcher` refuses that of targets without.
        """

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


def launcher_url(settings: Settings) -> LauncherUrl:
    """What LABELLOOP_LAUNCHER says. Raises SettingsError, also if that target cannot do what other settings ask."""
    try:
        url = LauncherUrl.parse(settings.launcher)
    except ValueError as error:
        raise SettingsError(f"LABELLOOP_LAUNCHER={settings.launcher!r}: {error}") from error
    if settings.prelabel_workers > 1 and url.scheme not in _SEVERAL:
        raise SettingsError(
            f"LABELLOOP_PRELABEL_WORKERS={settings.prelabel_workers} needs a launcher that starts several jobs at once "
            f"({', '.join(_SEVERAL)}); {url.scheme}: runs one job that writes predictions: set it to 1"
        )
    return url


def open_launcher(settings: Settings, environ: Mapping[str, str]) -> Launcher:
    """The launcher that LABELLOOP_LAUNCHER names. `environ`: what a local job inherits. Raises SettingsError."""
    url = launcher_url(settings)
    try:
        adapter = importlib.import_module(f"{__name__}.{url.scheme.replace('-', '_')}")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"LABELLOOP_LAUNCHER={settings.launcher} needs a client library that is not installed ({error.name}): "
            f"pip install 'labelloop[{url.scheme}]'"
        ) from error
    launcher: Launcher = adapter.open_launcher(url, settings, environ)
    return launcher
