"""`make demo CONTROL=tiles`: one large photograph, learnt from with tiles and without, by equally long trainings.

The left half is learnt from, the right half is what both versions are measured on: as the job trains and measures them,
without a Label Studio. The best epoch is chosen on the left half, so that nothing is known of the right one.
"""

import io
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.demo.controls import DEMOS
from infra.demo.pictures import draw_row
from infra.demo.regions import annotated
from infra.demo.samples import BASE_WEIGHTS, CACHE, Sample, base_weights, photograph
from infra.demo.screen import Screen
from infra.local.processes import StartError
from jobs.train.checkpoints.spool import Spool
from jobs.train.data.cutting import objects_in
from jobs.train.data.dataset import Dataset, build
from jobs.train.data.files import ImageFiles
from jobs.train.data.samples import Views
from jobs.train.data.snapshot import SnapshotTask
from jobs.train.data.split import Split
from jobs.train.data.tiling import Sizes, decide, sizes_of
from jobs.train.evidence import Found
from jobs.train.judging import metrics_of
from jobs.train.preset import training_data
from jobs.train.shown_choice import choose, kept
from jobs.train.training import Contender, TrainingSettings
from jobs.train.yolo.machine import prepare_ultralytics
from shared.evolve import evolve
from shared.geometry.detections import Detections
from shared.geometry.tiles import Tiling
from shared.labelstudio.controls import Control

NAME = "tiles"
IMAGE_SIZE = 320  # of which the trees have 12 in the whole half, so that `auto`, too, would cut it
SIDE = 320  # pixels of a tile
STEPS = 104  # of four images, in each of both trainings
_BATCH = 4
_LOOKS = 48  # at images, in an epoch: about
_SOURCE = (
    "A real image: an aerial photograph of the package deepforest, with the boxes that experts drew around its trees. "
    "Its left half is learnt from, its right half is held out."
)


@dataclass(frozen=True, slots=True)
class Way:
    """One training, and what its version finds in the half that was held out."""

    tiling: Tiling | None
    images: int  # learnt from: the half alone, or with its tiles
    looks: int  # at images, in an epoch
    steps: int
    seconds: float  # of the training
    metrics: Mapping[str, float]
    found: Detections  # that is shown, with the thresholds that its job would choose here
    graph: Path

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        side, overlap = (self.tiling.side, self.tiling.overlap) if self.tiling else (None, None)
        told = {"side": side, "overlap": overlap, "images": self.images, "steps": self.steps}
        return told | {"seconds": round(self.seconds, 1), "metrics": {k: round(v, 4) for k, v in self.metrics.items()}}


@dataclass(frozen=True, slots=True)
class Compared:
    """Both ways."""

    held_out: Sample
    sizes: Sizes  # of what is annotated in the half that is learnt from
    whole: Way
    tiled: Way

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"ratio": round(self.ratio, 3), "whole": self.whole.as_json(), "tiles": self.tiled.as_json()}

    @property
    def ratio(self) -> float:
        """mAP50 with tiles to that without."""
        return self.tiled.metrics.get("mAP50", 0.0) / max(self.whole.metrics.get("mAP50", 0.0), 1e-9)


class _Halves:
    """Answers the file of a task."""

    def __init__(self, files: Mapping[int, bytes]) -> None:
        self._files = files

    def fetch(self, value: object, *, task_id: int | None, deadline: float) -> bytes:  # noqa: ARG002  (of Fetcher)
        """A PNG file."""
        return self._files[task_id or 0]


def halves(cache: Path = CACHE) -> tuple[Sample, Sample]:
    """The left and the right half of the photograph, with the trees of which 40 % or more are in it. StartError."""
    image, boxes = photograph(cache=cache)
    whole = Detections.annotated(image.width, image.height, boxes, [0] * len(boxes), ("Tree",))
    middle, made = image.width // 2, []
    for name, window in (("left", (0, 0, middle, image.height)), ("right", (middle, 0, image.width, image.height))):
        file = io.BytesIO()
        image.crop(window).save(file, "PNG")
        made.append(Sample(name, ".png", file.getvalue(), (objects_in(whole, window)[0],)))
    return made[0], made[1]


def compare(
    folder: Path,
    *,
    side: str | int = SIDE,
    steps: int = STEPS,
    image_size: int = IMAGE_SIZE,
    seed: int = 0,
    samples: Path = CACHE,
    tell: Callable[[str], None] = lambda _: None,
) -> Compared:
    """Train and measure both. `folder`: new. `side`: pixels of a tile, or auto. Raises LabelloopError."""
    os.environ.update(prepare_ultralytics(folder / "ultralytics", threads=0))  # before anything imports torch
    left, right = halves(samples)
    control = DEMOS["detect"].control
    sizes = sizes_of([_task(1, left, control, "train")], control, 1)
    tiling = decide(side, sizes, image_size)
    if tiling is None:
        raise StartError(f"objects of {sizes.at(image_size):.0f} pixels need no tiles: name a side")
    settings = TrainingSettings(
        epochs=0,
        image_size=image_size,
        batch=_BATCH,
        learning_rate=0.0005,  # as of all small projects (docs/small-data.md)
        freeze=0,
        patience=10_000,
        val_fraction=0.5,
        seed=seed,
        base_weights=BASE_WEIGHTS,
        longest_run=1e6,
    )

    def way(name: str, views: Views, looks: int) -> Way:
        tell(f"{name}: {steps} steps of {_BATCH} images of {image_size} pixels")
        return _way(folder / name, views, control, (left, right), settings, steps, looks, samples)

    tiled = way("tiles", Views(tiling, ("val",)), _LOOKS)
    return Compared(right, sizes, way("whole", Views(None, ("val",)), tiled.looks), tiled)


def _way(
    folder: Path,
    views: Views,
    control: Control,
    samples: tuple[Sample, Sample],
    settings: TrainingSettings,
    steps: int,
    looks: int,
    cache: Path,
) -> Way:
    """`looks` at images, in an epoch: about."""
    from jobs.train.yolo.trainer import YoloTrainer

    left, right = samples
    images = ImageFiles(
        _Halves({1: left.data, 2: left.data, 3: right.data}),
        folder / "pictures",
        max_pixels=10**8,
        image_size=settings.image_size,
    )
    learnt, seen, unseen = (
        _task(1, left, control, "train"),
        _task(2, left, control, "val"),
        _task(3, right, control, "val"),
    )

    def dataset(name: str, *tasks: SnapshotTask) -> Dataset:
        made = build(tasks, control, images, folder / name, check=lambda: None, views=views)
        assert made is not None
        return made

    to_learn, to_measure = dataset("learnt", learnt, seen), dataset("measured", learnt, unseen)
    passes = max(round(looks / to_learn.counts.train_images), 1)
    in_epoch = passes * to_learn.counts.train_images
    epochs = max(round(steps * _BATCH / in_epoch), 1)
    trainer = YoloTrainer(folder / "model", config_dir=folder.parent / "ultralytics", weights_folder=folder)
    spool = Spool(folder / "spool", folder / "abort", math.inf)
    started = time.monotonic()
    trained = trainer.fit(
        training_data(to_learn.data, passes), base_weights(cache), evolve(settings, epochs=epochs), spool, None
    )
    seconds = time.monotonic() - started
    graph = trainer.export(trained.weights, folder / "graph", views.tiling)
    contender = Contender(graph, control, settings)
    measured = trainer.evaluate(contender, to_measure.data, trained.weights)
    [picture] = trainer.look(contender, to_measure.data, [f"3{right.suffix}"])
    assert isinstance(measured.evidence, Found)
    assert picture.outcome is not None
    shown = choose(measured.evidence.outcomes, measured.known)
    found = picture.found.only(kept(picture.outcome, shown))
    metrics = metrics_of(measured.evidence, control, shown)
    count, done = to_learn.counts.train_images, epochs * in_epoch // _BATCH
    return Way(views.tiling, count, in_epoch, done, seconds, metrics, found, graph)


def _task(number: int, sample: Sample, control: Control, split: Split) -> SnapshotTask:
    return SnapshotTask(
        id=number,
        annotation=number,
        updated_at=None,
        split=split,
        data={control.value: sample.name},
        regions=annotated(sample, control),
    )


def show(found: Compared, console: Console) -> None:
    """Print both as a table."""
    objects = sum(len(frame) for frame in found.held_out.expert)
    side = found.tiled.tiling.side if found.tiled.tiling else 0
    table = Table(
        title=f"The right half: {objects} trees that nothing was learnt from", title_justify="left", title_style="bold"
    )
    table.add_column("")
    for heading in ("whole pictures", f"tiles of {side} pixels"):
        table.add_column(heading, justify="right")
    for name in ("mAP50", "mAP50-95", "precision", "recall", "saved"):
        values = [way.metrics.get(name) for way in (found.whole, found.tiled)]
        table.add_row(name, *("–" if value is None else f"{value:.3f}" for value in values))
    table.add_section()
    for title, value in _ROWS.items():
        table.add_row(title, *(value(way) for way in (found.whole, found.tiled)))
    console.print(table)
    console.print(f"mAP50 with tiles is {found.ratio:.2f} × that without.")


_ROWS: dict[str, Callable[[Way], str]] = {
    "images to learn from": lambda way: str(way.images),
    f"steps of {_BATCH} images": lambda way: str(way.steps),
    "seconds that it took": lambda way: f"{way.seconds:.0f}",
    "trees that are shown": lambda way: str(len(way.found)),
}


def play(folder: Path, samples: Path, console: Console, report: Path | None, **how: int) -> None:
    """The demo. `how`: as for `compare`. Raises LabelloopError."""
    screen = Screen(console)
    screen.say(_SOURCE)
    with screen.step("trainings", "Train twice from the same weights: on the whole half, and on its tiles too"):
        found = compare(folder, samples=samples, tell=screen.say, **how)
    show(found, console)
    captions = ("annotation", "whole pictures", "tiles")
    picture = draw_row(
        folder / "found.png", found.held_out, (*found.held_out.expert, found.whole.found, found.tiled.found), captions
    )
    console.print(f"Picture: {picture}", soft_wrap=True)
    if report is not None:
        report.write_text(json.dumps(found.as_json(), indent=1) + "\n")
        console.print(f"Report: {report}", soft_wrap=True)
