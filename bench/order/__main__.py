"""`python -m bench.order plays.jsonl`: what each way to choose gained over chance, from the plays of bench.order.play.

Every strategy of a seed begins with the same model and is measured on the same tiles. The bootstrap draws seeds, and in
each of them tiles, the same for all strategies.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.order.play import WITH, arms
from shared.geometry.detections import Floats

_DRAWS = 1000
_GRID = 40  # points of a curve between two budgets
_AXES = ("images", "boxes", "work")  # of a curve
_COLOURS = {
    "random": "#1d2330",
    "mean confidence": "#2a6fdb",
    "image confidence": "#4fb3bf",
    "least confident": "#7cb518",
    "sum": "#d1495b",
    "sum by work": "#edae49",
    "easy first": "#8d6cab",
}


@dataclass(frozen=True, slots=True, eq=False)
class Play:
    """One strategy with one seed, after each of R rounds."""

    scores: Floats  # (R, 1 + draws) mAP50 on the test tiles as they are, and on each draw of them
    images: Floats  # (R,) annotated so far
    boxes: Floats  # (R,)
    work: Floats  # (R,) in drawn boxes, with the help of the model of each round
    saved: float  # of the work of the whole pool, if the last model helps with what is left

    def mean(self, axis: str, low: float, high: float) -> Floats:
        """(1 + draws,) mean mAP50 between two budgets, along `images`, `boxes` or `work`."""
        budget = getattr(self, axis)
        grid = np.linspace(low, high, _GRID)
        return np.array([np.interp(grid, budget, scores).mean() for scores in self.scores.T])


def main() -> None:
    """Print the table, draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plays", type=Path)
    parser.add_argument("--picture", type=Path, help=".svg or .png")
    given = parser.parse_args()
    lines = [json.loads(line) for line in given.plays.read_text().splitlines()]
    known = {seed: {one["arm"]: one for one in lines if one["seed"] == seed} for seed in {one["seed"] for one in lines}}
    whole = [known[seed] for seed in sorted(known) if set(arms()) <= known[seed].keys()]
    if not whole:
        raise SystemExit(f"{given.plays}: no seed was played with all strategies: python -m bench.order.play")
    random = np.random.default_rng(0)
    plays = [_read(of_seed, random) for of_seed in whole]
    picked = np.column_stack([np.arange(len(plays)), random.integers(len(plays), size=(len(plays), _DRAWS))])
    _print(plays, picked)
    if given.picture:
        _draw(plays, given.picture)


def _read(of_seed: Mapping[str, Any], random: np.random.Generator) -> dict[str, Play]:
    count = len(next(iter(of_seed.values()))["rounds"][0]["there"])
    drawn = random.multinomial(count, np.full(count, 1 / count), size=_DRAWS)
    weights = np.vstack([np.ones(count), drawn]).astype(np.float64)
    pool = of_seed["random"]["rounds"][-1]["pool_boxes"]
    return {
        arm: Play(
            scores=np.array([_average_precision(each, weights) for each in play["rounds"]]),
            images=_sizes(play, lambda each: len(each["done"])),
            boxes=_sizes(play, lambda each: each["boxes"]),
            work=_sizes(play, lambda each: each["work"]),
            saved=1 - (play["rounds"][-1]["work"] + play["rounds"][-1]["work_left"]) / pool,
        )
        for arm, play in of_seed.items()
    }


def _sizes(play: Mapping[str, Any], size: Callable[[Any], float]) -> Floats:
    """(R,) a size of each round of a play."""
    return np.array([size(each) for each in play["rounds"]], dtype=np.float64)


def _average_precision(standing: Mapping[str, Any], weights: Floats) -> Floats:
    """(D, tiles) weights → (D,) AP at IoU 0.5 of one class: as jobs.train.evidence, at one threshold."""
    place = np.repeat(np.arange(len(standing["scores"])), [len(scores) for scores in standing["scores"]])
    scores, right = (
        np.concatenate([np.array(row, dtype=np.float64) for row in standing[key]]) for key in ("scores", "right")
    )
    order = np.argsort(-scores, kind="stable")
    drawn = weights[:, place[order]]
    hits = drawn * right[order]
    precision = hits.cumsum(axis=1) / np.maximum(drawn.cumsum(axis=1), 1e-16)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area: Floats = (best * hits).sum(axis=1) / (weights @ np.array(standing["there"], dtype=np.float64))
    return area


def _print(plays: Sequence[Mapping[str, Play]], picked: Any) -> None:
    """`picked`: (seeds, 1 + draws) which seeds count in each draw."""
    chance = [of_seed["random"] for of_seed in plays]
    each = chance[0]
    print(f"{len(plays)} seeds, rounds at {', '.join(f'{images:.0f}' for images in each.images)} images")
    print(
        "| order | images, boxes, edits at the end | mAP50 at the end | mean mAP50 by images | by boxes | by edits | "
        "saved of the whole pool |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    for arm in arms():
        ours = [of_seed[arm] for of_seed in plays]
        if len(ours[0].images) < len(each.images):
            _print_first(ours, chance, picked)
            continue
        ends = [f"{np.mean([getattr(play, axis)[-1] for play in ours]):.0f}" for axis in _AXES]
        end = np.array([play.scores[-1] for play in ours])
        cells = [", ".join(ends), f"{end[:, 0].mean():.3f}"]
        for axis in _AXES:
            budgets = [
                (getattr(play, axis)[0], min(getattr(play, axis)[-1], getattr(other, axis)[-1]))
                for play, other in zip(ours, chance, strict=True)
            ]
            means = np.array([play.mean(axis, *budget) for play, budget in zip(ours, budgets, strict=True)])
            others = np.array([play.mean(axis, *budget) for play, budget in zip(chance, budgets, strict=True)])
            cells.append(f"{others[:, 0].mean():.3f}" if arm == "random" else _difference(means - others, picked))
        saved = np.array([play.saved for play in ours])
        gained = saved - np.array([play.saved for play in chance])
        drawn = np.repeat(gained[:, None], 1 + _DRAWS, axis=1)
        cells.append(f"{saved.mean():.1%}" + ("" if arm == "random" else f" ({_difference(drawn, picked)})"))
        print(f"| {arm} | {' | '.join(cells)} |")


def _print_first(ours: Sequence[Play], chance: Sequence[Play], picked: Any) -> None:
    gained = np.array([play.scores[0] - other.scores[0] for play, other in zip(ours, chance, strict=True)])
    score = np.mean([other.scores[0, 0] for other in chance])
    print(f"| first round by clusters; at random {score:.3f} | | | {_difference(gained, picked)} | | | |")


def _difference(gained: Floats, picked: Any) -> str:
    """(seeds, 1 + draws) of differences → "+0.012 (−0.020 to +0.040)": their mean, and where 95 % of the draws are."""
    means = np.take_along_axis(gained, picked, axis=0).mean(axis=0)
    low, high = np.quantile(means[1:], (0.025, 0.975))
    return f"{means[0]:+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "−")


def _draw(plays: Sequence[Mapping[str, Play]], file: Path) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": 9, "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        for axes, (axis, label) in zip(
            figure.subplots(1, 3, sharey=True),
            {"images": "annotated images", "boxes": "annotated boxes", "work": "edits, in drawn boxes"}.items(),
            strict=True,
        ):
            for arm in arms():
                name = arm.removesuffix(WITH)
                if name not in _COLOURS:
                    continue
                along = np.mean([getattr(of_seed[arm], axis) for of_seed in plays], axis=0)
                height = np.mean([of_seed[arm].scores[:, 0] for of_seed in plays], axis=0)
                style = "--" if arm.endswith(WITH) else "-"
                axes.plot(
                    along, height, style, color=_COLOURS[name], linewidth=2 if name == "random" else 1.2, label=arm
                )
            axes.set_xlabel(label)
        axes.set_xlim(left=0)
        figure.axes[0].set_ylabel("mAP50 on tiles that nobody annotates")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
        figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
