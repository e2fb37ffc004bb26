"""What a control is served with: a version that was trained on its project, or base weights."""

import logging
from collections.abc import Callable
from pathlib import Path

from shared.errors import LabelloopError, ModelError, StoreError
from shared.labelstudio.controls import Control
from shared.prediction.ports import DeadlineExceeded, Model, NothingToServe, NotMadeYet, NotNow, Served
from shared.state.model_version import base_version
from shared.state.registry import Registry
from shared.state.versions import Manifest

logger = logging.getLogger(__name__)


def serve_version(control: Control, manifest: Manifest, load: Callable[[], Model]) -> Served:
    """Serve a version. Raises ModelError if its graph is for another YOLO task than it says, and what `load` raises."""
    model = load()
    if model.yolo_task != manifest.yolo_task:
        raise ModelError(
            f"the weights of {control.name!r} v{manifest.version} are for {model.yolo_task}, its manifest says "
            f"{manifest.yolo_task}"
        )
    trace = manifest.lineage.get("trace")
    return Served(
        model=model,
        version=f"v{manifest.version}",
        trained=True,
        shown=manifest.shown,
        trace=trace if isinstance(trace, str) else "",
    )


def reject(registry: Registry, manifest: Manifest, error: ModelError) -> None:
    """Record that a version's file is bad, so that nobody serves it any more. Raises StoreError."""
    logger.error(
        "a version cannot be served and is rejected",
        extra={
            "event": "version_rejected",
            "control": manifest.control,
            "version": manifest.version,
            "error": str(error),
        },
    )
    registry.reject(manifest.control, manifest.version, str(error))


def serve_base(control: Control, weights: str, load: Callable[[], Model]) -> Served:
    """Serve base weights, by their file or name. Raises NothingToServe if they cannot be, DeadlineExceeded, NotNow.

    Where that may change by itself, since nobody has made them yet or the store does not give them now, the error names
    no version: Label Studio would never ask again for a control that is missing under its version.
    """
    version = base_version(weights)
    try:
        model = load()
    except (DeadlineExceeded, NotNow):
        raise
    except LabelloopError as error:  # also a failed download: the other controls are answered all the same
        passes = isinstance(error, NotMadeYet | StoreError)
        raise NothingToServe(str(error), "" if passes else version) from error
    if model.yolo_task != control.yolo_task:
        raise NothingToServe(
            f"{control.tag} {control.name!r} needs weights for {control.yolo_task}, {Path(weights).name!r} are for "
            f"{model.yolo_task}: nothing is predicted for it before its first version, unless weights for "
            f"{control.yolo_task} are added to LABELLOOP_BASE_WEIGHTS",
            version,
        )
    return Served(model=model, version=version, trained=False)
