"""`python -m jobs.prelabel`: one attempt of the run that TRAIN_REQUEST names.

Exits 0 done, 1 failed, 143 interrupted.
"""

import logging
import os
import secrets
import sys
from collections.abc import MutableMapping
from functools import partial
from pathlib import Path

from jobs.prelabel.ending import FAILED, INTERRUPTED
from jobs.prelabel.models import ChosenModels
from jobs.prelabel.parts import Parts
from jobs.prelabel.run import run
from jobs.prelabel.target import LabelStudioTarget
from shared import tracing
from shared.errors import LabelloopError
from shared.evolve import evolve
from shared.job_signals import Stopped, raise_when_stopped
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.requests import project_id
from shared.logs import configure_logs
from shared.media.decode import decode_for
from shared.objectstore import ObjectStore, open_store
from shared.objectstore.selftest import ensure_checked
from shared.prediction.images import TaskImages
from shared.prediction.metrics import Metrics
from shared.prediction.model.loader import GraphLoader
from shared.prediction.one_task import TaskRunner
from shared.prediction.predictor import Predictor
from shared.prediction.video.predictor import VideoPredictor
from shared.prediction.weights import WeightsCache
from shared.settings import Settings
from shared.state.projects import read_project, with_overrides
from shared.state.runs import TrainRequest
from shared.yolo.environment import prediction_environ

logger = logging.getLogger(__name__)

_TIMEOUT = 60.0  # seconds for one answer of Label Studio


def main(environ: MutableMapping[str, str]) -> int:
    """Read the settings, open and check the store, run one attempt; answers the exit code.

    A LabelloopError before the attempt is printed as one line, with exit code 1.
    """
    try:
        settings = Settings.from_environ(environ)
        settings.require("train_request", "label_studio_url", "label_studio_api_key")
        request = TrainRequest.parse(settings.train_request or "")
        configure_logs(settings.log_level)
        tracing.configure("labelloop-prelabel", settings.otel_endpoint)
        environ.update(prediction_environ(Path(settings.cache_dir)))
        store = open_store(request.store, s3_endpoint=settings.s3_endpoint)
        ensure_checked(store)
        settings = with_overrides(settings, read_project(store, request.project_uid))
        settings = evolve(settings, base_weights=request.base_weights or settings.base_weights)
    except LabelloopError as error:
        print(f"labelloop prelabelling job: {error}", file=sys.stderr)
        return FAILED
    raise_when_stopped()
    try:
        return run(_build(settings, request, store), request.run_id, nonce=secrets.token_hex(16))
    except Stopped:  # before the claim was taken, or after it was released
        return INTERRUPTED
    except LabelloopError as error:  # before the claim was taken: nothing else reports it
        logger.error(str(error), extra={"event": "attempt_failed", "error": type(error).__name__})
        return FAILED
    finally:
        tracing.flush()


def _build(settings: Settings, request: TrainRequest, store: ObjectStore) -> Parts:
    label_studio = LabelStudio(*settings.label_studio(), timeout=_TIMEOUT)
    metrics = Metrics()
    weights = WeightsCache(Path(settings.cache_dir) / "weights", settings.cache_bytes)
    loader = GraphLoader.of(settings, partial(weights.base_path, store))
    models = ChosenModels(store, request.project_uid, weights, loader, base_weights=settings.base_weights)
    images = TaskImages.of(settings, label_studio, decode_for, metrics)
    runner = TaskRunner(images, VideoPredictor.of(settings, label_studio), metrics)
    predictor = Predictor(models, runner, metrics, lambda *_: settings, threads=settings.fetch_concurrency)
    return Parts(
        store=store,
        project_uid=request.project_uid,
        target=LabelStudioTarget(label_studio, project_id(request.project_uid)),
        models=models,
        predict=predictor.each,
        reasons=metrics.reasons,
        settings=settings,
        budget=request.budget,
    )


if __name__ == "__main__":
    os.nice(10)  # on one machine, trainings, predict and Label Studio come first
    sys.exit(main(os.environ))
