"""Trained weights behind the port that runs graphs, so that a graph can be compared with what it was made of."""

from pathlib import Path
from typing import Any

import numpy as np

from jobs.train.yolo.weights import broken_weights, open_weights
from shared.inference.engine import Outputs, Pixels


class WeightsEngine:
    """An `Engine` by torch, in float32: raw output of the head that the exporter writes. For one thread."""

    batch = 1

    def __init__(self, weights: Path, device: Any) -> None:
        """`device`: torch's. Raises ModelError if the file holds no model."""
        with broken_weights(weights):
            model: Any = open_weights(weights)
            self._network = model.model.float().eval().to(device)
        self._network.end2end = False
        head = self._network.model[-1]
        head.export, head.format, head.dynamic = True, "onnx", True  # nothing but what a graph answers
        self._device = device

    def run(self, batch: Pixels) -> Outputs:
        """As `Engine.run`. Raises what torch raises."""
        import torch

        pixels = np.ascontiguousarray(batch[..., ::-1].transpose(0, 3, 1, 2))
        exact = torch.backends.cudnn.flags(allow_tf32=False)
        with exact, torch.inference_mode():
            found = self._network(torch.from_numpy(pixels).to(self._device).float() / 255)
        return [each.cpu().numpy() for each in (found if isinstance(found, list | tuple) else (found,))]

    def warm_up(self, image_size: int) -> None:
        """As `Engine.warm_up`."""
        self.run(np.zeros((1, image_size, image_size, 3), dtype=np.uint8))
