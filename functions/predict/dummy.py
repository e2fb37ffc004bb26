"""Fixed predictions, to prove the wiring first: no weights, no torch, no image."""

from typing import Any

from shared.backend import DUMMY_VERSION
from shared.labelstudio.config import Control, parse_label_config
from shared.labelstudio.requests import PredictRequest

_WIDTH, _HEIGHT = 1000, 1000
"""Pixels of an image that nobody has looked at; boxes are percentages of it."""


def predict_dummy(call: PredictRequest) -> list[dict[str, Any]]:
    """The same box in the middle of every task's image, with the first label of each control."""
    result = [_box(control) for control in parse_label_config(call.label_config)]
    return [{"result": result, "score": 0.5, "model_version": DUMMY_VERSION} for _ in call.tasks]


def _box(control: Control) -> dict[str, Any]:
    return {
        "id": f"{control.name[:20]}-dummy",
        "from_name": control.name,
        "to_name": control.to_name,
        "type": "rectanglelabels",
        "original_width": _WIDTH,
        "original_height": _HEIGHT,
        "image_rotation": 0,
        "score": 0.5,
        "value": {
            "x": 25.0,
            "y": 25.0,
            "width": 50.0,
            "height": 50.0,
            "rotation": 0,
            "rectanglelabels": list(control.label_values[:1]),
        },
    }
