"""Ends the training jobs of the local launcher: processes that would run on after the emulation has ended."""

import time
from pathlib import Path

from functions.train_trigger.launchers.local.launcher import LocalLauncher
from infra.local.processes import Say
from shared.errors import LaunchError
from shared.job_signals import BY_PERSON
from shared.settings import Settings

_POLL, _PATIENCE = 0.25, 60.0  # seconds


def stop_jobs_of(settings: Settings, say: Say) -> None:
    """Ask this machine's jobs of this store to end, and wait until they have, a minute at most.

    The jobs upload a checkpoint first; the next sweep of this store resumes them. The store itself is not read. Jobs
    that cannot be stopped are reported with `say`, because this runs during shutdown.
    """
    if settings.launcher != "local:":
        return
    launcher = LocalLauncher(Path(settings.work_dir) / "logs", {})
    told: set[str] = set()
    deadline = time.monotonic() + _PATIENCE
    while jobs := launcher.jobs_of(settings.store):
        if not told:
            say("stopping the training job; it saves a checkpoint first")
        for job in set(jobs) - told:
            told.add(job)
            try:
                launcher.stop(job, BY_PERSON)
            except LaunchError as error:
                say(f"cannot stop a training job: {error}")
        if time.monotonic() > deadline:
            say(f"the training job did not end within {_PATIENCE:.0f} s and is left running: {', '.join(jobs)}")
            return
        time.sleep(_POLL)
