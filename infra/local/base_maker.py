"""`python -m infra.local.base_maker WEIGHTS`: makes base weights and keeps them in the store, then ends.

The last line of its output is JSON: the `error`, empty if they are in the store.
"""

import json
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from tempfile import TemporaryDirectory

from jobs.train.base_weights import ensure_base_weights
from jobs.train.yolo.machine import prepare_ultralytics
from shared.errors import LabelloopError
from shared.objectstore import open_store
from shared.objectstore.selftest import ensure_checked
from shared.settings import Settings


def main(weights: str, environ: MutableMapping[str, str]) -> None:
    """Raises LabelloopError."""
    settings = Settings.from_environ(environ)
    store = open_store(settings.store, s3_endpoint=settings.s3_endpoint)
    ensure_checked(store)
    with TemporaryDirectory(prefix="labelloop-base-") as scratch:
        folder = Path(scratch)
        environ.update(prepare_ultralytics(folder / "ultralytics", settings.threads))  # before anything imports torch
        from jobs.train.yolo.trainer import YoloTrainer

        ensure_base_weights(store, YoloTrainer.of(settings, folder), weights)


if __name__ == "__main__":
    error = ""
    try:
        main(sys.argv[1], os.environ)
    except LabelloopError as caught:
        error = str(caught)
    except ModuleNotFoundError as caught:
        error = f"{caught.name} is not installed here: pip install 'labelloop[train]'"
    print(f"\n{json.dumps({'error': error})}")
