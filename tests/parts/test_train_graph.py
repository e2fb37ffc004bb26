"""The graph of weights, by ultralytics' real exporter: what it says of itself, what is measured, when it is refused."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from ultralytics.utils import ASSETS

from jobs.train.data.yolo_labels import label_lines
from jobs.train.evidence import Found
from jobs.train.training import Contender, Measured
from jobs.train.yolo import graph as graphs
from jobs.train.yolo.graph import make_graph
from jobs.train.yolo.trainer import YoloTrainer
from shared.errors import ModelError, SettingsError
from shared.evolve import evolve
from shared.inference.device import choose_device, open_engine
from shared.inference.graph import read_graph
from shared.inference.network import Network
from shared.labelstudio.config import parse_label_config
from shared.yolo.base_weights import SUFFIXES
from shared.yolo.environment import ultralytics_environ
from shared.yolo_task import YoloTask
from tests.fakes.train_parts import training_settings, yolo_trainer
from tests.samples.yolo_weights import CLASSES, make_weights, untrained_weights

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own; what the job does is seen by its results
NAMES = ("n01440764", 'Trees: "old", and new')  # a label may look like a code of ImageNet
[CONTROL] = parse_label_config(
    '<View><Image name="i" value="$i"/><RectangleLabels name="label" toName="i"><Label value="n01440764"/>'
    '<Label value="Trees: &quot;old&quot;, and new"/></RectangleLabels></View>'
)
SETTINGS = training_settings(image_size=448, batch=1)


class Made(NamedTuple):
    """Weights, their graph, and a val set that shows what it finds."""

    weights: Path
    graph: Path
    data: Path


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[YoloTrainer]:
    with yolo_trainer(tmp_path_factory.mktemp("trainer"), threads=1) as ready:
        yield ready


@pytest.fixture(scope="module")
def made(trainer: YoloTrainer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, YoloTask], Made]:
    found: dict[str, Made] = {}

    def make(architecture: str, yolo_task: YoloTask) -> Made:
        if architecture not in found:
            folder = tmp_path_factory.mktemp(architecture)
            weights = make_weights(folder, architecture, yolo_task, names=NAMES)
            graph = trainer.export(weights, folder / "graph")
            found[architecture] = Made(weights, graph, val_set(folder, graph))
        return found[architecture]

    return make


def val_set(folder: Path, path: Path, *, times: tuple[float, float] = (0.7, 0.6), suffix: str = ".png") -> Path:
    """data.yaml of photographs on which a person drew what the graph is sure of. `times`: how wide, how high."""
    graph = read_graph(path)
    network = Network(open_engine(path, choose_device("cpu", threads=1, float32=True)), graph)
    for kind in ("images", "labels"):
        (folder / kind / "val").mkdir(parents=True)
    for name in ("bus", "zidane"):
        photograph = cv2.imread(str(ASSETS / f"{name}.jpg"))
        assert photograph is not None
        image = cv2.resize(photograph, None, fx=times[0], fy=times[1]).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / "val" / f"{name}{suffix}"), image)
        found = network.find(image, 0.1)
        lines = label_lines(replace(found, classes=found.classes % 2), graph.yolo_task)
        assert len(lines) > 2
        (folder / "labels" / "val" / f"{name}.txt").write_text("".join(lines))
    data = folder / "data.yaml"
    data.write_text(json.dumps({"val": "images/val", "names": NAMES}))
    return data


def measured(trainer: YoloTrainer, made: Made, weights: Path) -> Measured:
    return trainer.evaluate(Contender(made.graph, CONTROL, SETTINGS), made.data, weights)


def test_large_photographs_are_measured_in_the_pixels_that_predict_decodes(
    trainer: YoloTrainer, made: Any, tmp_path: Path
) -> None:
    graph = made("yolo26n", "detect").graph
    data = val_set(tmp_path, graph, times=(1.0, 1.0), suffix=".jpg")
    scores = []
    for reduced in (True, False):
        settings = evolve(SETTINGS, reduced_decoding=reduced)
        evidence = trainer.evaluate(Contender(graph, CONTROL, settings), data).evidence
        assert isinstance(evidence, Found)
        best = np.concatenate([outcome.overlap.max(axis=1) for outcome in evidence.outcomes])
        assert np.median(best) > 0.6, "in pixels of the half it would be less than 0.3"
        scores.append(np.sort(np.concatenate([outcome.scores for outcome in evidence.outcomes]))[-20:])
    assert (scores[0] != scores[1]).any(), "other pixels"


def test_what_a_graph_says_of_itself(made: Any) -> None:
    import onnx

    weights, graph, _ = made("yolo26n", "detect")
    model: Any = onnx.load(graph)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert ast.literal_eval(told["names"]) == {number: NAMES[number % 2] for number in range(CLASSES)}
    assert (told["task"], told["end2end"], told["imgsz"], told["stride"]) == ("detect", "False", "[448, 448]", "32")
    assert str(weights.parent) not in str(told)
    shown = model.graph.input[0].type.tensor_type.shape.dim
    assert [size.dim_param or size.dim_value for size in shown] == ["batch", 3, "height", "width"]


@pytest.mark.parametrize(
    ("family", "yolo_task"),
    [("yolo11n", "segment"), ("yolo12n", "obb"), ("yolo11n", "pose"), ("yolo12n", "classify")],
)
def test_other_families_have_graphs_that_answer_as_the_weights(
    trainer: YoloTrainer, tmp_path: Path, family: str, yolo_task: YoloTask
) -> None:
    """Their heads are those of YOLOv8; these, those of YOLO26, and what all four detect, are in test_inference.py."""
    weights = untrained_weights(tmp_path, family + SUFFIXES[yolo_task])
    prepared = trainer.prepare(str(weights))  # raises if the outputs differ
    assert (prepared.yolo_task, len(prepared.names) > 1) == (yolo_task, True)
    graph = read_graph(prepared.graph)
    assert (graph.image_size, graph.end_to_end) == (64, False)
    assert graph.point_shape == ((17, 3) if yolo_task == "pose" else (0, 0))


@pytest.mark.parametrize(
    ("architecture", "yolo_task"), [("yolo26n", "detect"), ("yolov8n-obb", "obb"), ("yolov8n-seg", "segment")]
)
def test_a_graph_is_measured_by_what_it_finds(
    trainer: YoloTrainer, made: Any, architecture: str, yolo_task: YoloTask
) -> None:
    """What was drawn is what predict finds: nothing is lost or moved on the way through label files."""
    one = made(architecture, yolo_task)
    evidence = measured(trainer, one, one.weights).evidence
    assert evidence.score(np.ones((1, 2))) == pytest.approx(1.0, abs=0.03)


def test_a_graph_that_finds_something_else_than_its_weights_is_refused(
    trainer: YoloTrainer, made: Any, tmp_path: Path
) -> None:
    from ultralytics.models import YOLO

    one = made("yolo26n", "detect")
    other: Any = YOLO(one.weights)
    other.model.model[-1].cv3[0][-1].bias.data += 1  # of the confidences that the first of three scales finds
    other.save(tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"so nothing is published: .* mAP50-95 is .*, that of the weights 0\.\d+"):
        measured(trainer, one, tmp_path / "other.pt")


def test_what_rounding_may_do_and_what_costs_nothing_is_published(
    trainer: YoloTrainer, made: Any, tmp_path: Path
) -> None:
    from ultralytics.models import YOLO

    one = made("yolo26n", "detect")
    other: Any = YOLO(one.weights)
    other.model.model[-1].cv3[0][-1].bias.data += 1e-3  # ten times what rounding is; all scores, in the same order
    other.save(tmp_path / "other.pt")
    assert measured(trainer, one, tmp_path / "other.pt").known == (0, 1)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "too little memory"),
        (MemoryError(), "too little memory"),
        (ValueError("no such operator"), "ValueError: no such operator"),
    ],
)  # fmt: skip
def test_what_goes_wrong_in_the_exporter_is_said(
    made: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    from ultralytics.utils.callbacks.base import default_callbacks

    def fail(exporter: Any) -> None:
        raise error

    monkeypatch.setitem(default_callbacks, "on_export_start", [fail])
    with pytest.raises(ModelError, match=f"cannot be written as a graph, nothing is published: .*{said}"):
        make_graph(made("yolo26n", "detect").weights)


def test_a_missing_package_is_said_before_the_training(
    trainer: YoloTrainer, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = made("yolo26n", "detect").weights
    trainer.check(weights, "detect")
    monkeypatch.setattr(graphs, "find_spec", lambda name: None if name == "openvino" else name)
    for ask in (lambda: trainer.base(weights, "detect"), lambda: trainer.check(weights, "detect")):
        with pytest.raises(SettingsError, match=r"package openvino: install labelloop\[train\]"):
            ask()


def test_onnx_runtime_leaves_and_sends_nothing(made: Any, tmp_path: Path) -> None:
    """It would send what it runs to its maker; then a session file and an id of the machine are left, too."""
    home = tmp_path / "home"
    home.mkdir()
    code = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"
    environ = {"PATH": os.defpath, "HOME": str(home), "TMPDIR": str(home)} | ultralytics_environ(tmp_path / "settings")
    subprocess.run([sys.executable, "-c", code, made("yolo26n", "detect").graph], env=environ, cwd=home, check=True)
    assert list(home.rglob("*")) == []
