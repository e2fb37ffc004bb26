"""A classifier sees the whole picture: ultralytics learns what is near an end, and predict's own model finds it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from infra.demo.samples import base_weights
from jobs.train.checkpoints.spool import Spool
from jobs.train.data.dataset import build
from jobs.train.data.files import ImageFiles
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.yolo.trainer import YoloTrainer
from shared.labelstudio.config import parse_label_config
from shared.media.decode import decode_for
from tests.fakes.train_parts import measured, training_settings
from tests.samples.graphs import export
from tests.samples.served_graphs import quick_loader

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own; what the job does is seen by its results

WIDTH, HEIGHT = 480, 120
TRAIN, VAL, HELD_OUT = 40, 8, 40
KINDS = ("sound", "scratched")
IMAGE_SIZE = 320  # pixels of detection; a classifier's are 128 then
CONFIG = (
    '<View><Image name="i" value="$image"/><Choices name="kind" toName="i">'
    '<Choice value="sound"/><Choice value="scratched"/></Choices></View>'
)


def board(number: int) -> NDArray[np.uint8]:
    """A gray board of 480×120; every other one has a scratch in the outer twentieth of an end.

    So near, that also a training which cuts a part of each picture away learns nothing.
    """
    chance = np.random.default_rng(number)
    pixels = np.clip(chance.normal(150, 6, (HEIGHT, WIDTH, 1)), 0, 255).astype(np.uint8).repeat(3, axis=2)
    if number % 2:
        x, y, lean = int(chance.integers(6, 24)), int(chance.integers(5, 90)), int(chance.integers(-5, 6))
        x = x if chance.random() < 0.5 else WIDTH - x
        cv2.line(pixels, (x, y), (x + lean, y + 24), (60, 60, 60), 4)
    return pixels


class Boards:
    """Answers the file of a task."""

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        """A JPEG file."""
        assert task_id is not None
        return cv2.imencode(".jpg", board(task_id), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def task(number: int) -> SnapshotTask:
    chosen: dict[str, Any] = {
        "id": "c", "from_name": "kind", "to_name": "i", "type": "choices", "value": {"choices": [KINDS[number % 2]]}
    }  # fmt: skip
    return SnapshotTask(
        id=number,
        annotation=number,
        updated_at=None,
        split="val" if number < VAL else "train",
        data={"$image": "board"},
        regions=[chosen],
    )


def test_a_scratch_near_an_end_is_seen(trainer: YoloTrainer, spool: Spool, tmp_path: Path) -> None:
    [control] = parse_label_config(CONFIG)
    images = ImageFiles(Boards(), tmp_path / "pictures", max_pixels=10**6, image_size=IMAGE_SIZE)
    tasks = [task(number) for number in range(VAL + TRAIN)]
    dataset = build(tasks, control, images, tmp_path / "dataset", check=lambda: None)
    assert dataset is not None
    settings = training_settings(epochs=20, image_size=IMAGE_SIZE, batch=8)
    start = trainer.base(base_weights(), "classify")
    fitted = trainer.fit(dataset.data, start.weights, settings, spool, None)
    top1 = measured(trainer, fitted.weights, dataset.data, control, settings)["top1"]

    model = quick_loader().load(export(fitted.weights).graph)
    assert model.names == KINDS

    def is_right(number: int) -> bool:
        pixels, whole = decode_for(Boards().fetch("board", task_id=number, deadline=0.0), 10**6, model.image_size)
        return int(model.submit(pixels, 0.0, whole=whole).result(60).classes[0]) == number % 2

    right = sum(map(is_right, range(1000, 1000 + HELD_OUT)))
    assert right >= HELD_OUT - 2, f"{right} of {HELD_OUT}"

    # What the gate measures is what predict answers.
    assert top1 == pytest.approx(sum(map(is_right, range(VAL))) / VAL)
