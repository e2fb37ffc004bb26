"""`python -m jobs.train`: one attempt of the run that TRAIN_REQUEST names. Exits 0 done, 1 failed, 143 interrupted."""

import logging
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from jobs.train.scratch import locked, remove, remove_abandoned, scratch_of
from jobs.train.yolo.machine import checked_work_dir, prepare_ultralytics
from shared import tracing
from shared.errors import LabelloopError
from shared.job_signals import Stopped, raise_when_stopped
from shared.logs import configure_logs
from shared.objectstore import ObjectStore, open_store
from shared.objectstore.selftest import ensure_checked
from shared.settings import Settings
from shared.state.runs import TrainRequest

logger = logging.getLogger(__name__)

_LEFT_TO_TRACK, _LEFT_WHEN_STOPPED = 30.0, 3.0  # seconds in which an experiment tracker takes what it has not yet


def main(environ: Mapping[str, str]) -> int:
    """Read the settings, open and check the store, run one attempt; answers the exit code.

    A LabelloopError before the attempt is printed as one line, with exit code 1.
    """
    try:
        settings = Settings.from_environ(environ)
        settings.require("train_request", "label_studio_url", "label_studio_api_key")
        request = TrainRequest.parse(settings.train_request or "")
        if request.kind == "prelabel":  # another program's: so one job at the target serves for both
            os.execve(sys.executable, [sys.executable, "-m", "jobs.prelabel"], dict(environ))  # noqa: S606
        configure_logs(settings.log_level)
        tracing.configure("labelloop-train", settings.otel_endpoint)
        folder = scratch_of(Path(settings.work_dir), request.project_uid, request.run_id)
        remove_abandoned(Path(settings.work_dir), keep=folder)  # first: killed runs may have filled the disk
        checked_work_dir(Path(settings.work_dir))
        store = open_store(request.store, s3_endpoint=settings.s3_endpoint)
        ensure_checked(store)
    except LabelloopError as error:
        print(f"labelloop training job: {error}", file=sys.stderr)
        return 1
    try:
        return execute(settings, request, store)
    finally:
        tracing.flush()


def execute(settings: Settings, request: TrainRequest, store: ObjectStore) -> int:
    """Run one attempt; answers the exit code. The scratch folder stays only if another attempt may reuse its files."""
    folder = scratch_of(Path(settings.work_dir), request.project_uid, request.run_id)
    with locked(folder):
        code, may_resume = _run(settings, request, store, folder)
    if not may_resume:
        remove(folder)
    return code


def _run(settings: Settings, request: TrainRequest, store: ObjectStore, folder: Path) -> tuple[int, bool]:
    """Build the parts and run one attempt: (exit code, whether another attempt may follow)."""
    os.environ.update(prepare_ultralytics(folder / "ultralytics", settings.threads))  # before anything imports torch
    from jobs.train.data.export import LabelStudioExporter
    from jobs.train.data.fetching import fetching
    from jobs.train.ending import FAILED, INTERRUPTED
    from jobs.train.experiment_tracker import BackgroundTracker, NoTracker
    from jobs.train.mlflow import Mlflow
    from jobs.train.parts import Parts
    from jobs.train.run import run
    from jobs.train.yolo.trainer import YoloTrainer
    from shared.labelstudio.api import LabelStudio

    raise_when_stopped()
    fetched = fetching(settings, LabelStudio(*settings.label_studio()), store, request.project_uid)
    parts = Parts(
        store=store,
        project_uid=request.project_uid,
        exporter=LabelStudioExporter(*settings.label_studio()),
        images=fetched.images,
        videos=fetched.videos,
        trainer=YoloTrainer.of(settings, folder),
        settings=settings,
        folder=folder,
        budget=request.budget,
        adopt=fetched.adopt,
        image_key=fetched.image_key,
        tracker=BackgroundTracker(Mlflow(settings.tracking_uri, settings), settings.tracking_uri)
        if settings.tracking_uri
        else NoTracker(),
    )
    code = INTERRUPTED
    try:
        code = run(parts, request.run_id, nonce=secrets.token_hex(16))
    except Stopped:  # before the claim was taken, or after it was released
        pass
    except LabelloopError as error:  # before the claim was taken: nothing else reports it
        logger.error(str(error), extra={"event": "attempt_failed", "error": type(error).__name__})
        return FAILED, True
    finally:  # the claim is released: nobody waits
        parts.tracker.close(_LEFT_TO_TRACK if code != INTERRUPTED else _LEFT_WHEN_STOPPED)
    return code, code == INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(os.environ))
