"""`python -m infra.cli.retrain_process UID CONTROL VERSION FOLDER`: trains a version again, since it imports torch.

Lines of its output that begin with `labelloop:` are JSON: `tell`, how far it is, and last the `result` or the `error`.
"""

import json
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from jobs.train.yolo.machine import prepare_ultralytics
from shared.errors import LabelloopError
from shared.labelstudio.api import LabelStudio
from shared.objectstore import open_store
from shared.settings import Settings
from shared.state.registry import Registry

MARK = "labelloop:"


def main(uid: str, control: str, version: int, folder: Path, environ: MutableMapping[str, str]) -> dict[str, Any]:
    """Answers `Repeated.as_json()`. Raises LabelloopError."""
    settings = Settings.from_environ(environ)
    label_studio = LabelStudio(*settings.label_studio())
    environ.update(prepare_ultralytics(folder / "ultralytics", settings.threads))  # before anything imports torch
    from infra.datasets.repeating import repeat
    from jobs.train.data.fetching import fetching
    from jobs.train.yolo.trainer import YoloTrainer

    store = open_store(settings.store, s3_endpoint=settings.s3_endpoint)
    return repeat(
        store,
        uid,
        Registry(store, uid).manifest(control, version),
        fetching(settings, label_studio, store, uid),
        YoloTrainer.of(settings, folder),
        settings,
        folder,
        tell=lambda said: say(tell=said),
    ).as_json()


def say(**what: Any) -> None:
    """One line for the process that started this one."""
    print(f"\n{MARK}{json.dumps(what)}", flush=True)


if __name__ == "__main__":
    try:
        say(result=main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), os.environ))
    except LabelloopError as error:
        say(error=str(error))
