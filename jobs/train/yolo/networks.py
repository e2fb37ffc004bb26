"""Graphs, and the weights that they were made of, on the machine of a training, ready to be measured."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.train.training import Contender
from jobs.train.yolo.machine import devices
from jobs.train.yolo.memory import free_memory
from jobs.train.yolo.weights_engine import WeightsEngine
from shared.cores import usable_cores
from shared.geometry.tiles import Tiling
from shared.inference.device import choose_device, open_engine
from shared.inference.graph import read_graph
from shared.inference.network import Network
from shared.labelstudio.tiles_wanted import base_tiling

logger = logging.getLogger(__name__)


class Networks:
    """Opens networks. In float32: what the machine that serves computes in is not known here."""

    def __init__(self, device: str, threads: int) -> None:
        """`device` and `threads` as LABELLOOP_DEVICE and LABELLOOP_THREADS."""
        self._asked = device
        self._threads = threads

    def of_graph(
        self, path: Path, *, image_size: int | None = None, max_objects: int = 300, tiling: Tiling | None = None
    ) -> tuple[Network, int]:
        """A graph, and how many pictures to ask about at once. Raises ModelError, SettingsError, LabelloopError.

        `image_size` and `tiling`: as for `Network`.
        """
        free_memory()  # what torch keeps of a GPU
        gpu = self._torch_device().index
        device = choose_device("cpu" if gpu is None else "auto", threads=self._threads or usable_cores(), float32=True)
        if device.gpu is not None:
            device = replace(device, gpu=gpu)
        network = Network(
            open_engine(path, device),
            read_graph(path),
            image_size=image_size,
            max_objects=max_objects,
            tiling=tiling,
        )
        engine = type(network.engine).__name__
        logger.info(
            f"{path.name} is measured by {engine} on {'the processor' if device.gpu is None else f'cuda:{device.gpu}'}",
            extra={"event": "graph_measured", "engine": engine, "device": str(device)},
        )
        return network, device.streams

    def of_contender(self, contender: Contender) -> tuple[Network, int]:
        """A graph as predict opens it, and how many pictures to ask about at once. Raises as `of_graph`.

        Versions see pictures as they say themselves, base weights as the settings say.
        """
        settings = contender.settings
        if contender.trained:
            return self.of_graph(contender.graph, max_objects=settings.max_objects)
        return self.of_graph(
            contender.graph,
            image_size=settings.image_size,
            max_objects=settings.max_objects,
            tiling=base_tiling(contender.control, settings.tiles),
        )

    def of_weights(self, path: Path, graph: Network, *, max_objects: int = 300) -> Network:
        """The weights of a graph, asked as it is. Raises ModelError."""
        engine = WeightsEngine(path, self._torch_device())
        return Network(engine, graph.graph, image_size=graph.image_size, max_objects=max_objects)

    def _torch_device(self) -> Any:
        """torch's device: the first of those that are trained on. Apple's GPUs only train."""
        import torch
        from ultralytics.utils.torch_utils import select_device

        device = devices(self._asked)
        first = device[0] if isinstance(device, list) else device
        chosen = select_device(first, verbose=False)  # type: ignore[no-untyped-call]
        return chosen if chosen.type == "cuda" else torch.device("cpu")
