"""Makes a model for another yolo task from detection weights: its architecture with the tensors that fit."""

import logging
from pathlib import Path
from typing import Any

from shared.errors import ModelError
from shared.yolo.base_weights import SUFFIXES
from shared.yolo_task import YoloTask

logger = logging.getLogger(__name__)

_MIN_SHARE = 0.5  # part of the tensors that must fit, else the architecture is another
_SEED = 0  # of the other tensors, so that every attempt starts from the same


def transferred(model: Any, yolo_task: YoloTask, weights: Path, folder: Path) -> tuple[Path, str]:
    """Write the model to `folder`; answers (its file, its name for manifests and reports).

    `model`: `weights` loaded by ultralytics. Raises ModelError if they are not for detect, or if ultralytics does not
    have their architecture for `yolo_task`.
    """
    asked = f"{weights.name} are weights for {model.task}, the control needs {yolo_task}"
    hint = f"set LABELLOOP_BASE_WEIGHTS to weights for {yolo_task}"
    if model.task != "detect":
        raise ModelError(f"{asked}: {hint}")
    import torch
    from ultralytics.utils.torch_utils import intersect_dicts

    torch.manual_seed(_SEED)
    held = model.model.float().state_dict()
    for architecture in _architectures(model):
        other = _untrained(f"{architecture}{SUFFIXES[yolo_task]}", yolo_task, model.model.names)
        wanted = other.model.state_dict() if other else {}
        fitting = intersect_dicts(held, wanted)  # type: ignore[no-untyped-call]
        if other and len(fitting) >= _MIN_SHARE * min(len(held), len(wanted)):
            break
    else:
        raise ModelError(f"{asked}, and ultralytics has no such architecture for {yolo_task}: {hint}")
    other.model.load_state_dict(fitting, strict=False)
    path = folder / f"{architecture}{SUFFIXES[yolo_task]}.pt"
    other.save(path)
    name = f"{path.stem} from {weights.name}"
    logger.info(
        f"{weights.name} are weights for detect: {path.stem} starts with {len(fitting)} of its {len(wanted)} tensors",
        extra={"event": "base_transferred", "base": name, "tensors": len(fitting)},
    )
    return path, name


def _architectures(model: Any) -> list[str]:
    """Possible names of the architecture: what the model was built from, or what its training started from."""
    built = model.model.yaml.get("yaml_file"), (model.ckpt or {}).get("train_args", {}).get("model")
    return [Path(str(name)).stem for name in built if name]


def _untrained(name: str, yolo_task: YoloTask, classes: dict[int, str]) -> Any:
    """A new model of the architecture `name`; None if ultralytics has none.

    It has the classes of the detection weights, so that their head's tensors fit; classifiers have no such head.
    """
    from ultralytics.models import YOLO

    try:
        other: Any = YOLO(f"{name}.yaml", task=yolo_task)
    except FileNotFoundError:
        return None
    if yolo_task != "classify":
        other.model = type(other.model)(other.model.yaml, nc=len(classes), verbose=False)
        other.model.names, other.model.task = dict(classes), yolo_task
    return other
