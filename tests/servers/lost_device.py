"""predict whose GPU breaks when a file says so, loaded by functions-framework: its engine fails as it does then.

Only the worker that finds the file is broken: it removes it.
"""

import os
import runpy
from pathlib import Path
from typing import Any

import flask

_MAIN = Path(__file__).resolve().parents[2] / "functions" / "predict" / "main.py"
_BREAK = Path(os.environ["BREAK_DEVICE"])
_predict = runpy.run_path(str(_MAIN))["predict"]


def predict(request: flask.Request) -> Any:
    if _BREAK.exists():
        _BREAK.unlink()
        _break()
    return _predict(request)


def _break() -> None:
    """What every call to the device raises once a kernel read beyond its memory."""
    from shared.inference.engine import DeviceLost, Outputs, Pixels
    from shared.inference.openvino_engine import OpenVinoEngine

    def fail(_engine: OpenVinoEngine, _batch: Pixels) -> Outputs:
        raise DeviceLost("cuda:0 fails every call of this process: an illegal memory access was encountered")

    OpenVinoEngine.run = fail  # type: ignore[assignment, method-assign]
