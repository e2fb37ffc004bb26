"""How a training learns, by the number of its images: how long, how fast, in steps of how many (docs/small-data.md)."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from jobs.train.data.yolo_dataset import TILES
from jobs.train.training import TrainingSettings
from shared.evolve import evolve
from shared.yolo_task import YoloTask

_LOOKS = 600  # in a training on few images: how often any image is looked at, in all epochs
_EPOCH = 24  # looks in an epoch, at least: each epoch is measured and kept, which takes as long as a few looks
_EPOCHS = 50  # of trainings on more images
_BATCH = 4  # images a step, while an epoch has few
_LEARNING_RATE = 0.0005  # meanwhile; ultralytics takes 0.002 for one class
_POSE_LEARNING_RATE = 0.002  # most base weights know none of the points, so what finds them learns from nothing
FEW = 64  # images
_SOME = 256  # of fewer, but not few: half as many epochs, in small steps; of more, the batch is what the device holds
_SOME_EPOCHS = 25
_SOME_BATCH = 8


@dataclass(frozen=True, slots=True)
class Preset:
    """What is chosen by the number of images; what the settings say stays."""

    epochs: int
    batch: int  # 0: by the device's memory
    passes: int  # how often an epoch looks at each image
    learning_rate: float = 0.0  # at most; 0: ultralytics' own

    def applied(self, settings: TrainingSettings) -> TrainingSettings:
        """The settings with it."""
        return evolve(settings, epochs=self.epochs, batch=self.batch, learning_rate=self.learning_rate)


def preset(settings: TrainingSettings, images: int, yolo_task: YoloTask) -> Preset:
    """`images`: to learn from, at least one."""
    batch = settings.batch or (_BATCH if images < FEW else 0)
    if settings.epochs or yolo_task == "classify":
        return Preset(settings.epochs or _EPOCHS, batch, 1)
    if images >= FEW:
        some = images < _SOME
        return Preset(_SOME_EPOCHS if some else _EPOCHS, settings.batch or (_SOME_BATCH if some else 0), 1)
    passes = max(1, math.ceil(_EPOCH / images))
    epochs = max(math.ceil(_LOOKS / (passes * images)), _EPOCHS if passes == 1 else 1)
    return Preset(epochs, batch, passes, _POSE_LEARNING_RATE if yolo_task == "pose" else _LEARNING_RATE)


def training_data(data: Path, passes: int) -> Path:
    """The data.yaml that the training reads, beside `data`: an epoch looks at each image `passes` times.

    Where pictures are cut into tiles, epochs are measured on tiles too, those of the val set: on small copies of whole
    pictures the best one would be chosen by what nobody is shown. The gate measures on whole pictures.
    """
    described = json.loads(data.read_text(encoding="utf-8"))
    tiles = Path(described["val"]).with_name(TILES)
    more: dict[str, object] = {"val": str(tiles)} if (data.parent / tiles).is_dir() else {}
    if passes > 1:
        more["train"] = [described["train"]] * passes
    if not more:
        return data
    path = data.with_name("training.yaml")
    path.write_text(json.dumps(described | more), encoding="utf-8")
    return path
