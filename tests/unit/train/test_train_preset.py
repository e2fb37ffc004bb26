"""What is chosen for a training by the number of its images."""

import json
from functools import partial
from pathlib import Path

import pytest

from jobs.train.preset import Preset, preset, training_data
from jobs.train.yolo.arguments import optimizer
from jobs.train.yolo.data_yaml import count_images
from tests.fakes.train_parts import training_settings

settings = partial(training_settings, epochs=0, image_size=320, batch=0)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        pytest.param(1, Preset(epochs=25, batch=4, passes=24, learning_rate=0.0005), id="one"),
        pytest.param(3, Preset(epochs=25, batch=4, passes=8, learning_rate=0.0005), id="those of five tasks"),
        pytest.param(16, Preset(epochs=19, batch=4, passes=2, learning_rate=0.0005), id="those of twenty tasks"),
        pytest.param(24, Preset(epochs=50, batch=4, passes=1, learning_rate=0.0005), id="an epoch of its own"),
        pytest.param(64, Preset(epochs=25, batch=8, passes=1), id="a hundred or two"),
        pytest.param(256, Preset(epochs=50, batch=0, passes=1), id="enough for the device to choose"),
        pytest.param(10_000, Preset(epochs=50, batch=0, passes=1), id="many"),
    ],
)
def test_few_images_are_looked_at_more_often(images: int, expected: Preset) -> None:
    assert preset(settings(), images, "detect") == expected


def test_what_is_set_stays() -> None:
    assert preset(settings(epochs=7, batch=16), 3, "detect") == Preset(7, 16, 1)
    assert preset(settings(), 3, "classify").passes == 1, "its dataset is a folder of folders"
    assert preset(settings(), 3, "pose") == Preset(epochs=25, batch=4, passes=8, learning_rate=0.002)
    applied = preset(settings(), 3, "detect").applied(settings(seed=5))
    assert (applied.epochs, applied.batch, applied.seed) == (25, 4, 5)


def test_the_learning_rate_is_never_more_than_that_of_ultralytics() -> None:
    assert optimizer(0.0, 1) == {}
    assert optimizer(0.0005, 1) == {"optimizer": "AdamW", "lr0": 0.0005}
    assert optimizer(0.0005, 80)["lr0"] == 0.000119


def test_an_epoch_counts_each_look(tmp_path: Path) -> None:
    (tmp_path / "images" / "train").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "images" / "train" / f"{number}.jpg").touch()
    data = tmp_path / "data.yaml"
    data.write_text(json.dumps({"train": "images/train", "val": "images/val", "names": ["Tree"]}))
    assert training_data(data, 1) == data
    again = training_data(data, 8)
    assert (again.parent, count_images(data), count_images(again)) == (tmp_path, 3, 24)
    assert json.loads(again.read_text())["names"] == ["Tree"]
