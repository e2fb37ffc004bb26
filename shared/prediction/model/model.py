"""One network in memory, run on the model threads."""

from collections.abc import Sequence
from concurrent.futures import Future

from shared.geometry.detections import Detections
from shared.inference import engine
from shared.inference.network import Network
from shared.inference.outputs import Postprocessing, Question
from shared.prediction.model.thread import Inference, ModelThreads
from shared.prediction.ports import DeviceLost, Image
from shared.prediction.process_end import end_process


class YoloModel:
    """A `ports.Model`."""

    def __init__(self, network: Network, threads: ModelThreads, *, iou: float) -> None:
        """`iou`: boxes of a class that overlap more are one."""
        self.names = network.graph.names
        self.yolo_task = network.graph.yolo_task
        self.image_size = network.image_size
        self.batch = network.engine.batch
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
        outlined_from: float = 0.0,
    ) -> "Future[Detections]":
        """Find everything of at least this confidence (see ports.Model). Resizes at once, on the calling thread."""
        question = Question(
            self._network.fit(image, whole),
            whole or (image.shape[0], image.shape[1]),
            confidence,
            iou=self._iou if iou is None else iou,
            outlined_from=outlined_from,
        )
        job = Inference(self, question, Future())
        self._threads.submit(job)
        return job.done

    def run(self, questions: Sequence[Question]) -> list[Detections | Postprocessing]:
        """Run one batch of images of one shape. Raises EngineError, DeviceLost."""
        try:
            return self._network.run(questions)
        except engine.DeviceLost as error:
            end_process("device_lost", str(error))
            raise DeviceLost(f"{error}; a new process will go on") from error
