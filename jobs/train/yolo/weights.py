"""Files of weights, as ultralytics reads and writes them: fetched, opened, checked, and the copy that is published."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from jobs.train.yolo.memory import short_of_memory
from shared.errors import LabelloopError, ModelError, SettingsError
from shared.yolo_task import YoloTask


def base_weights_file(weights: str, folder: Path) -> Path:
    """The file of base weights; a bare name that is not a file is downloaded into `folder`, once.

    Imports ultralytics only to download. Raises ModelError, which says what to set instead, and LabelloopError if the
    download failed, which may be temporary.
    """
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    asked = f"base weights {weights!r}"
    hint = "set LABELLOOP_BASE_WEIGHTS to .pt files, or to names that ultralytics can download, such as yolo11n.pt"
    if len(path.parts) > 1:
        raise ModelError(f"{asked}: there is no such file; {hint}")
    from ultralytics.utils.downloads import attempt_download_asset

    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = Path(attempt_download_asset(folder / path.name))
    except Exception as error:
        raise LabelloopError(f"{asked} could not be downloaded; {hint}") from error
    if not found.is_file():
        raise ModelError(f"{asked}: ultralytics offers no such file; {hint}")
    return found


def open_weights(path: Path) -> Any:
    """ultralytics' YOLO of a file. Raises ModelError if the file holds no model."""
    from ultralytics.models import YOLO
    from ultralytics.utils import torch_utils

    # With each training and validation on a CPU ultralytics sets torch to this many threads, one fewer than the machine
    # has cores, whatever OMP_NUM_THREADS says.
    torch_utils.NUM_THREADS = int(os.environ.get("OMP_NUM_THREADS", torch_utils.NUM_THREADS))
    with broken_weights(path):
        try:
            return YOLO(str(path))
        except RuntimeError as error:  # torch's, of a file that it does not know; some advise to let it run code
            if short_of_memory(str(error)):
                raise
            raise ModelError(
                f"{path.name} is no file of PyTorch weights, or a damaged one: download or write it again"
            ) from error


@contextlib.contextmanager
def broken_weights(path: Path) -> Iterator[None]:
    """Turn whatever unpickling `path` raises into a ModelError."""
    import pickle

    try:
        yield
    except (pickle.UnpicklingError, EOFError, KeyError, AttributeError, ModuleNotFoundError, TypeError) as error:
        raise ModelError(f"{path.name} holds no model that ultralytics can load: {error}") from error


def check_weights(path: Path, yolo_task: YoloTask) -> None:
    """Raise ModelError if the file is no model for the YOLO task, SettingsError if this machine cannot read it."""
    from ultralytics.models import YOLO

    try:
        found = YOLO(str(path)).task
    except TypeError as error:  # ultralytics' error for a file that is damaged, or no checkpoint of its own
        raise ModelError(f"{path.name} cannot be loaded: {error}") from error
    except (KeyError, AttributeError, ModuleNotFoundError) as error:
        raise SettingsError(
            f"{path.name} cannot be loaded by ultralytics {package_version('ultralytics')} of this machine "
            f"({type(error).__name__}: {error}): install the version that made it, or a newer one"
        ) from error
    if found != yolo_task:
        raise ModelError(f"{path.name} is for {found}, its manifest says {yolo_task}")


def write_published(weights: Path, data: Path, path: Path) -> Path:
    """Copy a checkpoint to `path` without optimizer and EMA, with the labels of `data` (data.yaml) as its classes."""
    from ultralytics.utils.torch_utils import strip_optimizer

    shutil.copyfile(weights, path)
    strip_optimizer(path)
    described = json.loads(data.read_text(encoding="utf-8"))
    names = {"names": dict(enumerate(described["names"]))}
    if "kpt_names" in described:
        names["kpt_names"] = {int(index): points for index, points in described["kpt_names"].items()}
    model = open_weights(path)
    # A classifier's names are those of folders; in other models, ultralytics turns codes of ImageNet into words.
    wrong = {key: value for key, value in names.items() if getattr(model.model, key, None) != value}
    for key, value in wrong.items():
        setattr(model.model, key, value)
    if wrong:
        model.save(path)
    return path
