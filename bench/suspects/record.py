"""Records what real models find on real tiles that they were not trained on: tests/samples/suspects.json.

Trees of two places, each a class, in three folds: the model of a fold is trained on the tiles of the two others, with
as many errors in their annotations as the test plants.
`python -m bench.suspects.record FOLDER`: ten minutes on two cores; a fold that is in FOLDER already stays.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.samples.planted import Drawn, plant

FIXTURE = Path(__file__).parents[2] / "tests" / "samples" / "suspects.json"
PLACES = {"Yellowstone": "2019_YELL_2_541000_4977000_image_crop", "Florida": "OSBS_029"}
"""Label → photograph."""
FOLDS = 3
_IMAGE_SIZE = 320
_LEAST = 0.02  # confidence of what is recorded
_CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    + "".join(f'<Label value="{place}"/>' for place in PLACES)
    + "</RectangleLabels></View>"
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One tile."""

    place: int  # class of all its trees
    data: bytes
    size: int  # pixels of each side
    boxes: Any  # (N, 4) xyxy


def main() -> None:
    """Train the folds that are not recorded, and join them."""
    parser = argparse.ArgumentParser(prog="python -m bench.suspects.record", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fold", type=int, choices=range(FOLDS), action="append", help="only this one")
    given = parser.parse_args()
    parts = [given.folder / f"fold-{fold}.json" for fold in range(FOLDS)]
    for fold in given.fold or range(FOLDS):
        if not parts[fold].exists():
            begun = time.monotonic()
            rows = recorded(fold, given.folder / f"work-{fold}")
            parts[fold].write_text(json.dumps(rows))
            print(f"fold {fold}: {len(rows)} pictures, {time.monotonic() - begun:.0f} s", flush=True)
    if all(part.exists() for part in parts):
        joined = [row for part in parts for row in json.loads(part.read_text())]
        lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in joined)
        FIXTURE.write_text(f'{{"labels":{json.dumps(list(PLACES))},"pictures":[\n{lines}\n]}}\n')
        print(f"{FIXTURE}: {len(joined)} pictures, {FIXTURE.stat().st_size} bytes")


def recorded(fold: int, folder: Path) -> list[dict[str, Any]]:
    """Train on the tiles of the other folds; what is annotated and found on this one's."""
    from jobs.train.yolo.machine import prepare_ultralytics

    os.environ.update(prepare_ultralytics(folder / "ultralytics", 2))
    from infra.demo.samples import base_weights
    from jobs.train.checkpoints.spool import Spool
    from jobs.train.preset import preset, training_data
    from jobs.train.training import Contender, TrainingSettings
    from jobs.train.yolo.trainer import YoloTrainer
    from shared.labelstudio.config import parse_label_config

    pictures = _pictures()
    data = _write(pictures, _with_errors(pictures, fold), fold, folder / "data")
    settings = TrainingSettings(
        epochs=0,
        image_size=_IMAGE_SIZE,
        batch=0,
        freeze=0,
        patience=100,
        val_fraction=0.2,
        seed=0,
        base_weights="",
        longest_run=1e6,
    )
    chosen = preset(settings, sum(number % FOLDS != fold for number in range(len(pictures))), "detect")
    trainer = YoloTrainer(
        folder / "model", config_dir=folder / "ultralytics", weights_folder=folder, device="cpu", workers=0, threads=2
    )
    spool = Spool(folder / "spool", folder / "abort", time.time() + 1e6)
    trained = trainer.fit(training_data(data, chosen.passes), base_weights(), chosen.applied(settings), spool, None)
    (control,) = parse_label_config(_CONFIG)
    graph = trainer.export(trained.weights, folder / "graph")
    measured = trainer.evaluate(Contender(graph, control, settings), data)
    return [
        {
            "task": int(outcome.task),
            "fold": fold,
            "size": pictures[int(outcome.task)].size,
            "truth": [[pictures[int(outcome.task)].place, *box] for box in pictures[int(outcome.task)].boxes.tolist()],
            "found": [
                [int(class_), round(float(score), 3), *(round(side, 1) for side in box)]
                for class_, score, box in zip(outcome.found, outcome.scores, outcome.boxes.tolist(), strict=True)
                if score >= _LEAST
            ],
        }
        for outcome in measured.evidence.outcomes  # type: ignore[attr-defined]
    ]


def _pictures() -> list[Picture]:
    from infra.demo.samples import tiles

    return [
        Picture(place, tile.data, tile.width, tile.boxes)
        for place, name in enumerate(PLACES.values())
        for tile in tiles(name)
    ]


def _with_errors(pictures: list[Picture], fold: int) -> list[Drawn]:
    whole = [Drawn(np.full(len(each.boxes), each.place), each.boxes, each.size) for each in pictures]
    return plant(whole, len(PLACES), np.random.default_rng(fold))[0]


def _write(pictures: list[Picture], annotated: list[Drawn], fold: int, folder: Path) -> Path:
    from shared.geometry.detections import xyxy_to_xywhn

    for kind in ("images", "labels"):
        for part in ("train", "val"):
            (folder / kind / part).mkdir(parents=True)
    for number, picture in enumerate(pictures):
        part = "val" if number % FOLDS == fold else "train"
        (folder / "images" / part / f"{number}.jpg").write_bytes(picture.data)
        rows = xyxy_to_xywhn(annotated[number].boxes, picture.size, picture.size).tolist()
        classes = annotated[number].classes.tolist()
        lines = (
            f"{class_} {' '.join(f'{value:.6f}' for value in row)}\n" for class_, row in zip(classes, rows, strict=True)
        )
        (folder / "labels" / part / f"{number}.txt").write_text("".join(lines))
    described = {"path": str(folder), "train": "images/train", "val": "images/val", "names": list(PLACES)}
    path = folder / "data.yaml"
    path.write_text(json.dumps(described))
    return path


if __name__ == "__main__":
    main()
