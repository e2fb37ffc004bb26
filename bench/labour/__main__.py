"""Plays an annotator who labels tile by tile, helped by the version that is served: what did the loop save her?

`make bench-labour`, or `python -m bench.labour --seeds 0`: seven minutes a seed at image size 224. After every
fifth tile she waits for a run of the real training job. Seeds are orders of the tiles. Work in drawn boxes: add 1, move
0.5 where the IoU is 0.5 to 0.8, delete 0.2. With smart tools she clicks each object once that a version does not show:
a click 0.3, and then 0.5 where it has to be moved, or 1 where it is not the object.
"""

import argparse
import json
import random
import shutil
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.labour.clicks import Clicks
from bench.labour.project import TileProject
from bench.labour.tally import Tally
from infra.demo.samples import AERIAL_IMAGE, tiles

_BESIDE = 0.25  # of an object's width and height, from its middle at most


def main() -> None:
    """Play, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.labour", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="orders of the tiles")
    parser.add_argument("--image", default=AERIAL_IMAGE, help="photograph of the package deepforest")
    parser.add_argument("--size", type=int, default=207, help="side of a tile in pixels")
    parser.add_argument("--image-size", type=int, default=320, help="LABELLOOP_IMAGE_SIZE")
    parser.add_argument("--every", type=int, default=5, help="tiles between two runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="LABELLOOP_DEVICE")
    parser.add_argument("--from-base", action="store_true", help="start every training from the base weights")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings: LABELLOOP_FLIPUD=0.5")
    parser.add_argument("--tried", type=json.loads, default={}, help='arguments of ultralytics: {"box": 12}')
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/bench-labour"))
    parser.add_argument("--keep", action="store_true", help="leave the stores with their versions in --scratch")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    plays = []
    for seed in asked.seeds:
        print(f"\norder {seed}", flush=True)
        plays.append(_play(asked, seed))
    for part in ("all", "last third"):
        saved, smart = (statistics.mean(play[kind][part] for play in plays) for kind in ("saved", "saved_smart"))
        print(f"{part:>10s}: saved {saved:+.1%} on average, with smart tools {smart:+.1%}")
    hits = ", ".join(f"{play['clicks']['drawn'] / max(play['clicks']['objects'], 1):.0%}" for play in plays)
    print(f"Of the objects that a version did not show, one click draws {hits}.")
    if asked.json:
        asked.json.write_text(json.dumps(plays, indent=1))


def _play(asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    order = tiles(asked.image, size=asked.size)
    random.Random(seed).shuffle(order)
    folder = asked.scratch / f"play-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    settings = {"LABELLOOP_IMAGE_SIZE": str(asked.image_size)} | dict(one.split("=", 1) for one in asked.set)
    project = TileProject(
        order,
        folder,
        address=f"tiles/{seed}",
        settings=settings,
        tried=asked.tried,
        threads=asked.threads,
        device=asked.device,
        from_base=asked.from_base,
    )
    each: list[Tally] = []
    clicks: list[Clicks] = []  # of each tile; none before a first version
    beside: list[Clicks] = []
    rounds: list[dict[str, Any]] = []
    network, served = project.network(None), None
    while project.annotated < len(order):
        begin, end = project.annotated, min(project.annotated + asked.every, len(order))
        outcomes = [project.outcome(number, network, served) for number in range(begin, end)]
        shown = [Tally.of(outcome) for outcome in outcomes]
        middle = [Clicks()] * len(shown)
        if served:
            candidates = [project.candidates(number, network) for number in range(begin, end)]
            middle = [Clicks.of(*one) for one in zip(outcomes, candidates, strict=True)]
            beside += [Clicks.of(*one, beside=_BESIDE) for one in zip(outcomes, candidates, strict=True)]
        each += shown
        clicks += middle
        print(f"{begin + 1:3d}–{end:3d}  {f'v{served.version}' if served else 'base':5s}{Tally.sum(shown)}", flush=True)
        if served:
            print(f"{'':12s}{Clicks.sum(middle)}", flush=True)
        project.annotated = end
        if end == len(order):
            break
        run = project.train()
        rounds.append(
            {"tiles": end, "seconds": round(run.seconds), "saved": Tally.sum(shown).saved, "ended": run.outcome}
        )
        print(f"{'':9s}a run of {run.seconds:.0f} s: {run.outcome}", flush=True)
        served = project.registry.serving("label")
        network = project.network(served)
    parts = {"all": 0, "last third": -(-2 * len(each) // 3)}
    tallies = {name: Tally.sum(each[first:]) for name, first in parts.items()}
    clicked = {name: Clicks.sum(clicks[first:]) for name, first in parts.items()}
    for name, tally in tallies.items():
        print(f"{name:>10s}: {tally}\n{'':12s}{clicked[name]}; saved {clicked[name].saved(tally):+.0%}", flush=True)
    print(f"beside the middle: {Clicks.sum(beside)}", flush=True)
    if not asked.keep:
        shutil.rmtree(folder)
    return {
        "seed": seed,
        "saved": {name: tally.saved for name, tally in tallies.items()},
        "saved_smart": {name: clicked[name].saved(tally) for name, tally in tallies.items()},
        "clicks": asdict(clicked["all"]),
        "clicks_beside": asdict(Clicks.sum(beside)),
        "rounds": rounds,
    }


if __name__ == "__main__":
    main()
