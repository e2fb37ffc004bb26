"""The demo's table: an annotator's work counted by hand, overlaps of shapes, ultralytics' metrics at their limits."""

from dataclasses import replace

import numpy as np
import pytest

from infra.demo.metrics import Compared, annotators_work, measure, overlap, with_every
from shared.geometry.detections import Detections
from shared.yolo_task import YoloTask

TREES: list[list[float]] = [[0, 0, 100, 100], [200, 200, 300, 300]]


def _detections(boxes: list[list[float]], scores: list[float] | None = None) -> Detections:
    xyxy = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return Detections(500, 400, xyxy, np.array(scores or [0.9] * len(boxes)), np.zeros(len(boxes), np.int64), ("Tree",))


def _boxes(found: list[list[float]], expert: list[list[float]], scores: list[float] | None = None) -> Compared:
    return Compared("tile", _detections(found, scores), _detections(expert))


@pytest.mark.parametrize(
    ("found", "expert", "work"),
    [
        pytest.param(TREES, TREES, (0, 0, 0), id="perfect"),
        pytest.param([], TREES, (2, 0, 0), id="nothing found: all are added"),
        pytest.param(TREES, [], (0, 0, 2), id="nothing there: all are deleted"),
        pytest.param([], [], (0, 0, 0), id="empty"),
        pytest.param([[0, 0, 100, 70]], TREES, (1, 1, 0), id="IoU 0.7 is moved, the other tree is added"),
        pytest.param([[0, 0, 100, 80], TREES[1]], TREES, (0, 0, 0), id="IoU 0.8 is good enough"),
        pytest.param([[0, 0, 100, 40], TREES[1]], TREES, (1, 0, 1), id="IoU 0.4 is another thing"),
        pytest.param([TREES[0], TREES[0], TREES[1]], TREES, (0, 0, 1), id="a double is deleted"),
    ],
)
def test_annotators_work(found: list[list[float]], expert: list[list[float]], work: tuple[int, int, int]) -> None:
    assert annotators_work(overlap(_detections(expert), _detections(found), "detect")) == work


def test_the_best_overlap_is_paired_first() -> None:
    shifted: list[float] = [0, 0, 100, 70]
    assert annotators_work(overlap(_detections([TREES[0]]), _detections([shifted, TREES[0]]), "detect")) == (0, 0, 1)


def test_a_perfect_model() -> None:
    quality = measure([_boxes(TREES, TREES), _boxes([TREES[1]], [TREES[1]])], "detect")
    assert quality["map50"] == pytest.approx(0.995, abs=0.01)  # ultralytics interpolates precision at 101 recalls
    assert (quality["precision"], quality["recall"]) == (pytest.approx(1.0, abs=0.01), pytest.approx(1.0, abs=0.01))
    assert (quality["add"], quality["move"], quality["delete"]) == (0, 0, 0)


def test_a_model_that_finds_nothing() -> None:
    quality = measure([_boxes([], TREES), _boxes([], TREES)], "detect")
    assert all(quality[name] == 0 for name in ("precision", "recall", "map50", "map50_95"))
    assert (quality["add"], quality["work"]) == (2, 2)


def test_map_counts_what_is_too_unsure_to_be_shown_and_the_work_what_is_shown() -> None:
    shown = measure([_boxes([TREES[0]], TREES, [0.9])], "detect")
    every = measure([_boxes([*TREES, [400, 300, 450, 350]], TREES, [0.9, 0.2, 0.1])], "detect")
    both = with_every(shown, every)
    assert both["map50_shown"] == shown["map50"] == pytest.approx(0.5, abs=0.01)
    assert both["map50"] == pytest.approx(0.995, abs=0.01)
    assert (both["add"], both["delete"], both["work"]) == (1, 0, 1)
    assert both["recall"] == pytest.approx(0.5, abs=0.01)


def test_a_wrong_thing_is_less_work_than_a_missing_one() -> None:
    quality = measure([_boxes([[0, 0, 100, 70], [400, 400, 450, 450]], TREES)], "detect")
    assert (quality["add"], quality["move"], quality["delete"]) == (1, 1, 1)
    assert quality["work"] == pytest.approx(1 + 0.5 + 0.2)


def test_confident_mistakes_cost_more_than_timid_ones() -> None:
    wrong: list[float] = [400, 400, 450, 450]
    timid = measure([_boxes([TREES[0], wrong], TREES, [0.9, 0.3])], "detect")
    bold = measure([_boxes([TREES[0], wrong], TREES, [0.3, 0.9])], "detect")
    assert timid["map50"] > bold["map50"]


def _object(angle: float, *, hole: bool = False, points_off: float = 0.0) -> Detections:
    """One object of 80×40 pixels around (100, 100), in every shape."""
    corners = np.array([[60, 80], [140, 80], [140, 120], [60, 120]], dtype=np.float64)
    inner = corners[0] + (corners - corners[0]) / 2
    keypoints = np.array([[[60.0 + points_off, 100, 1], [140 + points_off, 100, 1]]])
    return replace(
        _detections([[60, 80, 140, 120]]),
        rotated=np.array([[100, 100, 80, 40, angle]]),
        outlines=((corners, inner) if hole else (corners,),),
        keypoints=keypoints,
    )


@pytest.mark.parametrize(
    ("yolo_task", "other", "least", "most"),
    [
        pytest.param("obb", _object(0.0), 0.99, 1.0, id="the same rotated box"),
        pytest.param("obb", _object(np.pi / 2), 0.2, 0.7, id="turned across"),
        pytest.param("segment", _object(0.0), 0.99, 1.0, id="the same outline"),
        pytest.param("segment", _object(0.0, hole=True), 0.7, 0.8, id="a hole of a quarter"),
        pytest.param("pose", _object(0.0), 0.99, 1.0, id="the same points"),
        pytest.param("pose", _object(0.0, points_off=20.0), 0.0, 0.3, id="points far off"),
    ],
)
def test_overlaps_of_the_shapes(yolo_task: YoloTask, other: Detections, least: float, most: float) -> None:
    assert least <= overlap(_object(0.0), other, yolo_task)[0, 0] <= most


def test_another_label_is_another_thing() -> None:
    bush = replace(_detections([TREES[0]]), names=("Bush",))
    assert overlap(_detections([TREES[0]]), bush, "detect")[0, 0] == 0


def test_images_with_exactly_the_right_labels_are_counted() -> None:
    def chosen(*scores: float) -> Detections:
        whole = Detections(10, 10, np.array([[0.0, 0, 10, 10]]), np.ones(1), np.zeros(1, np.int64), ("a", "b"))
        return replace(whole, class_scores=np.array([scores]))

    images = [
        Compared("right", chosen(0.8, 0.0), chosen(1.0, 0.0)),
        Compared("one too many", chosen(0.8, 0.2), chosen(1.0, 0.0)),
        Compared("none", chosen(1.0, 0.0).only(np.array([], dtype=np.int64)), chosen(1.0, 0.0)),
        Compared("both", chosen(0.8, 0.2), chosen(1.0, 1.0)),
    ]
    assert measure(images, "classify") == {"top1": 0.5}
