"""`python -m jobs.train`: one attempt of the run that TRAIN_REQUEST names; exits 0 done, 1 failed, 143 interrupted."""

import logging
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from jobs.train.scratch import held, remove, remove_abandoned, scratch_of
from jobs.train.yolo.machine import checked_work_dir, surround_ultralytics
from shared.errors import LabelloopError
from shared.logs import configure_logs
from shared.objectstore import ObjectStore, open_store
from shared.objectstore.selftest import ensure_checked
from shared.settings import Settings
from shared.state.runs import TrainRequest

logger = logging.getLogger(__name__)


def main(environ: Mapping[str, str]) -> int:
    """Read the environment, build the parts, run. Wrong settings end it with one sentence."""
    try:
        settings = Settings.from_environ(environ)
        settings.require("train_request", "label_studio_url", "label_studio_api_key")
        request = TrainRequest.parse(settings.train_request or "")
        configure_logs(settings.log_level)
        folder = scratch_of(Path(settings.work_dir), request.project_uid, request.run_id)
        remove_abandoned(Path(settings.work_dir), but=folder)  # first: killed runs may have filled the disk
        checked_work_dir(Path(settings.work_dir))
        store = open_store(request.store, s3_endpoint=settings.s3_endpoint)
        ensure_checked(store)
    except LabelloopError as error:
        print(f"labelloop training job: {error}", file=sys.stderr)
        return 1
    return execute(settings, request, store)


def execute(settings: Settings, request: TrainRequest, store: ObjectStore) -> int:
    """Run, and leave scratch on this machine only if another attempt may come here: it finds what is fetched."""
    folder = scratch_of(Path(settings.work_dir), request.project_uid, request.run_id)
    with held(folder):
        code, goes_on = _run(settings, request, store, folder)
    if not goes_on:
        remove(folder)
    return code


def _run(settings: Settings, request: TrainRequest, store: ObjectStore, folder: Path) -> tuple[int, bool]:
    """Build the parts around a store, and run: the exit code, and whether the run goes on elsewhere."""
    os.environ.update(surround_ultralytics(folder / "ultralytics", settings.threads))  # before anything imports torch
    from jobs.train.data.export import LabelStudioExporter
    from jobs.train.data.fetching import fetching
    from jobs.train.run import FAILED, INTERRUPTED, Parts, Stopped, run
    from jobs.train.yolo.trainer import YoloTrainer
    from shared.labelstudio.api import LabelStudio

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (the shape of a signal handler)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: what follows must not be interrupted
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
    assert settings.label_studio_url
    assert settings.label_studio_api_key
    api_key = settings.label_studio_api_key.get_secret_value()
    label_studio = LabelStudio(settings.label_studio_url, api_key)
    fetched = fetching(settings, label_studio, store, request.project_uid)
    parts = Parts(
        store=store,
        project_uid=request.project_uid,
        exporter=LabelStudioExporter(settings.label_studio_url, api_key),
        images=fetched.images,
        videos=fetched.videos,
        trainer=YoloTrainer(
            folder / "model",
            surroundings=folder / "ultralytics",
            weights_folder=Path(settings.work_dir) / "weights",
            device=settings.device,
            workers=settings.workers,
        ),
        settings=settings,
        folder=folder,
        adopt=fetched.adopt,
        image_key=fetched.image_key,
    )
    try:
        code = run(parts, request.run_id, nonce=secrets.token_hex(16))
    except Stopped:  # before the claim was taken, or after it was given back
        code = INTERRUPTED
    except LabelloopError as error:  # before it was taken: nobody else tells
        logger.error(str(error), extra={"event": "attempt_failed", "error": type(error).__name__})
        return FAILED, True
    return code, code == INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(os.environ))
