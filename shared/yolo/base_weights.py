"""The names of base weights, from which a control starts: files of the operator, or what ultralytics downloads."""

import re
from pathlib import Path

from shared.labelstudio.controls import Control
from shared.yolo_task import YoloTask

SUFFIXES: dict[YoloTask, str] = {"detect": "", "segment": "-seg", "obb": "-obb", "pose": "-pose", "classify": "-cls"}
"""YOLO task → suffix in the names of its weights (before `.pt`) and of its architecture."""
_OFFICIAL = re.compile(
    rf"(?:(?:yolov8|yolo11|yolo26)[nsmlx](?:{'|'.join(SUFFIXES.values())})"
    r"|yolo12[nsmlx]|yolov10[nsmblx]|yolov9[tsmce]|yolov9[ce]-seg|yolov5[nsmlx]6?u|yolov3(?:-spp|-tiny)?u)\.pt"
)
"""Names of weights that ultralytics downloads (GITHUB_ASSETS_NAMES in ultralytics/utils/downloads.py)."""


def listed(setting: str) -> list[str]:
    """The weights that LABELLOOP_BASE_WEIGHTS lists."""
    return [part.strip() for part in setting.split(",") if part.strip()]


def is_official(weights: str) -> bool:
    """Whether ultralytics downloads weights of that name."""
    return _OFFICIAL.fullmatch(weights) is not None


def base_weights_for(control: Control, setting: str) -> str:
    """The base weights of a control: a path, or a name that ultralytics downloads.

    `setting` is LABELLOOP_BASE_WEIGHTS, which may list several. In this order: the weights of the control's
    `model_path`; listed weights whose name has the suffix of the control's YOLO task; official weights of that task in
    the family of the first listed ones; the first listed ones, since names may be wrong, and training can start other
    tasks from them too.
    """
    asked, _ = _asked(control, setting)
    if asked:
        return asked
    first, *_ = every = listed(setting)
    for weights in every:
        if named_task(weights) == control.yolo_task:
            return weights
    sibling = _sibling(first, control.yolo_task)
    return sibling if _OFFICIAL.fullmatch(sibling) else first


def model_path_problem(control: Control, setting: str) -> str:
    """Why the control's `model_path` is ignored; "" if it is used, or not set."""
    return _asked(control, setting)[1]


def named_task(weights: str) -> YoloTask:
    """The YOLO task in the name of a file: segment for `yolo11n-seg.pt`, detect for a name without a suffix."""
    stem = Path(weights).stem
    return next((task for task, suffix in SUFFIXES.items() if suffix and stem.endswith(suffix)), "detect")


def _asked(control: Control, setting: str) -> tuple[str, str]:
    """(the weights of the control's `model_path` or "", why it is ignored or "").

    Editors of a project are not trusted: they may choose listed or official weights, but not a path.
    """
    name = control.attributes.get("model_path", "").strip()
    if not name:
        return "", ""
    for weights in listed(setting):
        if Path(weights).name == name:
            return weights, ""
    ignored = f"model_path={name[:100]!r} of {control.name!r} is ignored:"
    if not _OFFICIAL.fullmatch(name):
        return "", f"{ignored} it is neither listed in LABELLOOP_BASE_WEIGHTS nor a name that ultralytics downloads"
    if named_task(name) != control.yolo_task:
        return "", f"{ignored} these weights are for {named_task(name)}, {control.tag} needs {control.yolo_task}"
    return name, ""


def _sibling(weights: str, task: YoloTask) -> str:
    """The same weights for another YOLO task, as ultralytics would name them."""
    stem = Path(weights).stem.removesuffix(SUFFIXES[named_task(weights)])
    return f"{stem}{SUFFIXES[task]}.pt" if weights == Path(weights).name else weights
