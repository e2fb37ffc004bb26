"""The port to what runs a graph on a device."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelError

Pixels = NDArray[np.uint8]
Outputs = list[NDArray[np.float32]]
"""A graph's outputs in its order, the images of the batch along the first axis."""


class Engine(Protocol):
    """A graph in memory. Thread-safe."""

    batch: int  # preferred number of images in a call

    def run(self, batch: Pixels) -> Outputs:
        """(B, H, W, 3), blue first → what the graph says of red first, 0–1, float32.

        The outputs may be overwritten by the next call of the same thread. Raises EngineError, DeviceLost.
        """

    def warm_up(self, image_size: int) -> None:
        """Run a blank square of so many pixels, so that the first picture does not pay for it. Raises as `run`.

        Finds how many such images fit in a batch.
        """


class EngineError(ModelError):
    """A call failed, usually for lack of memory; the libraries do not say why. Fewer images at once may work."""


class DeviceLost(ModelError):
    """The device fails every call of this process: only a new one can go on."""
