"""Scores of what was found, against ultralytics' own, and of samples of the tasks."""

from dataclasses import replace

import numpy as np
import pytest

from jobs.train.evidence import Followed, Found, Outcome, ones
from jobs.train.tracking_scores import TrackingCounts
from tests.samples.outcomes import CLASSES, drawn_outcomes


@pytest.fixture
def outcomes() -> list[Outcome]:
    return drawn_outcomes()


def test_a_task_that_counts_twice_is_as_if_it_were_there_twice(outcomes: list[Outcome]) -> None:
    once = Found(outcomes, range(CLASSES))
    twice = Found([*outcomes, *outcomes[:2]], range(CLASSES))
    weights = ones(once)
    weights[0, 0] = 2.0
    assert once.score(weights)[0] == pytest.approx(twice.score(ones(twice))[0])
    weights[0, 0] = 0.0
    rest = Found(outcomes[2:], range(CLASSES))
    assert once.score(weights)[0] == pytest.approx(rest.score(ones(rest))[0])


def test_labels_that_do_not_count_are_neither_there_nor_found(outcomes: list[Outcome]) -> None:
    found = Found(outcomes, range(CLASSES)).of([1])
    assert found.objects == sum(int((outcome.truth == 1).sum()) for outcome in outcomes)
    assert found.score(ones(found))[0] == pytest.approx(
        Found(outcomes, range(CLASSES)).average_precision(ones(found))[0, 1].mean()
    )
    nothing = Found(outcomes, range(CLASSES)).of([9])
    assert np.isnan(nothing.score(ones(nothing))[0])


def test_of_twins_of_a_class_the_surer_one_is_shown() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 8], [50, 50, 60, 60.0]])
    twins = Outcome("1", np.array([0]), np.array([0, 1, 0, 0]), np.array([0.9, 0.8, 0.7, 0.6]), np.ones((1, 4)), boxes)
    assert twins.without_duplicates(0.5).scores.tolist() == [0.9, 0.8, 0.6], "the second is another class"
    assert twins.without_duplicates(0.85).scores.tolist() == [0.9, 0.8, 0.7, 0.6]
    upright = np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2], np.zeros((4, 1))])
    turned = replace(twins, boxes=upright)
    assert turned.without_duplicates(0.5).scores.tolist() == [0.9, 0.8, 0.6]


def test_idf1_of_all_videos_is_that_of_their_counts() -> None:
    videos = {"1": TrackingCounts(truth=10, found=8, identified=6), "2": TrackingCounts(truth=4, found=4, identified=1)}
    followed = Followed(videos)
    assert followed.score(ones(followed))[0] == pytest.approx(2 * 7 / (14 + 12)) == followed.metrics()["IDF1"]
    assert np.isnan(Followed({"1": TrackingCounts()}).score(np.ones((1, 1)))[0])
