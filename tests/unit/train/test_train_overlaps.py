"""How alike annotated and found objects are."""

from typing import Any

import numpy as np
import pytest

from jobs.train.yolo.overlaps import overlaps
from shared.geometry.detections import Detections, Floats

NO_POINTS = np.zeros(0)


def objects(xyxy: Any, **more: Any) -> Detections:
    boxes = np.array(xyxy, dtype=np.float64).reshape(-1, 4)
    return Detections.annotated(100, 80, boxes, np.zeros(len(boxes)), ("a",), **more)


def square(x: float, y: float, side: float) -> Floats:
    return np.array([(x, y), (x + side, y), (x + side, y + side), (x, y + side)])


@pytest.mark.parametrize(
    ("truth", "found", "overlap"),
    [
        pytest.param([0, 0, 10, 10], [0, 0, 10, 10], 1.0, id="same"),
        pytest.param([0, 0, 10, 10], [5, 0, 15, 10], 1 / 3, id="half"),
        pytest.param([0, 0, 10, 10], [10, 0, 20, 10], 0.0, id="touching"),
        pytest.param([0, 0, 10, 10], [30, 30, 40, 40], 0.0, id="apart"),
        pytest.param([0, 0, 10, 10], [2, 2, 2, 8], 0.0, id="without area"),
        pytest.param([3, 3, 3, 3], [3, 3, 3, 3], 0.0, id="both without area"),
    ],
)
def test_boxes(truth: list[float], found: list[float], overlap: float) -> None:
    assert overlaps(objects(truth), objects(found), NO_POINTS) == pytest.approx(np.array([[overlap]]), abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "found", "overlap"),
    [
        pytest.param((square(0, 0, 10),), (square(0, 0, 10),), 1.0, id="same"),
        pytest.param((square(0, 0, 10),), (square(5, 0, 10),), 1 / 3, id="half"),
        pytest.param((square(0, 0, 10),), (square(50, 50, 10),), 0.0, id="apart"),
        pytest.param((square(0, 0, 10), square(2, 2, 6)), (square(2, 2, 6),), 0.0, id="in the hole"),
        pytest.param((square(90, 70, 10),), (square(90, 70, 10), square(0, 0, 10)), 0.5, id="in the last corner"),
        pytest.param((square(0, 0, 10),), (), 0.0, id="no outline"),
    ],
)
def test_outlines(truth: Any, found: Any, overlap: float) -> None:
    one, other = (objects([0, 0, 1, 1], outlines=(outline,)) for outline in (truth, found))
    assert overlaps(one, other, NO_POINTS) == pytest.approx(np.array([[overlap]]), abs=1e-6)


@pytest.mark.parametrize(("annotated", "found"), [(0, 0), (0, 3), (3, 0), (2, 3)])
@pytest.mark.parametrize("kind", ["boxes", "rotated", "outlines", "points"])
def test_the_table_has_a_row_an_annotated_object(annotated: int, found: int, kind: str) -> None:
    def some(count: int) -> Detections:
        boxes = [(10 * number, 0, 10 * number + 9, 9) for number in range(count)]
        more: dict[str, dict[str, Any]] = {
            "boxes": {},
            "rotated": {
                "rotated": np.array([(10.0 * number + 5, 5, 9, 9, 0) for number in range(count)]).reshape(-1, 5)
            },
            "outlines": {"outlines": tuple((square(10 * number, 0, 9),) for number in range(count))},
            "points": {"keypoints": np.array([[(10.0 * number, 5, 2)] for number in range(count)]).reshape(-1, 1, 3)},
        }
        return objects(boxes, **more[kind])

    table = overlaps(some(annotated), some(found), np.array([0.15]))
    assert table.shape == (annotated, found)
    if found:
        assert table.argmax(axis=1).tolist() == list(range(annotated))
