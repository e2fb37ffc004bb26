"""ultralytics itself, in short trainings on real photographs: resume, time limit, memory, metrics."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.demo import samples
from jobs.train.checkpoints.spool import Epoch, Spool, TrainingAborted
from jobs.train.checkpoints.store import Resumed
from jobs.train.preset import training_data
from jobs.train.yolo import fitting
from jobs.train.yolo.machine import use_bfloat16
from jobs.train.yolo.trainer import YoloTrainer
from shared.digest import sha256_of
from shared.errors import ModelError
from shared.geometry.detections import xyxy_to_xywhn
from shared.labelstudio.config import parse_label_config
from shared.settings import Settings
from tests.fakes.train_parts import CONFIG, measured, training_settings, yolo_trainer

settings = partial(training_settings, epochs=3)
[TREES] = parse_label_config(CONFIG.replace('<Label value="Rock"/>', ""))
pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own; what the job does is seen by its results


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data.yaml of 12 tiles with trees, 4 of them for validation."""
    folder = tmp_path_factory.mktemp("dataset")
    for number, tile in enumerate(samples.tiles()[:12]):
        split = "val" if number % 3 == 0 else "train"
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        (folder / "images" / split / f"{number}.jpg").write_bytes(tile.data)
        rows = xyxy_to_xywhn(tile.boxes, tile.width, tile.height).tolist()
        lines = [f"0 {' '.join(map(str, row))}\n" for row in rows]
        (folder / "labels" / split / f"{number}.txt").write_text("".join(lines))
    content = {"path": str(folder), "train": "images/train", "val": "images/val", "names": ["Tree"]}
    (folder / "data.yaml").write_text(json.dumps(content))
    return folder / "data.yaml"


def test_train_resume_and_what_is_published(trainer: YoloTrainer, spool: Spool, data: Path, tmp_path: Path) -> None:
    start = trainer.base(samples.base_weights(), "detect")
    base = start.weights
    assert (start.name, start.sha256) == ("ABD.pt", sha256_of(base))
    twice = training_data(data, 2)  # as a training on few images does
    fitted = trainer.fit(twice, base, settings(), spool, None)
    epochs = list(spool.epochs())
    assert [(epoch.number, epoch.epochs) for epoch in epochs] == [(1, 3), (2, 3), (3, 3)]
    assert set(epochs[0].metrics) == {"precision", "recall", "mAP50", "mAP50-95"}
    assert (fitted.epochs, fitted.batch) == (3, 4)
    assert fitted.weights.stat().st_size < base.stat().st_size * 1.2, "the optimizer is not published"
    said = measured(trainer, fitted.weights, data, TREES, settings())
    best = max(epochs, key=lambda epoch: epoch.metrics["mAP50-95"])
    assert said["mAP50-95"] == pytest.approx(best.metrics["mAP50-95"], abs=0.02)

    # Another machine: nothing but the checkpoint of epoch 2 is there.
    elsewhere = YoloTrainer(
        tmp_path / "elsewhere", config_dir=tmp_path / "ultralytics", weights_folder=tmp_path, device="cpu"
    )
    second = replace(spool, folder=tmp_path / "spool-2")
    resumed = Resumed(spool.checkpoint(epochs[1]), spool.checkpoint(epochs[0]), 2, 3)
    again = elsewhere.fit(twice, base, settings(), second, resumed)
    assert [epoch.number for epoch in second.epochs()] == [3]
    assert again.epochs == 3

    # The last epoch's checkpoint: nothing is left to train, its best weights are taken.
    done = Resumed(spool.checkpoint(epochs[2]), spool.checkpoint(best), 3, 3)
    third = replace(spool, folder=tmp_path / "spool-3")
    assert trainer.fit(twice, base, settings(), third, done).epochs == 3
    assert not list(third.epochs())
    assert measured(trainer, tmp_path / "model" / "weights.pt", data, TREES, settings()) == said


def test_when_time_is_up_the_best_epoch_so_far_is_taken(trainer: YoloTrainer, spool: Spool, data: Path) -> None:
    late = replace(spool, stop_at=time.time())
    fitted = trainer.fit(data, samples.base_weights(), settings(epochs=50), late, None)
    assert fitted.epochs == 1
    assert measured(trainer, fitted.weights, data, TREES, settings())["recall"] >= 0


def test_abort_ends_it_at_once(trainer: YoloTrainer, spool: Spool, data: Path) -> None:
    spool.abort.touch()
    with pytest.raises(TrainingAborted):
        trainer.fit(data, samples.base_weights(), settings(), spool, None)
    assert not list(spool.epochs())


class Begun(Exception):
    """What a training is set to when it begins."""


@pytest.mark.parametrize("float32", [False, True])
def test_the_setting_says_whether_it_may_compute_in_fewer_bits(
    float32: bool, tmp_path: Path, spool: Spool, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(trainer: Any) -> None:
        raise Begun(trainer.args.amp, use_bfloat16 in trainer.callbacks["on_train_start"])

    monkeypatch.setattr(fitting, "use_default_sigmas", begin)
    environ = {"LABELLOOP_PRECISION": "float32" if float32 else "auto", "LABELLOOP_DEVICE": "cpu"}
    given = Settings.from_environ({"LABEL_STUDIO_URL": "http://studio.example"} | environ)
    with yolo_trainer(tmp_path, threads=1):
        trainer = YoloTrainer.of(given, tmp_path)
        with pytest.raises(Begun) as begun:
            trainer.fit(data, samples.base_weights(), settings(), spool, None)
    assert begun.value.args == (not float32, not float32)


class Full(Spool):
    """The device's memory is full once, in the second epoch: ultralytics itself helps in the first one only."""

    def callbacks(self) -> dict[str, Any]:
        return super().callbacks() | {"on_train_batch_start": self.on_batch_start}

    def on_batch_start(self, trainer: Any) -> None:
        if trainer.epoch == 1 and trainer.batch_size > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_out_of_memory_halves_the_batch_and_goes_on(trainer: YoloTrainer, spool: Spool, data: Path) -> None:
    full = Full(spool.folder, spool.abort, spool.stop_at)
    fitted = trainer.fit(data, samples.base_weights(), settings(), full, None)
    assert (fitted.epochs, fitted.batch) == (3, 2)
    epochs: list[Epoch] = list(full.epochs())
    assert [epoch.number for epoch in epochs] == [1, 2, 3]


class AlwaysFull(Spool):
    """Not even one image fits."""

    def callbacks(self) -> dict[str, Any]:
        return super().callbacks() | {"on_train_epoch_start": self.on_epoch_start}

    def on_epoch_start(self, trainer: Any) -> None:
        raise RuntimeError("CUDA out of memory")


def test_too_little_memory_for_one_image_fails_with_advice(trainer: YoloTrainer, spool: Spool, data: Path) -> None:
    full = AlwaysFull(spool.folder, spool.abort, spool.stop_at)
    with pytest.raises(ModelError, match="LABELLOOP_IMAGE_SIZE"):
        trainer.fit(data, samples.base_weights(), settings(batch=2), full, None)


def test_bad_base_weights(trainer: YoloTrainer, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such file"):
        trainer.prepare(str(tmp_path / "nothing.pt"))
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="holds no model"):
        trainer.base(broken, "detect")
    outlines = trainer.base(samples.base_weights(), "segment")
    for yolo_task in ("detect", "pose"):
        with pytest.raises(ModelError, match=f"for segment, the control needs {yolo_task}: set LABELLOOP_BASE_WEIGHTS"):
            trainer.base(outlines.weights, yolo_task)


def test_base_weights_that_call_something_are_not_opened(trainer: YoloTrainer, tmp_path: Path) -> None:
    import torch

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "evil was here",))

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match=r"evil\.pt holds no model .* references types outside"):
        trainer.base(tmp_path / "evil.pt", "detect")
    assert not (tmp_path / "evil was here").exists()


def test_a_version_that_nobody_can_load(trainer: YoloTrainer, tmp_path: Path) -> None:
    trainer.check(samples.base_weights(), "detect")
    with pytest.raises(ModelError, match="is for detect, its manifest says segment"):
        trainer.check(samples.base_weights(), "segment")
    whole = samples.base_weights().read_bytes()
    for number, data in enumerate((b"", b"no model", whole[: len(whole) // 2])):
        (tmp_path / f"{number}.pt").write_bytes(data)
        with pytest.raises(ModelError, match="cannot be loaded"):
            trainer.check(tmp_path / f"{number}.pt", "detect")


def test_base_weights_of_an_architecture_that_has_no_such_task(trainer: YoloTrainer, tmp_path: Path) -> None:
    from ultralytics.models import YOLO

    path = tmp_path / "unusual.pt"
    YOLO("yolov10n.yaml").save(path)
    with pytest.raises(ModelError, match=r"unusual\.pt are weights for detect.*no such architecture for obb"):
        trainer.base(path, "obb")


def test_the_light_half_of_the_job_needs_no_torch() -> None:
    """A second copy must find out that it has nothing to do before it imports gigabytes."""
    code = "import sys, jobs.train.run, jobs.train.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0
