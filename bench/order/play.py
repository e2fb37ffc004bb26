"""Plays annotators through rounds: `python -m bench.order.play plays.jsonl`.

Each line of the file is one play, one strategy with one seed; those that are there are not played again. On one
processor core, about half a minute each.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.order.learner import Learner, Looks
from bench.order.strategies import STRATEGIES, Evidence, next_tiles, shown_of
from jobs.train.evidence import IOUS, Outcome
from jobs.train.shown_choice import ADD, DELETE, MOVE, TIGHT, choose

TEST = 50  # tiles that nobody annotates
VAL, FIRST = 4, 6  # tiles of the first round, the same for all strategies of a seed
STEP, ROUNDS = 8, 3
EPOCHS = (60, 10)  # of the first training, from base weights, and of the next ones, from the champion
WITH = " + clusters"


@dataclass(frozen=True, slots=True)
class Setting:
    """What is the same for all strategies of a seed."""

    seed: int
    test: list[int]
    val: list[int]
    pool: list[int]  # the tiles that are to be annotated: those of the first round first

    @classmethod
    def of(cls, seed: int, count: int) -> "Setting":
        """`count`: tiles."""
        order = np.random.default_rng(seed).permutation(count).tolist()
        return cls(seed, order[:TEST], order[TEST : TEST + VAL], order[TEST:])


def arms() -> Iterator[str]:
    """The names of all ways to choose."""
    for name in STRATEGIES:
        yield name
        if name != "image confidence":
            yield name + WITH
    yield "first" + WITH


def main() -> None:
    """Play what is missing, appending to the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plays", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e6, help="plays that are not begun by then are left out")
    given = parser.parse_args()
    given.plays.touch()
    there = {(one["seed"], one["arm"]) for one in map(json.loads, given.plays.read_text().splitlines())}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        learner = _learner(Path(scratch))
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            setting = Setting.of(seed, len(learner.tiles))
            todo = [arm for arm in arms() if (seed, arm) not in there]
            if not todo:
                continue
            champion = _first(learner, Path(scratch), setting, setting.pool[: VAL + FIRST])
            for arm in todo:
                if time.monotonic() - started > given.seconds:
                    return
                began = time.monotonic()
                rounds = list(_play(learner, Path(scratch), setting, arm, champion))
                line = {"seed": seed, "arm": arm, "seconds": round(time.monotonic() - began), "rounds": rounds}
                with given.plays.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                last = rounds[-1]
                print(
                    f"{time.monotonic() - started:6.0f} s  {seed}  {arm}  {line['seconds']} s", last["work"], flush=True
                )


def _learner(scratch: Path) -> Learner:
    from jobs.train.yolo.machine import prepare_ultralytics

    os.environ.update(prepare_ultralytics(scratch / "ultralytics", 1))
    import torch

    torch.set_num_threads(1)
    return Learner(scratch)


def _first(learner: Learner, scratch: Path, setting: Setting, tiles: Sequence[int]) -> Path:
    """The model after the first round."""
    from infra.demo.samples import base_weights

    weights = learner.train(base_weights(), _to_learn(tiles, setting), EPOCHS[0], setting.seed)
    return weights.rename(scratch / "champion.pt")


def _to_learn(tiles: Sequence[int], setting: Setting) -> list[int]:
    return [tile for tile in tiles if tile not in setting.val]


def _play(learner: Learner, scratch: Path, setting: Setting, arm: str, champion: Path) -> Iterator[dict[str, Any]]:
    """What stood after each round."""
    name, clustered = arm.removesuffix(WITH), arm.endswith(WITH)
    done = setting.pool[: VAL + FIRST]
    if name == "first":
        yield _of_first_clusters(learner, scratch, setting)
        return
    work = float(sum(len(learner.tiles[tile].boxes) for tile in done))  # nothing was shown
    weights = champion
    for number in range(ROUNDS + 1):
        if number:
            weights = learner.train(weights, _to_learn(done, setting), EPOCHS[1], setting.seed)
        looks = learner.look(weights)
        val = [looks.found[tile] for tile in setting.val]
        shown = choose(val, [0])
        evidence = Evidence.of(val, shown)
        rest = [tile for tile in setting.pool if tile not in done]
        yield _standing(learner, looks, setting, evidence, done, work, rest)
        scores = np.array([STRATEGIES[name](looks.found[tile], evidence) for tile in rest])
        chosen = next_tiles(scores, STEP, looks.embeddings[rest] if clustered else None, setting.seed)
        new = [rest[place] for place in chosen]
        work += sum(work_of(looks.found[tile], evidence) for tile in new)
        done = done + new


def _of_first_clusters(learner: Learner, scratch: Path, setting: Setting) -> dict[str, Any]:
    """The first round not drawn at random, but one of each cluster, by the features of the base weights."""
    from infra.demo.samples import base_weights

    free = setting.pool[VAL:]
    embeddings = learner.look(base_weights()).embeddings[free]
    places = next_tiles(np.arange(len(free), dtype=np.float64), FIRST, embeddings, setting.seed)
    done = setting.val + [free[place] for place in places]
    weights = _first(learner, scratch, setting, done)
    weights = weights.rename(scratch / "other.pt")
    looks = learner.look(weights)
    val = [looks.found[tile] for tile in setting.val]
    evidence = Evidence.of(val, choose(val, [0]))
    work = float(sum(len(learner.tiles[tile].boxes) for tile in done))
    return _standing(learner, looks, setting, evidence, done, work, [one for one in setting.pool if one not in done])


def _standing(
    learner: Learner,
    looks: Looks,
    setting: Setting,
    evidence: Evidence,
    done: Sequence[int],
    work: float,
    rest: Sequence[int],
) -> dict[str, Any]:
    test = [looks.found[tile] for tile in setting.test]
    return {
        "done": list(done),
        "boxes": sum(len(learner.tiles[tile].boxes) for tile in done),
        "work": round(work, 1),  # of annotating these
        "work_left": round(sum(work_of(looks.found[tile], evidence) for tile in rest), 1),  # with this model's help
        "pool_boxes": sum(len(learner.tiles[tile].boxes) for tile in setting.pool),
        "shown": [evidence.shown[0].confidence, evidence.shown[0].iou],
        "there": [len(one.truth) for one in test],
        "scores": [one.scores.round(3).tolist() for one in test],
        "right": [one.right()[:, 0].astype(int).tolist() for one in test],
    }


def work_of(found: Outcome, evidence: Evidence) -> float:
    """Of annotating a tile, in drawn boxes: correcting what is shown, and drawing what is missed."""
    hits = shown_of(found, evidence.shown).right()
    right, tight = int(hits[:, 0].sum()), int(hits[:, int(np.searchsorted(IOUS, TIGHT - 1e-9))].sum())
    return ADD * (len(found.truth) - right) + MOVE * (right - tight) + DELETE * (len(hits) - right)


if __name__ == "__main__":
    main()
