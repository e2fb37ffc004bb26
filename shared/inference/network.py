"""A graph that is ready to be asked: pictures in, detections out."""

from collections.abc import Sequence
from dataclasses import replace

from shared.errors import ModelError
from shared.geometry.detections import Detections
from shared.geometry.merging import View, merged
from shared.geometry.tiles import Tiling, pixels_needed
from shared.inference.engine import Engine, EngineError, Outputs, Pixels
from shared.inference.graph import Graph
from shared.inference.letterbox import letterbox
from shared.inference.looks import Look, looks_at
from shared.inference.outputs import READERS, Head, Postprocessing, Question, say_cut
from shared.media.fit import squared


class Network:
    """Thread-safe, as its engine is."""

    def __init__(
        self,
        engine: Engine,
        graph: Graph,
        *,
        image_size: int | None = None,
        max_objects: int = 300,
        tiling: Tiling | None = None,
    ) -> None:
        """`image_size`: pixels of the longer side that it is shown; None, or for classify: what the graph says.

        `max_objects`: of a picture; those beyond are left out. `tiling`: how `find` cuts large pictures, for
        base weights; None: as the graph says.
        """
        asked = graph.image_size if image_size is None or graph.yolo_task == "classify" else image_size
        self.graph = graph
        self.engine = engine
        self.image_size = -(-asked // graph.stride) * graph.stride
        self.tiling = None if graph.yolo_task == "classify" else tiling or graph.tiling
        self._head = Head(graph, max_objects)

    def needs(self, longest: int) -> int:
        """How many of the `longest` pixels of a picture's longer side have to be decoded for `find`."""
        return pixels_needed(longest, self.image_size, self.tiling)

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

        Nothing, as predict shows, where the graph's values are no numbers (NaN). A picture that is larger than a tile
        is looked at in tiles, a batch of them at a time, and as a whole.
        """
        size = whole or (image.shape[0], image.shape[1])
        asked = Question(image, size, confidence, iou, cut_is_said=cut_is_said)
        if self.tiling is None or not self.tiling.cuts(size[1], size[0]):
            (answer,) = self.run([replace(asked, image=self.fit(image, whole))])
            return self._completed(answer, size)
        *tiles, last = looks_at((image.shape[0], image.shape[1]), size, self.tiling)
        views: list[View] = []
        batch = max(self.engine.batch, 1)
        for looks in [*(tiles[first : first + batch] for first in range(0, len(tiles), batch)), [last]]:
            answers = self._run_some([self.question(asked, look) for look in looks])
            views += [
                self.view(look, self._completed(one, look.size)) for look, one in zip(looks, answers, strict=True)
            ]
        return self.merged(asked, views)

    def question(self, asked: Question, look: Look) -> Question:
        """What is asked about a part of a picture. `asked`: of the picture, its `image` as it was decoded.

        Outlines are made from half the confidence on: half an object may be less sure than the object.
        """
        image = self.fit(look.of(asked.image), look.size)
        from_ = (asked.outlined_from or 0.0) / 2
        return replace(asked, image=image, size=look.size, outlined_from=from_, cut_is_said=False)

    def view(self, look: Look, found: Detections) -> View:
        """What was found there, for `merged`."""
        return View(look.place, found, max(look.size) / self.image_size)

    def merged(self, asked: Question, views: Sequence[View]) -> Detections:
        """The objects of a picture, from all that was found at its looks."""
        (height, width), most = asked.size, self._head.max_objects
        found = merged(views, width, height, iou=asked.iou, most=most)
        if asked.cut_is_said and len(found) >= most and found.scores[-1] >= asked.shown_from:
            say_cut(most)
        return found

    def _run_some(self, questions: Sequence[Question]) -> list[Detections | Postprocessing]:
        """As `run`, in halves where all together are too many."""
        try:
            return self.run(questions)
        except EngineError:
            if len(questions) == 1:
                raise
        half = len(questions) // 2
        return self._run_some(questions[:half]) + self._run_some(questions[half:])

    def _completed(self, answer: Detections | Postprocessing, size: tuple[int, int]) -> Detections:
        """Nothing for what is no number. `size`: height and width of what was looked at."""
        if answer is _refuse:
            return Detections.annotated(size[1], size[0], (), (), self.graph.names)
        return answer if isinstance(answer, Detections) else answer()


def _refuse() -> Detections:
    """A `Postprocessing`: to say that nothing was found would be wrong."""
    raise ModelError(
        "the graph computes values that are no numbers (NaN), usually because of too few bits: set "
        "LABELLOOP_PRECISION=float32"
    )
