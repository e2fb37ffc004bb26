"""ultralytics itself, in a short training of each YOLO task: from regions on drawn images to weights that know them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from infra.local import samples
from jobs.train.checkpoints import Resumed
from jobs.train.dataset import Dataset, build
from jobs.train.frozen import FrozenTask
from jobs.train.images import Pictures
from jobs.train.machine import surround_ultralytics
from jobs.train.spool import Spool
from jobs.train.training import TrainingSettings
from jobs.train.yolo_trainer import YoloTrainer
from shared.labelstudio.config import Control, YoloTask, parse_label_config
from shared.registry import sha256_of

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own; what the job does is seen by its results

WIDTH, HEIGHT = 96, 72
BOXES = {"precision", "recall", "mAP50", "mAP50-95"}
Drawing = tuple[NDArray[np.uint8], list[dict[str, Any]]]


def canvas(number: int) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def region(kind: str, id: str = "a", **value: Any) -> dict[str, Any]:
    return {"id": id, "from_name": "label", "to_name": "img", "type": kind, "value": value}


def percent(x: float, y: float) -> list[float]:
    return [100 * x / WIDTH, 100 * y / HEIGHT]


def turned_box(number: int) -> Drawing:
    """A bar, turned clockwise around its top-left corner."""
    image, degrees = canvas(number), 10.0 + 5 * number
    x, y, width, height = 40.0, 8.0, 36.0, 16.0
    along = np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
    across = np.array([-along[1], along[0]])
    corners = np.array([x, y]) + np.array([0 * along, width * along, width * along + height * across, height * across])
    cv2.fillPoly(image, [corners.round().astype(np.int32)], (230, 230, 230))
    left, top = percent(x, y)
    wide, high = percent(width, height)
    box = {"x": left, "y": top, "width": wide, "height": high, "rotation": degrees}
    return image, [region("rectanglelabels", rectanglelabels=["Bar"], **box)]


def triangle(number: int) -> Drawing:
    image = canvas(number)
    points = np.array([[20, 15], [70, 20 + number], [40, 60]]) + number
    cv2.fillPoly(image, [points.astype(np.int32)], (40, 230, 40))
    drawn = [percent(x, y) for x, y in points.tolist()]
    return image, [region("polygonlabels", points=drawn, polygonlabels=["Leaf"])]


def fish(number: int) -> Drawing:
    """A bar with a red head and a blue tail; every third one shows no tail."""
    image = canvas(number)
    head, tail = (20 + number, 20 + number), (70, 50 - number)
    cv2.line(image, head, tail, (200, 200, 200), 9)
    points = {"head": head, "tail": tail}
    for name, colour in (("head", (0, 0, 255)), ("tail", (255, 0, 0))):
        cv2.circle(image, points[name], 5, colour, -1)
    shown = ["head"] if number % 3 == 2 else ["head", "tail"]
    regions = []
    for name in shown:
        x, y = percent(*points[name])
        regions.append(region("keypointlabels", name, x=x, y=y, width=1, keypointlabels=[name]))
    return image, regions


def colour(number: int) -> Drawing:
    image, kind = canvas(number), number % 2
    image[:, :, 2 * kind] += 150
    return image, [region("choices", choices=[("sky/blue", "..")[kind]])]


@dataclass(frozen=True)
class Case:
    """One YOLO task: its control, its drawings, and what is measured."""

    yolo_task: YoloTask
    tag: str
    draw: Callable[[int], Drawing]
    metrics: set[str]
    base: str

    @property
    def control(self) -> Control:
        """Of a config that holds nothing else."""
        [control] = parse_label_config(f'<View><Image name="img" value="$image"/>{self.tag}</View>')
        return control


CASES = [
    Case(
        "obb",
        '<RectangleLabels name="label" toName="img" model_obb="true"><Label value="Bar"/></RectangleLabels>',
        turned_box,
        BOXES,
        "yolov8n-obb from ABD.pt",
    ),
    Case(
        "segment",
        '<PolygonLabels name="label" toName="img"><Label value="Leaf"/></PolygonLabels>',
        triangle,
        BOXES | {"box mAP50-95"},
        "yolov8n-seg from ABD.pt",
    ),
    Case(
        "pose",
        '<KeyPointLabels name="label" toName="img"><Label value="head"/><Label value="tail"/></KeyPointLabels>',
        fish,
        BOXES | {"box mAP50-95"},
        "yolov8n-pose from ABD.pt",
    ),
    Case(
        "classify",
        '<Choices name="label" toName="img"><Choice value="sky/blue"/><Choice value=".."/></Choices>',
        colour,
        {"top1", "top5"},
        "yolov8n-cls from ABD.pt",
    ),
]


class Drawings:
    """Answers the picture of a task."""

    def __init__(self, draw: Callable[[int], Drawing]) -> None:
        self._draw = draw

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        """As a PNG."""
        assert task_id is not None
        written, data = cv2.imencode(".png", self._draw(task_id)[0])
        assert written
        return data.tobytes()


def dataset_of(case: Case, folder: Path) -> Dataset:
    tasks = [
        FrozenTask(
            id=number,
            annotation=number,
            updated_at=None,
            split="val" if number < 4 else "train",
            data={"image": "drawn"},
            regions=case.draw(number)[1],
        )
        for number in range(12)
    ]
    pictures = Pictures(Drawings(case.draw), folder / "pictures", max_pixels=10**6)
    dataset = build(tasks, case.control, pictures, folder / "dataset", concurrency=1, check=lambda: None)
    assert dataset is not None
    assert (dataset.counts.train, dataset.counts.val, dataset.counts.things) == (8, 4, 12)
    return dataset


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[YoloTrainer]:
    with pytest.MonkeyPatch.context() as environ:
        for name, value in surround_ultralytics(tmp_path / "ultralytics", threads=1).items():
            environ.setenv(name, value)
        yield YoloTrainer(
            tmp_path / "model", surroundings=tmp_path / "ultralytics", weights_folder=tmp_path / "weights", device="cpu"
        )


SETTINGS = TrainingSettings(
    epochs=8, image_size=96, batch=4, freeze=10, patience=30, val_fraction=0.2, seed=0, base_weights="x",
    longest_run=3600,
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.yolo_task for case in CASES])
def test_each_task_is_trained_measured_and_resumed(case: Case, trainer: YoloTrainer, tmp_path: Path) -> None:
    dataset = dataset_of(case, tmp_path)
    start = trainer.base(str(samples.base_weights()), case.yolo_task)
    assert (start.name, start.sha256) == (case.base, sha256_of(samples.base_weights()))
    spool = Spool(tmp_path / "spool", tmp_path / "abort", time.time() + 3600)
    fitted = trainer.fit(dataset.data, start.weights, SETTINGS, spool, None)
    epochs = list(spool.epochs())
    assert [epoch.number for epoch in epochs] == list(range(1, 9))
    assert all(set(epoch.metrics) == case.metrics for epoch in epochs)
    assert names_and_task(fitted.weights) == (dict(enumerate(case.control.class_names)), case.yolo_task)

    measured = trainer.evaluate(fitted.weights, dataset.data, SETTINGS)
    assert set(measured) == case.metrics
    best = next(epoch for epoch in reversed(epochs) if epoch.best)
    for name, value in best.metrics.items():
        assert measured[name] == pytest.approx(value, abs=0.05), name
    assert measured.get("mAP50", measured.get("top1", 0)) > 0.3, "drawn figures are learnt at once"

    # Another machine, where nothing but the checkpoint of epoch 7 is.
    elsewhere = YoloTrainer(
        tmp_path / "elsewhere", surroundings=tmp_path / "ultralytics", weights_folder=tmp_path, device="cpu"
    )
    second = replace(spool, folder=tmp_path / "spool-2")
    resumed = Resumed(spool.checkpoint(epochs[6]), None, 7, 8)
    again = elsewhere.fit(dataset.data, start.weights, SETTINGS, second, resumed)
    assert [epoch.number for epoch in second.epochs()] == [8]

    # The next version begins with this one.
    third = replace(spool, folder=tmp_path / "spool-3")
    next_one = trainer.fit(dataset.data, again.weights, SETTINGS.model_copy(update={"epochs": 1}), third, None)
    assert names_and_task(next_one.weights) == (dict(enumerate(case.control.class_names)), case.yolo_task)


def names_and_task(weights: Path) -> tuple[dict[int, str], str]:
    from ultralytics.models import YOLO

    model: Any = YOLO(str(weights))
    return model.model.names, model.task
