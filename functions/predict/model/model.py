"""One model of YOLO weights, run on the model thread.

Ultralytics' models are not safe to call from two threads at once, and two would only fight for the same cores. Its own
`predict()` is left aside: what it adds around letterbox, forward pass and suppression (sources, result objects,
callbacks, anonymous usage reports) serves other programs.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from functions.predict.model.device import refuse_lost
from functions.predict.model.outputs import READERS, Head
from functions.predict.model.thread import Inference, ModelThread, Postprocessing
from functions.predict.ports import Image
from shared.geometry.detections import Detections
from shared.media.fit import shrunk, squared
from shared.yolo_task import YoloTask

if TYPE_CHECKING:
    import torch

_LARGEST_BATCH = 32
_PROCESSOR_BATCH = 8
"""On a processor a batch saves what every call costs besides computing, an eighth of the time of a small model."""
_USABLE_MEMORY = 0.5
"""Part of a CUDA device's free memory that one batch may take."""


class YoloModel:
    """Weights in memory."""

    def __init__(
        self,
        backend: Any,
        yolo_task: YoloTask,
        names: Sequence[str],
        device: "torch.device",
        thread: ModelThread,
        *,
        image_size: int,
        iou: float,
        max_objects: int,
    ) -> None:
        """`backend`: ultralytics' AutoBackend. `iou`: boxes of a class that overlap more are one.

        `max_objects`: of an image; what is less sure is not answered.
        """
        self.names = tuple(names)
        self.batch = _PROCESSOR_BATCH
        self.yolo_task = yolo_task
        self.image_size = image_size
        self._head = Head(self.names, bool(backend.end2end), max_objects, *_points_of(backend))
        self._backend = backend
        self._device = device
        self._thread = thread
        self._iou = iou
        self._fit: Callable[[Image], Image] = self._letterbox
        self._normalize: Any = None
        if yolo_task == "classify":
            self._fit, self._normalize = partial(squared, size=image_size), _classify_numbers(backend, image_size)

    def submit(
        self, image: Image, confidence: float, *, iou: float | None = None, outlined_from: float = 0.0
    ) -> "Future[Detections]":
        """Find everything of at least this confidence (see ports.Model). Resizes at once, on the calling thread."""
        job = Inference(
            self,
            self._fit(image),
            (image.shape[0], image.shape[1]),
            confidence,
            Future(),
            iou=self._iou if iou is None else iou,
            outlined_from=outlined_from,
        )
        self._thread.submit(job)
        return job.done

    def run(self, jobs: Sequence[Inference]) -> list[Detections | Postprocessing]:
        """Run one batch of resized images of one shape. On the model thread only. Raises DeviceLost."""
        import torch

        try:
            with torch.inference_mode():
                output = self._forward([job.image for job in jobs])
                read = READERS[self.yolo_task]
                return [read(output, number, job, self._head) for number, job in enumerate(jobs)]
        except Exception as error:
            refuse_lost(self._device, error)
            raise

    def first_run(self) -> None:
        """Run a blank image, so that the first task does not pay for it, and find how many images fit in a batch."""
        import torch

        blank = np.zeros((self.image_size, self.image_size, 3), dtype=np.uint8)
        job = Inference(self, blank, (self.image_size, self.image_size), 0.5, Future())
        if self._device.type != "cuda":
            self.run([job])
            return
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        self.run([job])
        needed = max(torch.cuda.max_memory_allocated(self._device) - before, 1)
        free, _ = torch.cuda.mem_get_info(self._device)
        self.batch = int(min(max(free * _USABLE_MEMORY // needed, 1), _LARGEST_BATCH))

    def _letterbox(self, image: Image) -> Image:
        """Large pictures in the two steps in which training sees them."""
        import cv2
        from ultralytics.data.augment import LetterBox

        small = shrunk(image, self.image_size)
        if small is not image:
            height, width = image.shape[:2]
            scale = self.image_size / max(height, width)
            size = max(round(width * scale), 1), max(round(height * scale), 1)  # as LetterBox has it
            image = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
        boxed: Image = LetterBox(self.image_size, auto=True, stride=int(self._backend.stride))(image=image)  # type: ignore[assignment]
        return boxed

    def _forward(self, images: Sequence[Image]) -> Any:
        """Raw output of one batch: tensors, in tuples that the YOLO task gives them."""
        import torch

        batch = torch.from_numpy(np.stack(images)).to(self._device)
        batch = batch.permute(0, 3, 1, 2).flip(1).contiguous()  # BHWC, blue first, to BCHW, red first
        batch = (batch.half() if self._backend.fp16 else batch.float()).div_(255)
        if self._normalize is not None:
            batch = self._normalize(batch)
        try:
            return self._backend(batch)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise


def _points_of(backend: Any) -> tuple[tuple[int, int], tuple[str, ...]]:
    """How many points a pose model finds on an object, of how many numbers each, and their names if it knows any."""
    shape = getattr(backend, "kpt_shape", None) or (0, 0)
    named = getattr(getattr(backend, "model", None), "kpt_names", None) or {}
    names = named.get(0) if isinstance(named, dict) else None
    return (int(shape[0]), int(shape[1])), tuple(map(str, names or ()))


def _classify_numbers(backend: Any, size: int) -> Any:
    """What normalizes a batch: as the weights' own transforms do if those are for this size, else as usual."""
    from ultralytics.data.augment import classify_transforms

    usual = classify_transforms(size).transforms
    own: Any = getattr(getattr(getattr(backend, "model", None), "transforms", None), "transforms", ())
    known = tuple(map(type, own)) == tuple(map(type, usual)) and own[0].size == size
    return own[-1] if known else usual[-1]
