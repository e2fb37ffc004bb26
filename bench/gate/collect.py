"""Trains dozens of models on real tiles and stores what each finds on tiles that none was trained on.

`python -m bench.gate.collect outcomes.npz --device 0 --processes 12`: 5 minutes on a GPU, a night on two cores.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

TILE = 100  # pixels of the photograph
IMAGE_SIZE = 160
TO_LEARN = 50  # tiles for training; the others are for judging
_PICKED_ON = range(46, TO_LEARN)  # tiles to choose the best epoch on, as in a project with four val tasks
_CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="Tree"/>'
    "</RectangleLabels></View>"
)
_MIN_CONFIDENCE = 0.03  # of stored objects
VIEWS = 4  # original, mirrored, upside down, both


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model to train."""

    name: str  # "ladder-20-30-3", "new-good-7"
    tiles: tuple[int, ...]
    epochs: int
    seed: int
    start: str = ""  # name of the recipe to start from; empty: the base weights
    dropped: float = 0.0  # part of the boxes that are left out, as a careless annotator would
    dropped_in: tuple[int, ...] = ()  # tiles with left-out boxes


def recipes(seeds: int, pairs: int) -> Iterator[Recipe]:
    """Models from bad to good; and champions, with challengers trained on ten more tiles, well or badly annotated."""
    for seed in range(seeds):
        order = random.Random(seed).sample(range(_PICKED_ON.start), _PICKED_ON.start)
        for tiles in (5, 10, 20):
            for epochs in (8, 15, 30, 60):
                yield Recipe(f"ladder-{tiles}-{epochs}-{seed}", tuple(order[:tiles]), epochs, seed)
    for seed in range(100, 100 + pairs):
        order = random.Random(seed).sample(range(_PICKED_ON.start), 20)
        old, new = tuple(order[:10]), tuple(order[10:])
        yield Recipe(f"champion-{seed}", old, 20, seed)
        for kind, dropped in (("good", 0.0), ("careless", 0.6)):
            for name, added in (("", new), ("-fold0", new[:5]), ("-fold1", new[5:])):
                yield Recipe(f"{kind}{name}-{seed}", old + added, 20, seed, f"champion-{seed}", dropped, new)


def main() -> None:
    """Train all models, write one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/bench-gate"))
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seconds", type=float, default=1e6, help="models that are not begun by then are left out")
    parser.add_argument("--only", default="", help="only models whose names begin with this")
    given = parser.parse_args()
    shutil.rmtree(given.scratch, ignore_errors=True)
    write_tiles(given.scratch / "tiles", given.cache)
    found: dict[str, Any] = {}
    described: dict[str, Any] = {}
    started = time.monotonic()
    left = [one for one in recipes(given.seeds, given.pairs) if one.name.startswith(given.only)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.processes, mp_context=context, max_tasks_per_child=None) as pool:
        while left and time.monotonic() - started < given.seconds:
            ready = [one for one in left if not one.start or one.start in described]
            left = [one for one in left if one not in ready]
            running = {
                pool.submit(work, one, given.scratch, given.device, given.cache, started + given.seconds): one
                for one in ready
            }
            for done in as_completed(running):
                recipe = running[done]
                try:
                    arrays, seconds = done.result()
                except Exception as error:  # noqa: BLE001 - the other models are still useful
                    print(f"{recipe.name}: {type(error).__name__}: {error}"[:300], flush=True)
                    continue
                if not arrays:
                    continue
                described[recipe.name] = asdict(recipe) | {"seconds": seconds}
                found |= {f"{recipe.name}/{key}": value for key, value in arrays.items()}
                print(f"{time.monotonic() - started:6.0f} s  {recipe.name}  {seconds:.0f} s", flush=True)
    np.savez_compressed(given.out, described=np.array(json.dumps(described)), **found)
    print(f"{len(described)} models, {given.out.stat().st_size} bytes")


def write_tiles(folder: Path, cache: Path | None) -> None:
    """Write every tile with its boxes as `<tile>-<view>`; those for judging in all views."""
    import io

    from PIL import Image, ImageOps

    from infra.demo.samples import CACHE, tiles
    from shared.geometry.detections import xyxy_to_xywhn

    cut = tiles(size=TILE, file_format="PNG", cache=cache or CACHE)
    random.Random(1).shuffle(cut)
    for number, tile in enumerate(cut):
        image = Image.open(io.BytesIO(tile.data)).convert("RGB")
        for view in range(VIEWS if number >= TO_LEARN else 1):
            boxes, seen = tile.boxes.copy(), image
            if view & 1:
                boxes[:, [0, 2]], seen = TILE - boxes[:, [2, 0]], ImageOps.mirror(seen)
            if view & 2:
                boxes[:, [1, 3]], seen = TILE - boxes[:, [3, 1]], ImageOps.flip(seen)
            part = folder / ("learn" if number < TO_LEARN else "judge")
            for kind in ("images", "labels"):
                (part / kind).mkdir(parents=True, exist_ok=True)
            seen.save(part / "images" / f"{number}-{view}.png")
            rows = xyxy_to_xywhn(boxes, TILE, TILE)
            lines = "".join(f"0 {' '.join(f'{value:.6f}' for value in row)}\n" for row in rows.tolist())
            (part / "labels" / f"{number}-{view}.txt").write_text(lines)


def work(recipe: Recipe, scratch: Path, device: str, cache: Path | None, until: float) -> tuple[dict[str, Any], float]:
    """In a process of its own: train one model and run it on all tiles it was not trained on; (arrays, seconds)."""
    if time.monotonic() > until:
        return {}, 0.0
    folder = scratch / recipe.name
    from jobs.train.yolo.machine import prepare_ultralytics

    os.environ.update(prepare_ultralytics(folder / "ultralytics", 1))
    import torch

    torch.set_num_threads(1)
    from infra.demo.samples import base_weights
    from jobs.train.checkpoints.spool import Spool
    from jobs.train.training import TrainingSettings
    from jobs.train.yolo.trainer import YoloTrainer

    started = time.monotonic()
    data = _dataset(recipe, scratch / "tiles", folder / "data")
    start = (
        scratch / recipe.start / "weights.pt" if recipe.start else base_weights(**({"cache": cache} if cache else {}))
    )
    settings = TrainingSettings(
        epochs=recipe.epochs,
        image_size=IMAGE_SIZE,
        batch=8,
        freeze=0,
        patience=100,
        val_fraction=0.2,
        seed=recipe.seed,
        base_weights="",
        longest_run=1e6,
    )
    trainer = YoloTrainer(
        folder / "model", config_dir=folder / "ultralytics", weights_folder=folder, device=device, workers=0
    )
    fitted = trainer.fit(
        data / "pick.yaml", start, settings, Spool(folder / "spool", folder / "abort", time.time() + 1e6), None
    )
    weights = shutil.copyfile(fitted.weights, folder / "weights.pt")
    arrays = _shown(trainer, weights, data, settings)
    for made in ("model", "spool", "ultralytics", "data"):  # checkpoints of all epochs
        shutil.rmtree(folder / made, ignore_errors=True)
    return arrays, time.monotonic() - started


def _dataset(recipe: Recipe, tiles: Path, folder: Path) -> Path:
    drop = random.Random(recipe.seed)
    for part in ("train", "pick", "judge"):
        for kind in ("images", "labels"):
            (folder / kind / part).mkdir(parents=True)
    for tile in recipe.tiles:
        os.link(tiles / "learn" / "images" / f"{tile}-0.png", folder / "images" / "train" / f"{tile}-0.png")
        lines = (tiles / "learn" / "labels" / f"{tile}-0.txt").read_text().splitlines(keepends=True)
        careless = recipe.dropped if tile in recipe.dropped_in else 0.0
        kept = [line for line in lines if drop.random() >= careless]
        (folder / "labels" / "train" / f"{tile}-0.txt").write_text("".join(kept))
    unseen = set(range(TO_LEARN)) - set(recipe.tiles)  # judged too, for folds
    judged = [*(tiles / "judge" / "images").iterdir(), *(tiles / "learn" / "images" / f"{one}-0.png" for one in unseen)]
    picked_on = [tiles / "learn" / "images" / f"{one}-0.png" for one in _PICKED_ON]
    for part, images in (("judge", judged), ("pick", picked_on)):
        for image in images:
            os.link(image, folder / "images" / part / image.name)
            label = f"{image.stem}.txt"
            os.link(image.parent.parent / "labels" / label, folder / "labels" / part / label)
    for val in ("pick", "judge"):
        described = {"path": str(folder), "train": "images/train", "val": f"images/{val}", "names": ["Tree"]}
        (folder / f"{val}.yaml").write_text(json.dumps(described))
    return folder


def _shown(trainer: Any, weights: Path, data: Path, settings: Any) -> dict[str, Any]:
    from jobs.train.training import Contender
    from shared.labelstudio.config import parse_label_config

    [control] = parse_label_config(_CONFIG)
    graph = trainer.export(weights, data / "graph")
    shown = trainer.evaluate(Contender(graph, control, settings), data / "judge.yaml")
    outcomes = shown.evidence.outcomes
    some = [outcome.scores >= _MIN_CONFIDENCE for outcome in outcomes]
    return {
        "tile": np.array([int(outcome.task) for outcome in outcomes], dtype=np.int16),
        "truth": np.array([len(outcome.truth) for outcome in outcomes], dtype=np.int16),
        "found": np.array([which.sum() for which in some], dtype=np.int16),
        "scores": np.concatenate([one.scores[which] for one, which in zip(outcomes, some, strict=True)]).astype("f2"),
        "boxes": np.concatenate([one.boxes[which] for one, which in zip(outcomes, some, strict=True)]).astype("f2"),
        "overlap": np.concatenate(
            [one.overlap[:, which].reshape(-1) for one, which in zip(outcomes, some, strict=True)]
        )
        .round(3)
        .astype("f2"),
    }


if __name__ == "__main__":
    main()
