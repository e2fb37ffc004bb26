"""What a training on few tiles reaches, in how long: `python -m bench.labour.few --tiles 5 10 20`.

One run of the real job on the first tiles of an order, from the base weights; its version is measured on tiles that
it never saw, with the thresholds that it chose and with the best there are. With `--splits` in all ways of dividing
these tiles into train and val. docs/small-data.md has the figures.
"""

import argparse
import itertools
import json
import math
import random
import shutil
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.labour.project import TileProject
from bench.labour.tally import Tally
from infra.demo.samples import AERIAL_IMAGE, tiles
from jobs.train.data.split import SMALL_SHARE, place_of
from jobs.train.evidence import Found, Outcome
from jobs.train.shown_choice import choose, kept

_VAL = 2  # tiles of the val set, in --splits


def main() -> None:
    """Train, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.labour.few", description=__doc__)
    parser.add_argument("--tiles", type=int, nargs="+", default=[5, 10, 20], help="annotated ones")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="orders of the tiles")
    parser.add_argument("--judge", type=int, default=10, help="tiles at the end of each order to measure on")
    parser.add_argument("--begin", type=int, default=0, help="tile of each order to begin with; those before come last")
    parser.add_argument("--splits", action="store_true", help="train once for each pair of the tiles as val set")
    parser.add_argument("--images", nargs="+", default=[AERIAL_IMAGE], help="photographs of the package deepforest")
    parser.add_argument("--size", type=int, default=207, help="side of a tile in pixels")
    parser.add_argument("--image-size", type=int, default=320)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="LABELLOOP_DEVICE")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings: LABELLOOP_EPOCHS=100")
    parser.add_argument("--tried", type=json.loads, default={}, help='arguments of ultralytics: {"box": 12}')
    parser.add_argument("--name", default="", help="what these figures are called")
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/bench-few"))
    parser.add_argument("--json", type=Path, help="file that a line is added to for each training")
    asked = parser.parse_args()
    if asked.splits and any(int(SMALL_SHARE * count) != _VAL for count in asked.tiles):
        parser.error(f"--splits: of 5 to 7 tiles {_VAL} are the val set, of {asked.tiles} not")
    rows = defaultdict(list)
    for seed, count in itertools.product(asked.seeds, asked.tiles):
        for address in _addresses(count) if asked.splits else [f"tiles/{seed}"]:
            row = _train(asked, seed, count, address)
            rows[count].append(row)
            print(json.dumps(row), flush=True)
            if asked.json:
                with asked.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    for count, found in rows.items():
        means = {key: statistics.mean(row[key] for row in found) for key in ("seconds", "mAP50", "saved", "hindsight")}
        print(asked.name, count, "tiles:", "  ".join(f"{key} {value:.3g}" for key, value in means.items()), flush=True)


def _addresses(count: int) -> list[str]:
    """For each pair of the first `count` tiles the beginning of all tiles' addresses with which it is the val set."""
    found: dict[tuple[int, ...], str] = {}
    tried = (f"tiles/{number}" for number in itertools.count())
    while len(found) < math.comb(count, _VAL):
        address = next(tried)
        places = [place_of(f"{address}/{tile}") for tile in range(count)]
        found.setdefault(tuple(sorted(np.argsort(places)[:_VAL].tolist())), address)
    return [found[pair] for pair in sorted(found)]


def _train(asked: argparse.Namespace, seed: int, count: int, address: str) -> dict[str, Any]:
    order = [tile for image in asked.images for tile in tiles(image, size=asked.size) if len(tile.boxes)]
    random.Random(seed).shuffle(order)
    order = order[asked.begin :] + order[: asked.begin]
    folder, base = asked.scratch / "project", asked.scratch / "base-store"
    shutil.rmtree(folder, ignore_errors=True)
    settings = {"LABELLOOP_IMAGE_SIZE": str(asked.image_size), "LABELLOOP_SEED": str(seed)}
    project = TileProject(
        order,
        folder,
        address=address,
        settings=settings | dict(one.split("=", 1) for one in asked.set),
        tried=asked.tried,
        threads=asked.threads,
        device=asked.device,
        base_store=base if base.exists() else None,
    )
    project.network(None)
    if not base.exists():
        shutil.copytree(folder / "store", base)
    project.annotated = count
    run = project.train()
    row: dict[str, Any] = {"name": asked.name, "tiles": count, "seed": seed, "seconds": round(run.seconds, 1)}
    if run.manifest is None:
        return row | {"ended": run.outcome, "mAP50": 0.0, "saved": 0.0, "hindsight": 0.0}
    network = project.network(run.manifest)
    judged = range(len(order) - asked.judge, len(order))
    assert count <= judged.start
    every = [project.outcome(number, network, run.manifest, all_=True) for number in judged]
    shown = Tally.sum(Tally.of(project.outcome(number, network, run.manifest)) for number in judged)
    return row | {
        "mAP50": round(Found(every, [0]).at_half()["mAP50"], 3),
        "mAP": round(float(Found(every, [0]).score(np.ones((1, len(every))))[0]), 3),
        "saved": round(shown.saved, 3),
        "hindsight": round(_hindsight(every).saved, 3),
        "recall": round(shown.found / shown.trees, 2),
        "wrong": shown.shown - shown.found,
        "IoU": round(shown.overlap / max(shown.found, 1), 2),
        "thresholds": [run.manifest.shown["Tree"].confidence, run.manifest.shown["Tree"].iou],
        "passed": run.manifest.gate.passed,
        "epochs": run.manifest.lineage["epochs"],
        "train": run.manifest.lineage["images"]["train"],
    }


def _hindsight(every: list[Outcome]) -> Tally:
    best = choose(every, [0], 0.0)
    return Tally.sum(Tally.of(one.only(kept(one, best))) for one in every)


if __name__ == "__main__":
    main()
