"""What ultralytics makes of a dataset before its first step: nothing that was drawn is changed or lost in silence."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.train.spool import Spool
from jobs.train.training import TrainingSettings
from jobs.train.yolo_trainer import YoloTrainer
from shared.labelstudio.config import YoloTask
from tests.train_parts import yolo_trainer
from tests.yolo_weights import make_weights

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own; what the job does is seen by its results

SIDE = 64
SQUARE = "0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9"
INNER = "0.3 0.3 0.7 0.3 0.7 0.7 0.3 0.7"


def settings(**changes: Any) -> TrainingSettings:
    given = {
        "epochs": 1, "image_size": SIDE, "batch": 4, "freeze": 0, "patience": 30, "val_fraction": 0.2, "seed": 0,
        "base_weights": "x", "longest_run": 3600,
    }  # fmt: skip
    return TrainingSettings.model_validate(given | changes)


def dataset(folder: Path, lines: str, *, images: int = 4, names: tuple[str, ...] = ("a", "b"), **more: Any) -> Path:
    """data.yaml of noisy images that all have these label lines."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(images):
            pixels = random.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / split / f"{number}.png")
            (folder / "labels" / split / f"{number}.txt").write_text(lines)
    described = {"path": str(folder), "train": "images/train", "val": "images/val", "names": list(names)}
    (folder / "data.yaml").write_text(json.dumps(described | more))
    return folder / "data.yaml"


@dataclass(frozen=True)
class Watching(Spool):
    """Looks at ultralytics' trainer at one event."""

    event: str = ""
    look: Callable[[Any], None] | None = None

    def callbacks(self) -> dict[str, Any]:
        """Ours, and the one that looks."""
        return super().callbacks() | {self.event: self.look}


def watching(folder: Path, look: Callable[[Any], None], event: str = "on_train_start") -> Watching:
    return Watching(folder / "spool", folder / "abort", time.time() + 3600, event, look)


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[YoloTrainer]:
    with yolo_trainer(tmp_path, threads=1) as ready:
        yield ready


def weights(folder: Path, architecture: str, yolo_task: YoloTask, **options: Any) -> Path:
    return make_weights(folder, architecture, yolo_task, **options)


@pytest.mark.parametrize("architecture", ["yolov8n-seg", "yolo26n-seg"])
def test_a_thing_on_another_cuts_no_hole_into_it(trainer: YoloTrainer, tmp_path: Path, architecture: str) -> None:
    data = dataset(tmp_path / "data", f"0 {SQUARE}\n1 {INNER}\n")
    seen: list[tuple[int, float]] = []

    def look(ultralytics: Any) -> None:
        for loader in (ultralytics.train_loader, ultralytics.test_loader):
            loader.dataset.close_mosaic(ultralytics.args)
            sample = loader.dataset[0]
            large = sample["masks"][int(sample["cls"].flatten().argmin())].float()
            box = sample["bboxes"][int(sample["cls"].flatten().argmin())]
            area = float(box[2] * box[3]) * large.numel()
            seen.append((len(sample["masks"]), float(large.sum()) / area))

    fitted = trainer.fit(data, weights(tmp_path, architecture, "segment"), settings(), watching(tmp_path, look), None)
    assert [things for things, _ in seen] == [2, 2], "a mask a thing"
    assert all(filled > 0.9 for _, filled in seen), "the plate under the sticker is whole"
    assert set(trainer.evaluate(fitted.weights, data, settings())) >= {"mAP50-95", "box mAP50-95"}
