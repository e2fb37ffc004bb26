"""The mean of two files of weights, by torch and ultralytics."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.train.yolo.trainer import YoloTrainer
from jobs.train.yolo.weights import open_weights
from shared.inference.graph import read_graph
from tests.fakes.train_parts import yolo_trainer
from tests.samples.yolo_weights import make_weights, untrained_weights

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[YoloTrainer]:
    with yolo_trainer(tmp_path_factory.mktemp("trainer"), threads=1) as ready:
        yield ready


def weights(folder: Path, name: str, **made: Any) -> Path:
    folder = folder / name
    folder.mkdir()
    return make_weights(folder, "yolo26n", "detect", **made)


def test_each_tensor_is_the_mean_of_both(trainer: YoloTrainer, tmp_path: Path) -> None:
    start, learnt = (weights(tmp_path, f"seed-{seed}", seed=seed) for seed in (1, 2))
    mean = trainer.mean(start, learnt, tmp_path / "mean")
    assert mean is not None
    then, now, between = (open_weights(path).model.float().state_dict() for path in (start, learnt, mean))
    kinds = set()
    for name, tensor in between.items():
        if tensor.is_floating_point():
            assert tensor.allclose((then[name] + now[name]) / 2, rtol=2e-3, atol=1e-3), "files hold half precision"
            kinds.add(name.rpartition(".")[2])
    assert {"weight", "bias", "running_mean", "running_var"} <= kinds
    graphs = [read_graph(trainer.export(path, tmp_path / "graphs" / path.parent.name)) for path in (learnt, mean)]
    assert graphs[0] == graphs[1], "the same size of pictures, the same classes"


def test_what_has_other_classes_or_another_architecture_has_no_mean(trainer: YoloTrainer, tmp_path: Path) -> None:
    learnt = weights(tmp_path, "learnt")
    for start in (weights(tmp_path, "other", names=("Tree",)), untrained_weights(tmp_path, "yolov8n")):
        assert trainer.mean(start, learnt, tmp_path / "mean") is None
