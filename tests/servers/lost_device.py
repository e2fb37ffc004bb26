"""predict whose GPU breaks when a file says so, loaded by functions-framework: torch fails as it does then.

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
    import torch
    from ultralytics.nn.autobackend import AutoBackend

    def fail(*_: object, **__: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nSearch for …")

    torch.cuda.is_initialized = lambda: True
    torch.cuda.synchronize = fail
    AutoBackend.forward = fail
