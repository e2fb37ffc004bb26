"""What is made of a graph's answers that are no numbers, or not those that its metadata promise."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import ModelError
from shared.geometry.detections import Detections
from shared.inference.engine import Outputs, Pixels
from shared.inference.graph import Graph
from shared.inference.network import Network
from shared.inference.outputs import Question
from shared.yolo_task import YoloTask

GRAPH = Graph("detect", ("Tree", "Rock"), 32, 64, False, (0, 0), (), "8.4")
BLANK = np.zeros((64, 64, 3), dtype=np.uint8)
OBJECT = (32.0, 32.0, 16.0, 16.0, 0.9, 0.1)  # centre, size, what it is


class Answers:
    """An engine whose answers are given."""

    batch = 4

    def __init__(self, *outputs: NDArray[np.float32]) -> None:
        self.outputs = list(outputs)

    def run(self, batch: Pixels) -> Outputs:
        return self.outputs

    def warm_up(self, image_size: int) -> None:
        pass


def answered(*images: tuple[float, ...]) -> NDArray[np.float32]:
    """One object in each image, without suppression."""
    return np.array(images, dtype=np.float32)[..., None]


def question(confidence: float = 0.05) -> Question:
    return Question(BLANK, (64, 64), confidence)


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_image_answered_by_what_is_no_number_fails_alone(place: int, wrong: float) -> None:
    broken = (*OBJECT[:place], wrong, *OBJECT[place + 1 :])
    good, bad = Network(Answers(answered(OBJECT, broken)), GRAPH).run([question(), question()])
    assert isinstance(good, Detections)
    assert len(good) == 1
    assert not isinstance(bad, Detections)
    with pytest.raises(ModelError, match=r"no numbers \(NaN\).*LABELLOOP_PRECISION=float32"):
        bad()


def test_a_class_that_is_no_number_is_no_class() -> None:
    network = Network(Answers(np.array([[np.nan, np.nan]], dtype=np.float32)), replace(GRAPH, yolo_task="classify"))
    (found,) = network.run([question()])
    assert not isinstance(found, Detections)
    with pytest.raises(ModelError, match="no number"):
        found()


def test_masks_that_are_no_numbers_are_not_left_out_in_silence() -> None:
    prototypes = np.full((1, 3, 16, 16), np.nan, dtype=np.float32)
    network = Network(Answers(answered((*OBJECT, 1, 1, 1)), prototypes), replace(GRAPH, yolo_task="segment"))
    (found,) = network.run([question()])
    assert not isinstance(found, Detections)
    with pytest.raises(ModelError, match="no number"):
        found()


def test_who_measures_finds_nothing_there_as_predict_shows_nothing() -> None:
    assert len(Network(Answers(answered(OBJECT)), GRAPH).find(BLANK, 0.05)) == 1
    assert len(Network(Answers(answered((np.nan,) * 6)), GRAPH).find(BLANK, 0.05)) == 0


@pytest.mark.parametrize("names", [("Tree",), ("Tree", "Rock", "Road")])
@pytest.mark.parametrize(("yolo_task", "numbers"), [("detect", 6), ("obb", 7), ("pose", 12), ("segment", 9)])
def test_another_number_of_classes_than_the_metadata_say(
    yolo_task: YoloTask, numbers: int, names: tuple[str, ...]
) -> None:
    """Read on, an angle, a point or a mask would be taken for the score of a class."""
    graph = replace(GRAPH, yolo_task=yolo_task, point_shape=(2, 3))
    answers = Answers(np.ones((1, numbers, 5), dtype=np.float32), np.ones((1, 3, 16, 16), dtype=np.float32))
    Network(answers, graph).run([question()])
    with pytest.raises(ModelError, match=rf"answers {numbers} numbers for each object, by its metadata"):
        Network(answers, replace(graph, names=names)).run([question()])


def test_raw_boxes_of_a_head_that_is_said_to_suppress_by_itself() -> None:
    with pytest.raises(ModelError, match="answers 5 numbers for each object"):
        Network(Answers(np.ones((1, 6, 5), dtype=np.float32)), replace(GRAPH, end_to_end=True)).run([question()])


def test_another_number_of_classes_than_a_classifier_says() -> None:
    scores = np.array([[0.1, 0.7, 0.2]], dtype=np.float32)
    with pytest.raises(ModelError, match="answers 3 numbers"):
        Network(Answers(scores), replace(GRAPH, yolo_task="classify")).run([question()])
