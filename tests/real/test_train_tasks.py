"""ultralytics itself, in a short training of each YOLO task: from regions on drawn pictures to weights."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from infra.demo.drawn import ENDS, KINDS, calls, pictures, portraits, videos
from infra.demo.regions import annotated
from infra.demo.samples import Sample, base_weights
from jobs.train.checkpoints.spool import Spool
from jobs.train.checkpoints.store import Resumed
from jobs.train.data.dataset import Dataset, build
from jobs.train.data.files import ImageFiles
from jobs.train.data.samples import Views
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.evidence import Found
from jobs.train.preset import training_data
from jobs.train.training import Contender
from jobs.train.yolo.trainer import YoloTrainer
from shared.digest import sha256_of
from shared.evolve import evolve
from shared.geometry.tiles import Tiling
from shared.inference.graph import read_graph
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.yolo_task import YoloTask
from tests.fakes.train_parts import measured, training_settings

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own; what the job does is seen by its results

SIDE, TRAIN, VAL = 96, 12, 6
BOXES = {"precision", "recall", "mAP50", "mAP50-95"}
SHAPES = BOXES | {"box mAP50-95"}
SETTINGS = training_settings(epochs=8, image_size=SIDE, freeze=10)


def control_of(tag: str, attributes: str = "", *, item: str = "Label", names: Sequence[str] = KINDS) -> Control:
    """The only control of a config."""
    inner = "".join(f'<{item} value="{name}"/>' for name in names)
    shown = "Video" if tag == "TimelineLabels" else "Image"
    [control] = parse_label_config(
        f'<View><{shown} name="v" value="$file" frameRate="10"/>'
        f'<{tag} name="label" toName="v" {attributes}>{inner}</{tag}></View>'
    )
    return control


@dataclass(frozen=True)
class Case:
    """One YOLO task: its control, and what is measured."""

    yolo_task: YoloTask
    control: Control
    metrics: set[str]
    base: str
    learnt: tuple[str, float]  # what eight epochs reach in any case


CASES = [
    Case("obb", control_of("RectangleLabels", 'model_obb="true"'), BOXES, "yolov8n-obb from ABD.pt", ("mAP50", 0.3)),
    Case("segment", control_of("PolygonLabels"), SHAPES, "yolov8n-seg from ABD.pt", ("box mAP50-95", 0.1)),
    Case("pose", control_of("KeyPointLabels", names=ENDS), SHAPES, "yolov8n-pose from ABD.pt", ("box mAP50-95", 0.05)),
    Case("classify", control_of("Choices", item="Choice"), {"top1", "top5"}, "yolov8n-cls from ABD.pt", ("top1", 0.7)),
]


class Files:
    """Answers the file of a task."""

    def __init__(self, drawn: Sequence[Sample]) -> None:
        self._drawn = drawn

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:
        """A picture or a video."""
        assert task_id is not None
        return self._drawn[task_id].data


def tasks_of(drawn: Sequence[Sample], control: Control, val: int) -> list[SnapshotTask]:
    return [
        SnapshotTask(
            id=number,
            annotation=number,
            updated_at=None,
            split="val" if number < val else "train",
            data={control.value: "drawn"},
            regions=annotated(sample, control),
        )
        for number, sample in enumerate(drawn)
    ]


def dataset_of(drawn: Sequence[Sample], control: Control, val: int, folder: Path) -> Dataset:
    files = ImageFiles(Files(drawn), folder / "pictures", max_pixels=10**6)
    tasks = tasks_of(drawn, control, val)
    dataset = build(tasks, control, files, folder / "dataset", check=lambda: None)
    assert dataset is not None
    return dataset


@pytest.mark.parametrize("case", CASES, ids=[case.yolo_task for case in CASES])
def test_each_task_is_trained_measured_and_resumed(
    case: Case, trainer: YoloTrainer, spool: Spool, tmp_path: Path
) -> None:
    classifies = case.yolo_task == "classify"
    drawn = portraits(TRAIN + VAL, SIDE, SIDE) if classifies else pictures(TRAIN + VAL, SIDE, SIDE, max_ships=1)
    dataset = dataset_of(drawn, case.control, VAL, tmp_path)
    start = trainer.base(base_weights(), case.yolo_task)
    assert (start.name, start.sha256) == (case.base, sha256_of(base_weights()))
    settings = evolve(SETTINGS, freeze=0) if classifies else SETTINGS
    fitted = trainer.fit(dataset.data, start.weights, settings, spool, None)
    epochs = list(spool.epochs())
    assert [epoch.number for epoch in epochs] == list(range(1, 9))
    assert all(set(epoch.metrics) == case.metrics for epoch in epochs)
    assert names_and_task(fitted.weights) == (dict(enumerate(case.control.class_names)), case.yolo_task)
    told = metadata(trainer.export(fitted.weights, tmp_path / "graph"))
    assert ast.literal_eval(told["names"]) == dict(enumerate(case.control.class_names))
    assert told["task"] == case.yolo_task
    if case.yolo_task == "pose":
        assert ast.literal_eval(told["kpt_names"]) == {0: list(case.control.point_names)}

    said = measured(trainer, fitted.weights, dataset.data, case.control, SETTINGS)
    best = next(epoch for epoch in reversed(epochs) if epoch.best)
    if classifies:
        assert said["top1"] == pytest.approx(best.metrics["top1"], abs=0.05)
    else:  # ultralytics validates with a border of 16 pixels all round, which predict does not make: much of 96
        assert {"mAP50", "mAP50-95", "saved"} <= set(said)
    metric, least = case.learnt
    assert best.metrics[metric] > least

    # Another machine, where nothing but the checkpoint of epoch 7 is.
    elsewhere = YoloTrainer(
        tmp_path / "elsewhere", config_dir=tmp_path / "ultralytics", weights_folder=tmp_path, device="cpu"
    )
    second = replace(spool, folder=tmp_path / "spool-2")
    resumed = Resumed(spool.checkpoint(epochs[6]), None, 7, 8)
    again = elsewhere.fit(dataset.data, start.weights, SETTINGS, second, resumed)
    assert [epoch.number for epoch in second.epochs()] == [8]

    # The next version begins with this one. A classifier has fewer layers than SETTINGS freeze.
    third = replace(spool, folder=tmp_path / "spool-3")
    next_one = trainer.fit(dataset.data, again.weights, evolve(SETTINGS, epochs=1), third, None)
    assert names_and_task(next_one.weights) == (dict(enumerate(case.control.class_names)), case.yolo_task)


def test_pictures_are_learnt_from_in_tiles_and_measured_whole(
    trainer: YoloTrainer, spool: Spool, tmp_path: Path
) -> None:
    drawn, control = pictures(4, 160, 160, max_ships=1), control_of("RectangleLabels")
    tiling = Tiling(SIDE, 40)
    files = ImageFiles(Files(drawn), tmp_path / "pictures", max_pixels=10**6, image_size=SIDE)
    tasks, views = tasks_of(drawn, control, 2), Views(tiling, ("val",))
    dataset = build(tasks, control, files, tmp_path / "dataset", check=lambda: None, views=views)
    assert dataset is not None
    assert dataset.counts.tiles == dataset.counts.train_images - 2 > 2
    start = trainer.base(base_weights(), "detect").weights
    fitted = trainer.fit(training_data(dataset.data, 1), start, evolve(SETTINGS, epochs=1), spool, None)
    scanned = {cache.stem for cache in (tmp_path / "dataset" / "labels").glob("*.cache")}
    assert scanned == {"train", "val-tiles"}, "epochs are measured on what is learnt from"
    graph = trainer.export(fitted.weights, tmp_path / "graph", tiling)
    assert read_graph(graph).tiling == tiling
    contender = Contender(graph, control, SETTINGS)
    evidence = trainer.evaluate(contender, dataset.data, fitted.weights).evidence
    assert isinstance(evidence, Found)
    assert [(each.picture, each.size) for each in evidence.outcomes] == [(f"{task}.jpg", (160, 160)) for task in (0, 1)]


def metadata(graph: Path) -> dict[str, str]:
    import onnx

    return {entry.key: entry.value for entry in onnx.load(graph).metadata_props}


def names_and_task(weights: Path) -> tuple[dict[int, str], str]:
    from ultralytics.models import YOLO

    model: Any = YOLO(str(weights))
    return model.model.names, model.task


def test_things_in_videos_are_learnt_and_followed(trainer: YoloTrainer, spool: Spool, tmp_path: Path) -> None:
    labels = "".join(f'<Label value="{kind}"/>' for kind in KINDS)
    [control] = parse_label_config(
        '<View><Video name="v" value="$file" frameRate="10"/><VideoRectangle name="label" toName="v"/>'
        f'<Labels name="kind" toName="v">{labels}</Labels></View>'
    )
    drawn = videos(3, SIDE, SIDE, frames=12)
    dataset = dataset_of(drawn, control, 1, tmp_path)
    assert (dataset.counts.train, dataset.counts.train_images, dataset.counts.val_objects) == (2, 24, 24)
    few = evolve(SETTINGS, epochs=2)
    fitted = trainer.fit(dataset.data, trainer.base(base_weights(), "detect").weights, few, spool, None)
    files = ImageFiles(Files(drawn), tmp_path / "pictures", max_pixels=10**6)
    film = tasks_of(drawn, control, 1)[0], files.file(0, "file", "drawn")
    assert "mAP50-95" in measured(trainer, fitted.weights, dataset.data, control, few)
    graph = trainer.export(fitted.weights, tmp_path / "graph")
    followed = trainer.track(Contender(graph, control, few), [film], max_pixels=10**6)
    assert set(followed["0"].scores()) == {"IDF1", "MOTA"}


def test_moments_of_videos_are_classes_and_so_is_the_time_outside_of_them(
    trainer: YoloTrainer, spool: Spool, tmp_path: Path
) -> None:
    control = control_of("TimelineLabels")
    drawn = calls(3, SIDE, SIDE, frames=12)
    tasks = tasks_of(drawn, control, 1)
    tasks[2] = evolve(tasks[2], regions=[])
    files = ImageFiles(Files(drawn), tmp_path / "pictures", max_pixels=10**6)
    dataset = build(tasks, control, files, tmp_path / "dataset", check=lambda: None)
    assert dataset is not None
    assert (dataset.labels, dataset.counts.train_objects, dataset.counts.val_objects) == (KINDS, 24, 12)
    start = trainer.base(base_weights(), "classify").weights
    fitted = trainer.fit(dataset.data, start, evolve(SETTINGS, epochs=1), spool, None)
    assert names_and_task(fitted.weights) == ({0: "Cargo", 1: "Mail", 2: ""}, "classify")
    said = measured(trainer, fitted.weights, dataset.data, control, SETTINGS)
    assert set(said) == {"balanced accuracy", "top1"}
