"""Makes models of YOLO weights, and the thread that they run on. torch is imported here and in yolo_*.py only."""

import ctypes
import importlib.util
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions.predict.model.device import refuse_lost
from functions.predict.model.model import YoloModel
from functions.predict.model.outputs import READERS
from functions.predict.model.thread import ModelThread
from functions.predict.ports import NotNow
from functions.predict.process_end import end_process
from shared.cores import usable_cores
from shared.errors import LabelloopError, ModelError, SettingsError
from shared.imports import undo_failed_import
from shared.yolo.base_weights import base_weights_file

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_CLASSIFY_SIZE = 224  # pixels, where the weights do not say theirs


class YoloLoader:
    """Loads weights. The first load imports torch and starts the model thread. Thread-safe."""

    def __init__(
        self, *, device: str, threads: int, iou: float, image_size: int, cache_dir: Path, max_objects: int = 300
    ) -> None:
        """`threads` 0: one a core. `image_size`: of base weights; versions and classify weights say theirs."""
        self._device_setting = device
        self._threads = threads or usable_cores()
        self._iou = iou
        self._max_objects = max_objects
        self._image_size = image_size
        self._cache_dir = cache_dir
        self._lock = threading.Lock()  # ultralytics changes sys.modules while it unpickles
        self._started: tuple[torch.device, ModelThread] | None = None

    def load(self, path: Path) -> YoloModel:
        """A version's weights, from a file that was verified. Raises ModelError, NotNow, SettingsError."""
        with self._lock:
            return self._load(path, None)

    def load_base(self, weights: str) -> YoloModel:
        """The operator's weights: a file, or a name to download. Raises as `load`, LabelloopError if that failed."""
        with self._lock:
            self._start()
        path = base_weights_file(weights, self._cache_dir / "base")
        with self._lock:
            return self._load(path, self._image_size)

    def _start(self) -> "tuple[torch.device, ModelThread]":
        if self._started is None:
            try:
                self._started = self._first_start()
            except LabelloopError:
                raise
            except Exception as error:  # memory, threads: an installation that lacks torch does not get this far
                raise NotNow(f"torch cannot be started now: {type(error).__name__}: {error}") from error
            device, _ = self._started
            logger.info(
                "torch is ready",
                extra={"event": "runtime_ready", "device": str(device), "threads": self._threads},
            )
        return self._started

    def _first_start(self) -> "tuple[torch.device, ModelThread]":
        _import_torch()
        import torch

        device = _choose_device(self._device_setting)
        # On the thread itself, as torch keeps the number per thread. Ultralytics would set one fewer than cores.
        thread = ModelThread(
            lambda: torch.set_num_threads(self._threads), _out_of_memory, helpers=max(usable_cores() // 2, 1)
        )
        return device, thread

    def _load(self, path: Path, image_size: int | None) -> YoloModel:
        started = time.perf_counter()
        try:
            device, thread = self._start()
            model = self._build(path, device, thread, image_size)
            thread.call(model.first_run)
        except LabelloopError:
            raise
        except FileNotFoundError as error:
            raise NotNow(f"{path.name} left the cache while it was loaded") from error
        except Exception as error:
            if self._started is not None:
                refuse_lost(self._started[0], error)
            # The bytes are those that were trained, gated and published. So it is memory, threads, a disk or packages
            # of another version: torch's errors do not tell which.
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

    def _build(self, path: Path, device: "torch.device", thread: ModelThread, image_size: int | None) -> YoloModel:
        from ultralytics.models import YOLO
        from ultralytics.nn.autobackend import AutoBackend

        if not path.is_file():  # ultralytics would look for it elsewhere
            raise FileNotFoundError(path)
        try:
            yolo = YOLO(path)
        except TypeError as error:  # ultralytics' word for a file that is damaged, or no checkpoint of its own
            raise ModelError(f"{path.name} cannot be loaded: {error}") from error
        if yolo.task not in READERS:
            raise ModelError(f"{path.name} is a {yolo.task} model: labelloop serves {', '.join(READERS)}")
        classify = yolo.task == "classify"
        size = yolo.overrides.get("imgsz") or (_CLASSIFY_SIZE if classify else self._image_size)
        if image_size and not classify:
            size = image_size
        largest = max(size) if isinstance(size, list | tuple) else int(size)
        model: Any = yolo.model
        own = dict(getattr(model, "names", {}))
        # Of two heads the one whose boxes are suppressed, whatever the weights were saved with (training: nms=None)
        backend = AutoBackend(
            model, device=device, fp16=device.type == "cuda", fuse=True, verbose=False, end2end=False
        ).eval()
        # Of base weights, with words for ImageNet's codes. A project's labels may look like those and stay as they are.
        names = backend.names if image_size or not own else own
        stride = int(backend.stride)
        return YoloModel(
            backend,
            yolo.task,
            [str(names[index]) for index in range(len(names))],
            device,
            thread,
            image_size=-(-largest // stride) * stride,
            iou=self._iou,
            max_objects=self._max_objects,
        )


def _import_torch() -> None:
    """Import torch and ultralytics: for the first time, or again where memory was too short for that.

    Once torch's core is there, and the rest could not follow, no second import can mend it: then this process ends, and
    whatever runs it starts the next one.
    """
    try:
        with undo_failed_import("torch", keep="torch._C"):
            _link_torch()
            import torch  # noqa: F401
        with undo_failed_import("ultralytics", "cv2"):
            import ultralytics  # noqa: F401 - its part of the wait belongs here
    except Exception:
        if "torch._C" in sys.modules and "torch" not in sys.modules:
            end_process("torch_by_half", "torch was imported by half, which cannot be mended")
        raise


def _link_torch() -> None:
    """Load torch's libraries before they are imported.

    Importing them holds the interpreter's lock while they are linked, and half a second long no request is answered. A
    call by ctypes lets go of the lock. Where this fails, the import does it.
    """
    found = importlib.util.find_spec("torch") if sys.platform == "linux" else None
    if found is None or found.origin is None or "torch" in sys.modules:
        return
    library = Path(found.origin).parent / "lib" / "libtorch_python.so"
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = [ctypes.c_char_p, ctypes.c_int], ctypes.c_void_p
    dlopen(os.fsencode(library), os.RTLD_LAZY | os.RTLD_LOCAL)


def _choose_device(setting: str) -> "torch.device":
    import torch

    name = ("cuda" if torch.cuda.is_available() else "cpu") if setting == "auto" else setting
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        problem = str(error).splitlines()[0]
        raise SettingsError(f"LABELLOOP_DEVICE={setting!r} cannot be used ({problem}); set auto or cpu") from error
    return device


def _out_of_memory(error: Exception) -> bool:
    """Whether fewer images may be the remedy. Only CUDA's memory has an error of its own.

    Where the processor's is short, torch, oneDNN ("could not create a primitive"), cuDNN and cuBLAS raise a plain
    RuntimeError.
    """
    return isinstance(error, RuntimeError | MemoryError)
