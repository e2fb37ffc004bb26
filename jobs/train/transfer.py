"""Detection weights as the beginning of another task's model: its architecture, with the tensors that fit."""

import logging
from pathlib import Path
from typing import Any

from shared.errors import ModelError
from shared.labelstudio.config import YoloTask

logger = logging.getLogger(__name__)

_SUFFIXES: dict[YoloTask, str] = {"segment": "-seg", "obb": "-obb", "pose": "-pose", "classify": "-cls"}
_SEED = 0  # of the tensors that do not fit: a second attempt starts from the same ones


def transferred(model: Any, yolo_task: YoloTask, weights: Path, folder: Path) -> tuple[Path, str]:
    """Write the other task's model to `folder`; answers its file and what to call it.

    `model`: ultralytics' YOLO of `weights`. Raises ModelError if ultralytics has no such architecture, or if `weights`
    are not for detect.
    """
    hint = f"set LABELLOOP_BASE_WEIGHTS to weights for {yolo_task}"
    architecture = Path(str(model.model.yaml.get("yaml_file", ""))).stem
    if model.task != "detect" or yolo_task == "detect":
        raise ModelError(f"{weights.name} are weights for {model.task}, the control needs {yolo_task}: {hint}")
    import torch
    from ultralytics.models import YOLO
    from ultralytics.utils.torch_utils import intersect_dicts

    wanted = f"{architecture}{_SUFFIXES[yolo_task]}"
    torch.manual_seed(_SEED)
    try:
        other = YOLO(f"{wanted}.yaml", task=yolo_task)
    except FileNotFoundError as error:
        raise ModelError(
            f"{weights.name} are weights for detect, the control needs {yolo_task}, and ultralytics has no {wanted} "
            f"that could take them over: {hint}"
        ) from error
    fitting = intersect_dicts(model.model.float().state_dict(), other.model.state_dict())
    other.model.load_state_dict(fitting, strict=False)
    path = folder / f"{wanted}.pt"
    other.save(path)
    name = f"{wanted} from {weights.name}"
    logger.info(
        f"{weights.name} are weights for detect: {wanted} starts with {len(fitting)} of its "
        f"{len(other.model.state_dict())} tensors",
        extra={"event": "base_transferred", "base": name, "tensors": len(fitting)},
    )
    return path, name
