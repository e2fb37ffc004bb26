"""What ultralytics is told, and which class of the weights a label begins as."""

import pytest

from jobs.train.training import TrainingSettings
from jobs.train.yolo.arguments import schedule, validation
from jobs.train.yolo.class_rows import sources
from shared.settings import Settings


@pytest.mark.parametrize(
    ("request_", "own", "overlap"),
    [({}, None, 0.7), ({"iou": None}, None, 0.7), ({}, 0.5, 0.5), ({"iou": 0.4}, 0.5, 0.4)],
)
def test_validation_suppresses_by_what_is_set(
    request_: dict[str, float | None], own: float | None, overlap: float
) -> None:
    settings = Settings.model_validate({"LABELLOOP_IOU": own})
    assert validation(TrainingSettings.of(request_, settings))["iou"] == overlap


@pytest.mark.parametrize(
    ("epochs", "warm_up", "whole_images"),
    [(1, 0.1, 0), (3, 0.3, 1), (5, 0.5, 1), (8, 0.8, 2), (50, 3, 10), (500, 3, 10)],
)
def test_a_short_training_warms_up_and_ends_in_proportion(epochs: int, warm_up: float, whole_images: int) -> None:
    found = schedule(epochs)
    assert found == {"warmup_epochs": pytest.approx(warm_up), "close_mosaic": whole_images}


@pytest.mark.parametrize(
    ("labels", "held", "aliases", "found"),
    [
        pytest.param(("a", "A", "b", "B"), ("B", "b", "A", "a"), {}, (3, 2, 1, 0), id="letters as they are"),
        pytest.param(("Tree", "Rock"), ("tree", "Rock"), {}, (None, 1), id="another case is another name"),
        pytest.param(("Vehicle",), ("person", "car"), {"Vehicle": ("lorry", "car")}, (1,), id="renamed"),
        pytest.param(("Vehicle",), ("Car",), {"Vehicle": ("car",)}, (None,), id="renamed, in another case"),
        pytest.param(
            ("Vehicle", "truck"), ("truck", "car"), {"Vehicle": ("truck", "car")}, (1, 0), id="a label of its own"
        ),
        pytest.param(("Car",), ("car", "Car"), {"Car": ("car",)}, (1,), id="its own name first"),
        pytest.param(("new",), (), {}, (None,), id="nothing held"),
    ],
)
def test_which_class_a_label_begins_as(
    labels: tuple[str, ...], held: tuple[str, ...], aliases: dict[str, tuple[str, ...]], found: tuple[int | None, ...]
) -> None:
    assert sources(labels, held, aliases) == found
