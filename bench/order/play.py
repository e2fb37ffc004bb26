"""Plays annotators through rounds: `python -m bench.order.play plays.jsonl`.

Each line of the file is one play, one strategy with one seed; those that are there are not played again. On one
processor core, some 20 seconds each.
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

TEST = 40  # tiles that nobody annotates
VAL, FIRST = 4, 6  # tiles of the first round, the same for all strategies of a seed
STEP, ROUNDS = 8, 3
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
    """The names of all ways to choose, the most wanted ones first."""
    asked = [name for name in STRATEGIES if name != "image confidence"]
    yield from asked
    yield from (name + WITH for name in asked)
    yield from ("image confidence", "first" + WITH)


def main() -> None:
    """Play what is missing, appending to the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plays", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1e6, help="plays that are not begun by then are left out")
    given = parser.parse_args()
    given.plays.touch()
    there = {(one["seed"], one["arm"]) for one in map(json.loads, given.plays.read_text().splitlines())}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        learner = _learner(Path(scratch), given.plays.with_suffix(".pt"))
        for number, arm, seed in _wanted(given.seeds):
            if (seed, arm) in there:
                continue
            if time.monotonic() - started > given.seconds:
                return
            began = time.monotonic()
            setting = Setting.of(seed, len(learner.tiles))
            rounds = list(_play(learner, setting, arm))
            line = {"seed": seed, "arm": arm, "seconds": round(time.monotonic() - began), "rounds": rounds}
            with given.plays.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{time.monotonic() - started:6.0f} s  {number}: seed {seed}, {arm}, {line['seconds']} s", flush=True)


def _wanted(seeds: int) -> Iterator[tuple[int, str, int]]:
    """(number, arm, seed): without clusters for all seeds, then the rest, so that half an experiment is of use."""
    every = list(arms())
    half = len(every) // 2 - 1
    parts = (every[:half], every[half:])
    plays = [(arm, seed) for part in parts for seed in range(seeds) for arm in part]
    yield from ((number, arm, seed) for number, (arm, seed) in enumerate(plays))


def _learner(scratch: Path, base: Path) -> Learner:
    from jobs.train.yolo.machine import prepare_ultralytics

    os.environ.update(prepare_ultralytics(scratch / "ultralytics", 1))
    import torch

    torch.set_num_threads(1)
    return Learner(base)


def _to_learn(tiles: Sequence[int], setting: Setting) -> list[int]:
    return [tile for tile in tiles if tile not in setting.val]


def _play(learner: Learner, setting: Setting, arm: str) -> Iterator[dict[str, Any]]:
    """What stood after each round."""
    name, clustered = arm.removesuffix(WITH), arm.endswith(WITH)
    done = _first_by_clusters(learner, setting) if name == "first" else setting.pool[: VAL + FIRST]
    work = float(sum(len(learner.tiles[tile].boxes) for tile in done))  # nothing was shown
    head: Any = None
    for _ in range(ROUNDS + 1):
        learnt = tuple(_to_learn(done, setting))
        head = learner.train(head, learnt, setting.seed) if head is not None else learner.first(learnt, setting.seed)
        looks = learner.look(head)
        val = [looks.found[tile] for tile in setting.val]
        evidence = Evidence.of(val, choose(val, [0]))
        rest = [tile for tile in setting.pool if tile not in done]
        yield _standing(learner, looks, setting, evidence, done, work, rest)
        if name == "first":
            return
        scores = np.array([STRATEGIES[name](looks.found[tile], evidence) for tile in rest])
        chosen = next_tiles(scores, STEP, looks.embeddings[rest] if clustered else None, setting.seed)
        new = [rest[place] for place in chosen]
        work += sum(work_of(looks.found[tile], evidence) for tile in new)
        done = done + new


def _first_by_clusters(learner: Learner, setting: Setting) -> list[int]:
    """The first round not drawn at random, but one of each cluster."""
    free = setting.pool[VAL:]
    embeddings = learner.look(learner.base).embeddings[free]
    places = next_tiles(np.arange(len(free), dtype=np.float64), FIRST, embeddings, setting.seed)
    return setting.val + [free[place] for place in places]


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
