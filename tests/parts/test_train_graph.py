"""The graph of trained weights, by ultralytics' real exporter: what it says of itself, and when it is refused."""

import ast
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from jobs.train.yolo import graph as graphs
from jobs.train.yolo.graph import check_agreement, export_graph, make_graph, val_pictures
from jobs.train.yolo.trainer import YoloTrainer
from shared.errors import ModelError, SettingsError
from shared.yolo.environment import ultralytics_environ
from tests.samples.yolo_weights import CLASSES, make_weights

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own; what the job does is seen by its results
NAMES = ("n01440764", 'Trees: "old", and new')  # a label may look like a code of ImageNet


class Made(NamedTuple):
    """Weights with two heads, their graph, and pictures of odd sizes."""

    weights: Path
    graph: Path
    data: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("graph")
    weights = make_weights(folder, "yolo26n", "detect", names=NAMES)
    (folder / "images" / "val").mkdir(parents=True)
    for number, size in enumerate([(90, 61), (64, 200)]):
        image = Image.frombytes("RGB", size, random.Random(number).randbytes(size[0] * size[1] * 3))
        image.save(folder / "images" / "val" / f"{number}.png")
    data = folder / "data.yaml"
    data.write_text(json.dumps({"val": "images/val"}))
    return Made(weights, export_graph(weights), data)


def test_what_a_graph_says_of_itself(made: Made) -> None:
    import onnx

    model: Any = onnx.load(made.graph)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert ast.literal_eval(told["names"]) == {number: NAMES[number % 2] for number in range(CLASSES)}
    assert (told["task"], told["end2end"], told["imgsz"], told["stride"]) == ("detect", "False", "[448, 448]", "32")
    assert str(made.weights.parent) not in str(told)
    shown = model.graph.input[0].type.tensor_type.shape.dim
    assert [size.dim_param or size.dim_value for size in shown] == ["batch", 3, "height", "width"]


def test_a_graph_that_answers_otherwise_is_refused(made: Made, tmp_path: Path) -> None:
    from ultralytics.models import YOLO

    pictures = val_pictures(made.data)
    assert len(pictures) == 2
    check_agreement(made.graph, made.weights, pictures)
    other: Any = YOLO(made.weights)
    other.model.model[-1].cv3[0][-1].bias.data += 0.1  # of the confidences that the first of three scales finds
    other.save(tmp_path / "other.pt")
    with pytest.raises(ModelError, match="does not answer as they do, so nothing is published: on 2 pictures"):
        check_agreement(made.graph, tmp_path / "other.pt", pictures)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "too little memory"),
        (MemoryError(), "too little memory"),
        (ValueError("no such operator"), "ValueError: no such operator"),
    ],
)  # fmt: skip
def test_what_goes_wrong_in_the_exporter_is_said(
    made: Made, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    from ultralytics.utils.callbacks.base import default_callbacks

    def fail(exporter: Any) -> None:
        raise error

    monkeypatch.setitem(default_callbacks, "on_export_start", [fail])
    with pytest.raises(ModelError, match=f"cannot be written as a graph, nothing is published: .*{said}"):
        make_graph(made.weights, made.data)


def test_a_missing_package_is_said_before_the_training(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = YoloTrainer(tmp_path, surroundings=tmp_path, weights_folder=tmp_path)
    trainer.check(made.weights, "detect")
    monkeypatch.setattr(graphs, "find_spec", lambda name: None if name == "onnxruntime" else name)
    for ask in (lambda: trainer.base(str(made.weights), "detect"), lambda: trainer.check(made.weights, "detect")):
        with pytest.raises(SettingsError, match=r"package onnxruntime: install labelloop\[train\]"):
            ask()


def test_onnx_runtime_leaves_and_sends_nothing(made: Made, tmp_path: Path) -> None:
    """It would send what it runs to its maker; then a session file and an id of the machine are left, too."""
    home = tmp_path / "home"
    home.mkdir()
    code = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"
    environ = {"PATH": os.defpath, "HOME": str(home), "TMPDIR": str(home)} | ultralytics_environ(tmp_path / "settings")
    subprocess.run([sys.executable, "-c", code, made.graph], env=environ, cwd=home, check=True)
    assert list(home.rglob("*")) == []
