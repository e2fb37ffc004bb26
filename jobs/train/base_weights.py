"""Base weights as the store keeps them: made once, so that every run begins from the same bytes."""

import logging
from pathlib import Path

from jobs.train.training import Trainer
from shared.objectstore import ObjectStore
from shared.state.base_weights import BaseWeights, add_base_weights, download_base_file, find_base_weights
from shared.state.versions import GRAPH, WEIGHTS

logger = logging.getLogger(__name__)


def ensure_base_weights(store: ObjectStore, trainer: Trainer, weights: str) -> BaseWeights:
    """The base weights in the store, made if nobody did. `weights`: a file, or a name that ultralytics knows.

    Raises LabelloopError if they cannot be made.
    """
    if found := find_base_weights(store, weights):
        return found
    made = trainer.prepare(weights)
    name = Path(weights).name
    record = add_base_weights(store, name, made.yolo_task, made.names, {WEIGHTS: made.weights, GRAPH: made.graph})
    logger.info(f"the base weights {name} are in the store", extra={"event": "base_made", "base": name})
    return record


def stored_base_weights(store: ObjectStore, trainer: Trainer, weights: str, folder: Path) -> Path:
    """The store's copy as a file in `folder`, to train from; its graph lies beside it.

    Raises as `ensure_base_weights`, and StoreError.
    """
    record = ensure_base_weights(store, trainer, weights)
    if problem := record.problem_with(weights):
        logger.warning(problem, extra={"event": "base_differs", "base": record.name})
    path = folder / record.name
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in ((WEIGHTS, path), (GRAPH, path.with_suffix(".onnx"))):
        if not file.exists():
            download_base_file(store, record, name, file)
    return path
