"""A graph that is ready to be asked: pictures in, detections out."""

from collections.abc import Sequence

from shared.errors import ModelError
from shared.geometry.detections import Detections
from shared.inference.engine import Engine, Outputs, Pixels
from shared.inference.graph import Graph
from shared.inference.letterbox import letterbox
from shared.inference.outputs import READERS, Head, Postprocessing, Question
from shared.media.fit import squared


class Network:
    """Thread-safe, as its engine is."""

    def __init__(self, engine: Engine, graph: Graph, *, image_size: int | None = None, max_objects: int = 300) -> None:
        """`image_size`: pixels of the longer side that it is shown; None, or for classify: what the graph says.

        `max_objects`: of an image; what is less sure is not answered.
        """
        asked = graph.image_size if image_size is None or graph.yolo_task == "classify" else image_size
        self.graph = graph
        self.engine = engine
        self.image_size = -(-asked // graph.stride) * graph.stride
        self._head = Head(graph, max_objects)

    def fit(self, image: Pixels, whole: tuple[int, int] | None = None) -> Pixels:
        """(H, W, 3) picture → what the network sees of it; pictures of one shape can share a batch.

        `whole`: height and width of the picture, if the image is one of fewer pixels.
        """
        if self.graph.yolo_task == "classify":
            return squared(image, self.image_size, whole)
        return letterbox(image, self.image_size, self.graph.stride, whole)

    def run(self, questions: Sequence[Question]) -> list[Detections | Postprocessing]:
        """Ask about images of one shape in one call. Raises EngineError, DeviceLost."""
        import numpy as np

        outputs = self.engine.run(np.stack([question.image for question in questions]))
        return [self._read(outputs, number, question) for number, question in enumerate(questions)]

    def _read(self, outputs: Outputs, number: int, question: Question) -> Detections | Postprocessing:
        import numpy as np

        if not all(np.isfinite(output[number]).all() for output in outputs):
            return _refuse  # this image, and not those that it shares a batch with
        return READERS[self.graph.yolo_task](outputs, number, question, self._head)

    def find(
        self,
        image: Pixels,
        confidence: float,
        iou: float = 0.7,
        *,
        whole: tuple[int, int] | None = None,
        cut_is_said: bool = True,
    ) -> Detections:
        """Everything of at least `confidence` in one picture, blue first. `whole`: as of `fit`. Raises as `run`.

        Nothing where the graph answers what is no number: predict shows nothing then.
        """
        size = whole or (image.shape[0], image.shape[1])
        question = Question(self.fit(image, whole), size, confidence, iou, cut_is_said=cut_is_said)
        (found,) = self.run([question])
        if found is _refuse:
            return Detections.annotated(size[1], size[0], (), (), self.graph.names)
        return found if isinstance(found, Detections) else found()


def _refuse() -> Detections:
    """A `Postprocessing`: to say that nothing was found would be wrong."""
    raise ModelError(
        "the graph answers what is no number (NaN): it computes in too few bits, as a rule; set "
        "LABELLOOP_PRECISION=float32"
    )
