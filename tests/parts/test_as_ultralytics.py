"""Names, corners and scores are those of ultralytics."""

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES
from ultralytics.utils.instance import Instances
from ultralytics.utils.metrics import batch_probiou, box_iou, kpt_iou
from ultralytics.utils.ops import xywhr2xyxyxyxy

from jobs.train.evidence import Found, Outcome, ones
from jobs.train.yolo.overlaps import overlaps
from shared.geometry.detections import (
    Detections,
    clip_rotated,
    clip_xyxy,
    envelope,
    xywhr_to_corners,
)
from shared.yolo.base_weights import model_path_problem, named_task
from tests.samples.controls import control_for
from tests.samples.outcomes import CLASSES, drawn_outcomes


def row(*values: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([values], dtype=np.float64)


def test_corners_of_rotated_boxes_equal_those_of_ultralytics() -> None:
    rotated = np.array([[100, 50, 40, 20, 0.3], [10, 20, 5, 60, 2.5], [0, 0, 1, 1, -7]])
    theirs = xywhr2xyxyxyxy(rotated)  # they begin at the lower right and run anticlockwise
    assert xywhr_to_corners(rotated) == pytest.approx(theirs[:, [2, 1, 0, 3]])


@given(st.tuples(st.floats(-20, 220), st.floats(-20, 120)), st.floats(2, 300), st.floats(2, 300), st.floats(-360, 360))
def test_a_rotated_box_is_clipped_as_ultralytics_does(
    centre: tuple[float, float], width: float, height: float, degrees: float
) -> None:
    box = row(*centre, width, height, math.radians(degrees))
    corners = xywhr_to_corners(box)
    clipped = clip_rotated(box, 200, 100)
    theirs = Instances(np.zeros((1, 4), np.float32), corners.astype(np.float32), bbox_format="xyxy", normalized=False)
    theirs.clip(200, 100, preserve_obb=True)
    if clipped[0, 2:4].min() > 0.1:  # they compute with half as many digits
        (ours,) = xywhr_to_corners(clipped)
        assert max(np.hypot(*(ours - corner).T).min() for corner in theirs.segments[0]) < 0.05
    else:
        around = envelope(theirs.segments.astype(np.float64))[0]
        seen = clip_xyxy(around[None], 200, 100)[0]
        assert min(seen[2] - seen[0], seen[3] - seen[1]) < 15  # a corner of it at most


def test_objects_are_alike_as_in_ultralytics() -> None:
    random = np.random.default_rng(0)

    def some(count: int) -> Detections:
        corner = random.uniform(0, 40, (count, 2))
        boxes = np.hstack([corner, corner + random.uniform(4, 30, (count, 2))])
        points = np.concatenate([random.uniform(0, 60, (count, 4, 2)), random.integers(0, 3, (count, 4, 1))], axis=2)
        return Detections.annotated(100, 80, boxes, np.zeros(count), ("a",), keypoints=points)

    truth, found = some(5), some(7)
    sigmas, areas = np.array([0.1, 0.2, 0.15, 0.5]), np.prod(truth.xyxy[:, 2:] - truth.xyxy[:, :2], axis=1) * 0.53
    points: Any = [torch.from_numpy(each.keypoints) for each in (truth, found)]
    theirs = kpt_iou(points[0], points[1], torch.from_numpy(areas), sigmas.tolist())
    np.testing.assert_allclose(overlaps(truth, found, sigmas), theirs.numpy(), atol=1e-6)
    one, other = (replace(each, keypoints=None) for each in (truth, found))
    theirs = box_iou(torch.from_numpy(truth.xyxy), torch.from_numpy(found.xyxy))
    np.testing.assert_allclose(overlaps(one, other, sigmas), theirs.numpy(), atol=1e-6)
    turned = [np.hstack([each.xyxy, random.uniform(-2, 2, (len(each), 1))]) for each in (truth, found)]
    one, other = (replace(each, rotated=rotated) for each, rotated in zip((one, other), turned, strict=True))
    theirs = batch_probiou(torch.from_numpy(turned[0]), torch.from_numpy(turned[1]))
    np.testing.assert_allclose(overlaps(one, other, sigmas), theirs.numpy(), atol=1e-4)


def test_official_names_are_those_of_ultralytics() -> None:
    """All that it has for these tasks; what else it has is for others."""
    ours = {
        name
        for name in GITHUB_ASSETS_NAMES
        if name.endswith(".pt") and not model_path_problem(control_for(named_task(name), name), "/x.pt")
    }
    others = (
        "oiv7",
        "sem",
        "depth",
        "objv1",
        "distill",
        "world",
        "yoloe",
        "nas",
        "sam",
        "SAM",
        "rtdetr",
        "clip",
        "gray",
    )
    assert {name for name in GITHUB_ASSETS_NAMES if name.endswith(".pt")} - ours == {
        name for name in GITHUB_ASSETS_NAMES if name.endswith(".pt") and any(word in name for word in (*others, "p6"))
    }


def ultralytics_validator() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own
        from ultralytics.models.yolo.detect import DetectionValidator
    return DetectionValidator


@pytest.fixture
def outcomes() -> list[Outcome]:
    return drawn_outcomes()


def test_things_are_matched_as_ultralytics_does(outcomes: list[Outcome], tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    validator = ultralytics_validator()(save_dir=tmp_path)
    for outcome in outcomes:
        theirs = validator.match_predictions(
            torch.tensor(outcome.found), torch.tensor(outcome.truth), torch.tensor(outcome.overlap)
        )
        assert outcome.right().tolist() == theirs.tolist()


def test_the_area_is_the_one_that_ultralytics_reads_at_101_points(outcomes: list[Outcome]) -> None:
    from ultralytics.utils.metrics import ap_per_class

    found = Found(outcomes, range(CLASSES))
    theirs = ap_per_class(
        np.concatenate([outcome.right() for outcome in outcomes]),
        np.concatenate([outcome.scores for outcome in outcomes]),
        np.concatenate([outcome.found for outcome in outcomes]),
        np.concatenate([outcome.truth for outcome in outcomes]),
    )[5]
    assert found.average_precision(ones(found))[0] == pytest.approx(theirs, abs=0.02)
    assert found.score(ones(found))[0] == pytest.approx(theirs.mean(), abs=0.01)
    assert len(found.tasks) == 30


@pytest.mark.parametrize("name", ["yolo11z.pt", "yolo12n-seg.pt", "yolov9m-seg.pt", "yolov8nn.pt", "xyolov8n.pt"])
def test_names_that_ultralytics_does_not_have(name: str) -> None:
    assert name not in GITHUB_ASSETS_NAMES
    assert model_path_problem(control_for(named_task(name), name), "/x.pt")
