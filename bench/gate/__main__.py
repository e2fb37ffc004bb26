"""`python -m bench.gate outcomes.npz`: how often a gate decides right, for the models of `bench.gate.collect`.

Which model of a pair is better is known from all tiles that neither was trained on; the gate sees only a few of them.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np

from bench.gate.collect import TO_LEARN, VIEWS
from bench.gate.models import Model, Seen, found, load, seen
from jobs.train.evidence import Found, Outcome
from jobs.train.gate import COLLAPSE, Samples
from jobs.train.shown_choice import choose, saved
from shared.state.versions import DEFAULT_SHOWN, Shown

_SIZES = (5, 10, 20, 50)  # tasks of the val set
_APART = {  # the challenger's true score as a part of the champion's: (minimum, maximum)
    "half": (0.38, 0.60),
    "-30 %": (0.62, 0.78),
    "-10 %": (0.86, 0.93),
    "-5 %": (0.93, 0.97),
    "same": (0.97, 1.03),
    "+5 %": (1.03, 1.07),
    "+10 %": (1.07, 1.15),
    "+30 %": (1.22, 1.38),
    "+50 %": (1.40, 1.70),
}
_MIN_SCORE = 0.03  # mAP50-95; worse champions are left out
_DRAWS = 200  # of the bootstrap
_DOUBTS = (0, 0.5, 1, 2, 4, 10)  # see shown_choice.choose


def main() -> None:
    """Print how often each rule promotes a challenger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outcomes", type=Path)
    parser.add_argument("--times", type=int, default=60, help="val sets for each row")
    given = parser.parse_args()
    trained = load(given.outcomes)
    models = {name: seen(model, 30) for name, model in trained.items() if "fold" not in name}
    tiles = [int(name) for name in next(iter(models.values())) if name.isdigit() and int(name) >= TO_LEARN]
    worth = {name: _score(each, tiles) for name, each in models.items()}
    pairs = {
        apart: [
            (challenger, champion)
            for champion in models
            for challenger in models
            if worth[champion] >= _MIN_SCORE and minimum <= worth[challenger] / worth[champion] < maximum
        ]
        for apart, (minimum, maximum) in _APART.items()
    }
    print(f"{len(models)} models, {len(tiles)} tiles; pairs:", {apart: len(some) for apart, some in pairs.items()})
    random = np.random.default_rng(0)
    _thresholds(models, worth, tiles, given.times)
    _folds(trained, tiles, given.times, random)
    for views in (1, VIEWS):
        for size in _SIZES if views == 1 else _SIZES[:2]:
            rows = {
                apart: _looks(models, some, tiles, size, views, given.times, random) for apart, some in pairs.items()
            }
            for rule, passes in _RULES.items():
                line = "  ".join(f"{apart} {passes(*each).mean():4.0%}" for apart, each in rows.items())
                print(f"views {views}  {size:3d} tasks  {rule:34s} {line}", flush=True)


def _score(outcomes: dict[str, Seen], tiles: list[int]) -> float:
    return float(found(outcomes, tiles).score(np.ones((1, len(tiles))))[0])


def _looks(models, pairs, tiles, size, views, times, random):  # type: ignore[no-untyped-def]
    """(times,) challenger's score / champion's, and (times,) probability of being worse, for random val sets."""
    ratios, worse = [], []
    for _ in range(times):
        challenger, champion = pairs[random.integers(len(pairs))]
        some = random.choice(tiles, size, replace=False).tolist()
        ours, theirs = (found(models[name], some, views) for name in (challenger, champion))
        one = np.ones((1, size))
        ratios.append(ours.score(one)[0] / max(theirs.score(one)[0], 1e-9))
        worse.append(Samples.of(ours, theirs, _DRAWS).worse)
    return np.array(ratios), np.array(worse)


def _folds(models: dict[str, Model], tiles: list[int], times: int, random: np.random.Generator) -> None:
    """Print whether two more trainings (folds), each measured on new tasks it was not trained on, decide better."""
    right: dict[str, list[bool]] = {"4 tasks of the val set": [], "and 10 new ones, by two folds": []}
    outcomes = {name: seen(model, 30) for name, model in models.items()}
    for name, model in models.items():
        kind, _, seed = name.rpartition("-")
        champion = f"champion-{seed}"
        folds = [f"{kind}-fold{number}-{seed}" for number in (0, 1)]
        if kind not in ("good", "careless") or not all(each in models for each in (champion, *folds)):
            continue
        better = _score(outcomes[name], tiles) > _score(outcomes[champion], tiles)
        new = model.recipe["dropped_in"]
        for _ in range(times):
            some = random.choice(tiles, 4, replace=False).tolist()
            ours, theirs = found(outcomes[name], some), found(outcomes[champion], some)
            right["4 tasks of the val set"].append((Samples.of(ours, theirs, _DRAWS).worse < 0.5) == better)
            held_out = [*zip(folds, (new[5:], new[:5]), strict=True)]
            parts = [outcome for fold, part in held_out for outcome in found(outcomes[fold], part).outcomes]
            all_ours = Found([*ours.outcomes, *parts], [0])
            all_theirs = Found([*theirs.outcomes, *found(outcomes[champion], [*new[5:], *new[:5]]).outcomes], [0])
            right["and 10 new ones, by two folds"].append(
                (Samples.of(all_ours, all_theirs, _DRAWS).worse < 0.5) == better
            )
    for what, answers in right.items():
        print(f"{what}: right in {np.mean(answers):.0%} of {len(answers)}")


def _thresholds(models: dict[str, dict[str, Seen]], worth: dict[str, float], tiles: list[int], times: int) -> None:
    """Print the part of the work that is saved on other tiles, by number of tasks to choose thresholds on and doubt."""
    random = np.random.default_rng(0)
    good = sorted(models, key=lambda name: -worth[name])[:12]
    rows: dict[str, list[float]] = {"the defaults": [], "the best there is": []}
    for size, doubt in itertools.product((2, 4, 10, 20), _DOUBTS):
        rows[f"{size:2d} tasks, doubt {doubt:g}"] = []
    for name in good:
        outcomes = [models[name][str(tile)].plain() for tile in tiles]
        rows["the defaults"].append(_saved(outcomes, {0: DEFAULT_SHOWN}))
        rows["the best there is"].append(_saved(outcomes, choose(outcomes, [0], 0.0)))
        for size, doubt in itertools.product((2, 4, 10, 20), _DOUBTS):
            for _ in range(max(times // 40, 1)):
                order = random.permutation(len(outcomes)).tolist()
                chosen = choose([outcomes[place] for place in order[:size]], [0], doubt)
                rest = [outcomes[place] for place in order[size:]]
                rows[f"{size:2d} tasks, doubt {doubt:g}"].append(_saved(rest, chosen))
    for what, values in rows.items():
        print(f"{what:24s} saved {np.mean(values):+.3f}, worst {np.min(values):+.3f}", flush=True)


def _saved(outcomes: list[Outcome], shown: dict[int, Shown]) -> float:
    objects, spared = saved(outcomes, shown).sum(axis=0)
    return float(spared / objects)


_RULES = {"at least as good": lambda ratio, _: ratio >= 1} | {
    f"worse: at most {limit:.0%}": lambda ratio, worse, limit=limit: (worse <= limit) & (ratio >= COLLAPSE)
    for limit in (0.2, 0.5, 0.6, 0.7, 0.8, 0.9)
}

if __name__ == "__main__":
    main()
