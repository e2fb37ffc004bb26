"""Makes models of graphs, and the threads that they run on."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from shared.cores import usable_cores
from shared.errors import ModelError, SettingsError
from shared.inference import engine
from shared.inference.device import Device, choose_device, import_engine, open_engine
from shared.inference.engine import EngineError
from shared.inference.graph import read_graph
from shared.inference.network import Network
from shared.prediction.model.model import YoloModel
from shared.prediction.model.thread import ModelThreads
from shared.prediction.ports import DeviceLost, NotNow
from shared.prediction.process_end import end_process
from shared.settings import Settings
from shared.state.versions import DEFAULT_SHOWN

logger = logging.getLogger(__name__)


class GraphLoader:
    """A `ports.Loader`. The first load chooses the device and starts the model threads. Thread-safe."""

    def __init__(
        self,
        *,
        device: str,
        threads: int,
        float32: bool,
        iou: float,
        image_size: int,
        base_graph: Callable[[str], Path],
        max_objects: int = 300,
    ) -> None:
        """`threads` 0: one a core. `image_size`: of base weights; versions say theirs.

        `base_graph(weights)`: a verified file of the graph of base weights; raises as `load_base`.
        """
        self._device_setting = device
        self._cores = threads or usable_cores()
        self._float32 = float32
        self._iou = iou
        self._max_objects = max_objects
        self._image_size = image_size
        self._base_graph = base_graph
        self._lock = threading.Lock()  # one load at a time: memory and cores are those of one
        self._started: tuple[Device, ModelThreads] | None = None

    @classmethod
    def of(cls, settings: Settings, base_graph: Callable[[str], Path]) -> Self:
        """What the settings say."""
        return cls(
            device=settings.device,
            threads=settings.threads,
            float32=settings.precision == "float32",
            iou=DEFAULT_SHOWN.iou if settings.iou is None else settings.iou,
            image_size=settings.image_size,
            max_objects=settings.max_objects,
            base_graph=base_graph,
        )

    def import_engine(self) -> None:
        """Import what the first load needs. Raises as `load`, and whatever the import does."""
        with self._lock:
            import_engine(self._start()[0])

    def load(self, path: Path) -> YoloModel:
        """A version's graph, from a file that was verified. Raises ModelError, NotNow, SettingsError."""
        with self._lock:
            return self._load(path, None)

    def load_base(self, weights: str) -> YoloModel:
        """The operator's weights, by file or name. Raises as `load`; LabelloopError if they cannot be fetched."""
        path = self._base_graph(weights)
        with self._lock:
            return self._load(path, self._image_size)

    def _load(self, path: Path, image_size: int | None) -> YoloModel:
        started = time.perf_counter()
        try:
            model = self._build(path, image_size)
        except (ModelError, NotNow, SettingsError) as error:
            if isinstance(error, engine.DeviceLost):
                end_process("device_lost", str(error))
                raise DeviceLost(str(error)) from error
            if isinstance(error, EngineError):  # the first run: memory
                raise NotNow(f"{path.name} cannot be run now: {error}") from error
            raise
        except FileNotFoundError as error:
            raise NotNow(f"{path.name} left the cache while it was loaded") from error
        except Exception as error:
            # The bytes are those that were gated and published. So it is memory, threads, a disk or packages.
            raise NotNow(f"{path.name} cannot be loaded on this machine: {type(error).__name__}: {error}") from error
        logger.info(
            "a model is loaded",
            extra={
                "event": "model_loaded",
                "file": path.name,
                "image_size": model.image_size,
                "batch": model.batch,
                "seconds": round(time.perf_counter() - started, 2),
            },
        )
        return model

    def _build(self, path: Path, image_size: int | None) -> YoloModel:
        graph = read_graph(path)
        device, threads = self._start()
        network = Network(
            open_engine(path, device, path.with_suffix(".compiled")),
            graph,
            image_size=image_size,
            max_objects=self._max_objects,
        )
        network.engine.warm_up(network.image_size)
        return YoloModel(network, threads, iou=self._iou)

    def _start(self) -> tuple[Device, ModelThreads]:
        if self._started is None:
            device = choose_device(self._device_setting, threads=self._cores, float32=self._float32)
            threads = ModelThreads(device.streams, _fewer_may_do, helpers=max(usable_cores() // 2, 1))
            self._started = device, threads
            logger.info(
                "the device is chosen",
                extra={"event": "runtime_ready", "device": str(device), "threads": self._cores},
            )
        return self._started


def _fewer_may_do(error: Exception) -> bool:
    return isinstance(error, EngineError | MemoryError)
