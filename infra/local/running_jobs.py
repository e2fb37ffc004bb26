"""Ends the training jobs that the local emulation started: processes of their own, which would go on without it."""

import time

from functions.train_trigger.launchers import Launcher, open_launcher
from infra.local.processes import Say
from shared.errors import LabelloopError, LaunchError
from shared.jobs import Jobs
from shared.objectstore import open_store
from shared.registry import projects
from shared.settings import Settings

_POLL = 0.25  # seconds


def stop_jobs_of(settings: Settings, say: Say, *, seconds: float = 60.0) -> None:
    """SIGTERM to the running jobs of this store, so that they write a checkpoint, and wait for their end.

    The next sweep over this store resumes them. What cannot be stopped is said, not raised: this runs on the way out.
    """
    if settings.launcher != "local:":
        return
    try:
        launcher = open_launcher(settings, {})
        jobs = [job for job in _jobs(settings) if _runs_here(launcher, job)]
        if jobs:
            say("stopping the training job; it keeps what it has learned so far")
        for job in jobs:
            launcher.stop(job)
        if not _ended(launcher, jobs, seconds):
            say(f"the training job did not end within {seconds:.0f} s and goes on by itself: {', '.join(jobs)}")
    except LabelloopError as error:
        say(f"cannot stop the training jobs: {error}")


def _jobs(settings: Settings) -> list[str]:
    store = open_store(settings.store, s3_endpoint=settings.s3_endpoint)
    claims = [Jobs(store, uid).read().training for uid in projects(store)]
    return [claim.job for claim in claims if claim and claim.job]


def _runs_here(launcher: Launcher, job: str) -> bool:
    try:
        return launcher.status(job) == "running"
    except LaunchError:  # of another machine that shares this store
        return False


def _ended(launcher: Launcher, jobs: list[str], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(launcher.status(job) == "running" for job in jobs):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True
