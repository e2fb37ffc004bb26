"""What ultralytics makes of a dataset before its first step: nothing that was drawn is changed or lost in silence."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.train.checkpoints.spool import Spool, TrainingAborted
from jobs.train.data.yolo_dataset import POINT_SIGMA
from jobs.train.yolo.trainer import YoloTrainer
from shared.labelstudio.config import parse_label_config
from shared.yolo_task import YoloTask
from tests.fakes.train_parts import CONFIG, measured, training_settings, yolo_trainer
from tests.samples.yolo_weights import make_weights

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own; what the job does is seen by its results

[DRAWN] = parse_label_config(CONFIG.replace("Tree", "a").replace("Rock", "b"))
SIDE = 64
SQUARE = "0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9"
INNER = "0.3 0.3 0.7 0.3 0.7 0.7 0.3 0.7"


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

    fitted = trainer.fit(
        data, weights(tmp_path, architecture, "segment"), training_settings(), watching(tmp_path, look), None
    )
    assert [objects for objects, _ in seen] == [2, 2], "a mask a thing"
    assert all(filled > 0.9 for _, filled in seen), "the plate under the sticker is whole"
    assert "mAP50-95" in measured(trainer, fitted.weights, data, DRAWN, training_settings())


def test_a_training_and_a_validation_take_the_threads_that_are_asked_for(tmp_path: Path) -> None:
    import torch

    threads = torch.get_num_threads()
    data = dataset(tmp_path / "data", f"0 {SQUARE}\n")
    seen: list[int] = []
    with yolo_trainer(tmp_path, threads=3) as trainer:
        spool = watching(tmp_path, lambda _: seen.append(torch.get_num_threads()))
        fitted = trainer.fit(data, weights(tmp_path, "yolov8n", "detect"), training_settings(), spool, None)
        measured(trainer, fitted.weights, data, DRAWN, training_settings())
        seen.append(torch.get_num_threads())
    torch.set_num_threads(threads)
    assert seen == [3, 3]


def heads(network: Any) -> list[Any]:
    """The layers that have a row a class."""
    head = network.model[-1]
    if hasattr(head, "linear"):
        return [head.linear]
    return [layers[-1] for name in ("cv3", "one2one_cv3") for layers in getattr(head, name, None) or ()]


@pytest.mark.parametrize(
    ("architecture", "yolo_task"),
    [
        ("yolov8n", "detect"),
        ("yolo11n-seg", "segment"),
        ("yolo12n", "detect"),
        ("yolo26n", "detect"),
        ("yolo26n-obb", "obb"),
        ("yolo26n-seg", "segment"),
        ("yolov10n", "detect"),
    ],
)
def test_a_label_begins_as_the_class_of_exactly_that_name(
    trainer: YoloTrainer, tmp_path: Path, architecture: str, yolo_task: YoloTask
) -> None:
    """`a` is not `A`, in whatever order; a class that `predicted_values` name is the label; what is new is new."""
    import torch

    held = (*(f"class {number}" for number in range(143)), "a", "A", "b", "car")
    path = weights(tmp_path, architecture, yolo_task, names=held)
    labels = ("A", "b", "Vehicle", "a", "B")
    data = dataset(
        tmp_path / "data",
        f"0 {SQUARE}\n" if yolo_task != "detect" else "0 0.5 0.5 0.5 0.5\n",
        names=labels,
        control={"predicted_values": {"Vehicle": ["lorry", "car"]}},
    )
    from ultralytics.models import YOLO

    source: Any = YOLO(str(path))
    seen: list[list[Any]] = []

    def look(ultralytics: Any) -> None:
        for network in (ultralytics.model, ultralytics.ema.ema):
            seen.append([(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in heads(network)])
        raise TrainingAborted("all is seen")

    with pytest.raises(TrainingAborted):
        trainer.fit(data, path, training_settings(), watching(tmp_path, look), None)
    before = heads(source.model.float())
    assert len(seen) == 2
    for layers in seen:
        assert len(layers) == len(before) >= 3
        for (weight, bias), old in zip(layers, before, strict=True):
            assert weight.shape[0] == len(labels)
            for row, label in ((0, "A"), (1, "b"), (2, "car"), (3, "a")):
                torch.testing.assert_close(weight[row], old.weight[held.index(label)], atol=1e-3, rtol=1e-2)
                torch.testing.assert_close(bias[row], old.bias[held.index(label)], atol=1e-2, rtol=1e-2)
            assert not any(torch.allclose(weight[4], row) for row in old.weight), "B is new"


def test_a_classifier_begins_with_what_it_knows(trainer: YoloTrainer, tmp_path: Path) -> None:
    import torch
    from ultralytics.models import YOLO

    held = (*(f"class {number}" for number in range(145)), "a", "A")
    path = weights(tmp_path, "yolov8n-cls", "classify", names=held)
    source: Any = YOLO(str(path))
    folder = tmp_path / "data"
    for split in ("train", "val"):
        for number in range(2):
            (folder / split / f"class{number:06d}").mkdir(parents=True)
            for image in range(2):
                pixels = np.random.default_rng(image).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / f"class{number:06d}" / f"{number}-{image}.png")
    described = {"path": str(folder), "train": "train", "val": "val", "names": ["A", "a"]}
    (folder / "data.yaml").write_text(json.dumps(described))
    seen: list[Any] = []

    def look(ultralytics: Any) -> None:
        seen.append(heads(ultralytics.model)[0].weight.detach().clone())
        raise TrainingAborted("all is seen")

    with pytest.raises(TrainingAborted):
        trainer.fit(folder / "data.yaml", path, training_settings(), watching(tmp_path, look), None)
    old = heads(source.model.float())[0].weight
    torch.testing.assert_close(seen[0], old[[146, 145]], atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize(("labels", "share"), [(("turn left", "turn right"), 0.0), (("Tree", "Rock"), 0.5)])
def test_sides_are_not_mirrored_and_the_manifest_says_so(
    trainer: YoloTrainer, tmp_path: Path, labels: tuple[str, str], share: float
) -> None:
    data = dataset(tmp_path / "data", "0 0.5 0.5 0.5 0.5\n", names=labels)
    seen: list[list[float]] = []

    def look(ultralytics: Any) -> None:
        steps = ultralytics.train_loader.dataset.transforms.transforms
        seen.append([step.p for step in steps if hasattr(step, "direction")])

    start = weights(tmp_path, "yolov8n", "detect")
    fitted = trainer.fit(data, start, training_settings(epochs=2), watching(tmp_path, look), None)
    assert seen == [[0.0, share]]
    assert fitted.arguments["fliplr"] == share
    assert bool(fitted.notes) == (share == 0.0)
    assert (fitted.arguments["nms"], fitted.arguments["overlap_mask"], fitted.arguments["max_det"]) == (
        None,
        False,
        300,
    )


def test_the_last_epochs_of_a_short_training_are_whole_images(trainer: YoloTrainer, tmp_path: Path) -> None:
    data = dataset(tmp_path / "data", "0 0.5 0.5 0.5 0.5\n")
    mosaics: list[float] = []

    def look(ultralytics: Any) -> None:
        first = ultralytics.train_loader.dataset.transforms.transforms[0].transforms[0]
        mosaics.append(first.p)

    start = weights(tmp_path, "yolov8n", "detect")
    trainer.fit(data, start, training_settings(epochs=3), watching(tmp_path, look, "on_train_epoch_end"), None)
    assert mosaics == [1.0, 1.0, 0.0]


def test_points_are_measured_more_strictly_than_they_are_learnt(trainer: YoloTrainer, tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "kpt_shape": [2, 3],
        "kpt_names": {"0": ["nose", "tail"]},
        "kpt_oks_sigmas": [POINT_SIGMA] * 2,
    }
    data = dataset(tmp_path / "data", "0 0.5 0.5 0.5 0.5 0.3 0.3 2 0.7 0.7 2\n", names=("Ship",), **more)
    seen: list[Any] = []

    def look(ultralytics: Any) -> None:
        seen.append((ultralytics.model.criterion.keypoint_loss.sigmas.tolist(), ultralytics.validator.sigma.tolist()))

    start = weights(tmp_path, "yolov8n-pose", "pose")
    fitted = trainer.fit(data, start, training_settings(), watching(tmp_path, look, "on_fit_epoch_end"), None)
    assert seen[0] == ([0.5, 0.5], pytest.approx([POINT_SIGMA] * 2))
    assert fitted.arguments["fliplr"] == 0.0
    assert "points" in fitted.notes[0]


@pytest.mark.parametrize(("sigma", "two", "ten"), [(0.5, 10, 10), (POINT_SIGMA, 10, 7)])
def test_an_error_of_ten_pixels_counts_at_fewer_thresholds_than_one_of_two(sigma: float, two: int, ten: int) -> None:
    """Two points of an object of 80 × 80 pixels; ultralytics' own sigma of them is 0.5."""
    import torch
    from ultralytics.utils.metrics import kpt_iou

    truth = torch.tensor([[[20.0, 20.0, 2.0], [60.0, 60.0, 2.0]]])
    area = torch.tensor([80.0 * 80.0 * 0.53])
    thresholds = np.linspace(0.5, 0.95, 10)
    for error, counted in ((2.0, two), (10.0, ten)):
        found = truth + torch.tensor([error, 0.0, 0.0])
        assert int((float(kpt_iou(truth, found, area, [sigma] * 2)) >= thresholds).sum()) == counted


def test_what_ultralytics_leaves_aside_is_said(trainer: YoloTrainer, tmp_path: Path) -> None:
    """Two objects in one place, one that is too thin to be learnt, more of them than are shown, and a broken file."""
    thin = "1 0.5 0.5 0.9 0.01\n"
    data = dataset(tmp_path / "data", "0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5\n" + thin, images=5)
    (tmp_path / "data" / "labels" / "train" / "0.txt").write_text("0 7 7 7 7\n")
    spool = Spool(tmp_path / "spool", tmp_path / "abort", time.time() + 3600)
    fitted = trainer.fit(data, weights(tmp_path, "yolov8n", "detect"), training_settings(max_objects=1), spool, None)
    assert len(fitted.notes) == 4
    assert fitted.notes[0].startswith("1 images could not be used by ultralytics; the first: 0.png")
    assert fitted.notes[1] == "9 objects are written twice and count once."
    assert fitted.notes[2].startswith("9 objects are 2 pixels wide or less at LABELLOOP_IMAGE_SIZE=64")
    assert "2 objects" in fitted.notes[3]


@pytest.mark.parametrize("folder", ["[a] b*c", "#1 100%", "a%20b", "ünï 漢"])
def test_folders_with_odd_names_are_trained_in(tmp_path: Path, folder: str) -> None:
    odd = tmp_path / folder
    odd.mkdir()
    data = dataset(odd / "data", "0 0.5 0.5 0.5 0.5\n")
    spool = Spool(odd / "spool", odd / "abort", time.time() + 3600)
    with yolo_trainer(odd, threads=1) as trainer:
        start = trainer.base(weights(odd, "yolov8n", "detect"), "detect")
        fitted = trainer.fit(data, start.weights, training_settings(), spool, None)
        assert "mAP50-95" in measured(trainer, fitted.weights, data, DRAWN, training_settings())
