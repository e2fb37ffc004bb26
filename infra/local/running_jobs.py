"""Ends the training jobs that the local emulation started: processes of their own, which would go on without it."""

import time
from pathlib import Path

from functions.train_trigger.launchers.local.launcher import LocalLauncher
from infra.local.processes import Say
from shared.errors import LaunchError
from shared.settings import Settings

_POLL = 0.25  # seconds


def stop_jobs_of(settings: Settings, say: Say, *, seconds: float = 60.0) -> None:
    """SIGTERM to this machine's jobs of this store, so that they write a checkpoint, and wait for their end.

    The next sweep over this store resumes them. The store is not asked: it may be gone, or one record of it broken.
    What cannot be stopped is said, not raised: this runs on the way out.
    """
    if settings.launcher != "local:":
        return
    launcher = LocalLauncher(Path(settings.work_dir) / "logs", {})
    told: set[str] = set()
    deadline = time.monotonic() + seconds
    while jobs := launcher.jobs_of(settings.store):
        if not told:
            say("stopping the training job; it keeps what it has learned so far")
        for job in set(jobs) - told:
            told.add(job)
            try:
                launcher.stop(job)
            except LaunchError as error:
                say(f"cannot stop a training job: {error}")
        if time.monotonic() > deadline:
            say(f"the training job did not end within {seconds:.0f} s and goes on by itself: {', '.join(jobs)}")
            return
        time.sleep(_POLL)
