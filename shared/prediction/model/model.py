"""One network in memory, run on the model threads."""

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from shared.geometry.detections import Detections
from shared.geometry.tiles import Tiling
from shared.inference import engine
from shared.inference.looks import looks_at
from shared.inference.network import Network
from shared.inference.outputs import Postprocessing, Question
from shared.prediction.model.thread import Inference, ModelThreads
from shared.prediction.model.tiles import find_in_tiles
from shared.prediction.ports import DeviceLost, Image
from shared.prediction.process_end import end_process

_AHEAD = 8
"""Tiles of a picture that wait or are under way, at least: enough for as many calls at once as devices take."""


class YoloModel:
    """A `ports.Model`."""

    def __init__(self, network: Network, threads: ModelThreads, *, iou: float) -> None:
        """`iou`: boxes of a class that overlap more are one."""
        self.names = network.graph.names
        self.yolo_task = network.graph.yolo_task
        self.image_size = network.image_size
        self.batch = network.engine.batch
        self.tiling = network.tiling
        self._network = network
        self._threads = threads
        self._iou = iou

    def submit(
        self,
        image: Image,
        confidence: float,
        *,
        whole: tuple[int, int] | None = None,
        iou: float | None = None,
        outlined_from: float | None = 0.0,
        tiling: Tiling | None = None,
        deadline: float = math.inf,
    ) -> "Future[Detections]":
        """Find everything of at least this confidence (see ports.Model). Resizes at once, on the calling thread.

        A picture that is larger than a tile is found entirely here: this thread hands its tiles over as the model goes
        on.
        """
        size = whole or (image.shape[0], image.shape[1])
        iou = self._iou if iou is None else iou
        asked = Question(image, size, confidence, iou=iou, outlined_from=outlined_from)
        if tiling is not None and tiling.cuts(size[1], size[0]):
            return self._find_in_tiles(asked, tiling, deadline)
        return self._ask(replace(asked, image=self._network.fit(image, whole)))

    def _ask(self, question: Question) -> "Future[Detections]":
        job = Inference(self, question, Future())
        self._threads.submit(job)
        return job.done

    def _find_in_tiles(self, asked: Question, tiling: Tiling, deadline: float) -> "Future[Detections]":
        looks = looks_at((asked.image.shape[0], asked.image.shape[1]), asked.size, tiling)
        done: Future[Detections] = Future()
        try:
            ahead = max(_AHEAD, 2 * self.batch)
            done.set_result(find_in_tiles(self._network, self._ask, asked, looks, ahead=ahead, deadline=deadline))
        except Exception as error:  # noqa: BLE001 - raised where the result is awaited
            done.set_exception(error)
        return done

    def run(self, questions: Sequence[Question]) -> list[Detections | Postprocessing]:
        """Run one batch of images of one shape. Raises EngineError, DeviceLost."""
        try:
            return self._network.run(questions)
        except engine.DeviceLost as error:
            end_process("device_lost", str(error))
            raise DeviceLost(f"{error}; a new process will go on") from error
