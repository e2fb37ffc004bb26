"""The learning curve of a control, and what more labels would bring. Pure.

Metrics of models follow a power law of the number of examples (J. Hestness et al. 2017, arXiv:1712.00409):
metric = a − b · n^−c with a ≤ 1, b ≥ 0. The uncertainty comes from drawing each measurement again, with the error of a
val set of its size, and fitting each draw. Without numpy: train_trigger, which has none, shows it too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import mul
from random import Random
from typing import Any, NamedTuple

from shared.state.versions import Manifest

FEWEST = 4
"""Versions, measured after different numbers of annotated tasks, below which a curve says nothing."""
WORTH = 0.01
"""A gain from which more labels are worth it: a hundredth, about what retraining alone changes."""
NEXT = 100
"""Tasks that the answer is about."""
_DRAWS = 300
_POWERS = tuple(0.1 * 20 ** (step / 11) for step in range(12))  # 0.1 … 2
_LOW, _HIGH = 0.1, 0.9  # quantiles: the truth is between them four times in five


@dataclass(frozen=True, slots=True)
class Point:
    """One version, as the val set of its run measured it."""

    version: int
    tasks: int  # annotated, of both splits
    value: float  # 0–1
    error: float  # standard error
    served: bool  # the gate let it pass


class Law(NamedTuple):
    """metric = a − b · n^−c"""

    a: float
    b: float
    c: float


@dataclass(frozen=True, slots=True)
class Curve:
    """The measurements of one control, and the fit if there are enough."""

    control: str
    metric: str
    points: tuple[Point, ...]  # by tasks
    draws: tuple[Law, ...] = ()  # one a draw; empty: too few points

    def at(self, tasks: float) -> tuple[float, float, float]:
        """Lower bound, median and upper bound of the metric after so many tasks; needs `draws`."""
        return _bounds([law.a - law.b * tasks**-law.c for law in self.draws])

    def gain(self) -> tuple[float, float, float] | None:
        """Lower bound, median and upper bound of what the next NEXT tasks add to the metric; None: not known yet."""
        if not self.draws:
            return None
        now = float(max(self.points[-1].tasks, 1))
        return _bounds([law.b * (now**-law.c - (now + NEXT) ** -law.c) for law in self.draws])

    def sentence(self) -> str:
        """Whether the next tasks are worth it, for a person."""
        gain = self.gain()
        if gain is None:
            known = len({point.tasks for point in self.points})
            return (
                f"{self.control}: whether the next {NEXT} tasks are worth it is not known yet. A curve needs {FEWEST} "
                f"versions, each from more annotated tasks; the store has {known}."
            )
        low, middle, high = gain
        expected = f"about +{middle:.3f} {self.metric} ({low:.3f} to {high:.3f}, four times in five)"
        if low >= WORTH:
            return f"{self.control}: the next {NEXT} tasks are worth it: {expected}."
        if high < WORTH:
            return f"{self.control}: the next {NEXT} tasks are hardly worth it: {expected}."
        return f"{self.control}: it is not clear whether the next {NEXT} tasks are worth it: {expected}."

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        gain = self.gain()
        return {
            "control": self.control,
            "metric": self.metric,
            "points": [
                {
                    "version": point.version,
                    "tasks": point.tasks,
                    "value": point.value,
                    "error": point.error,
                    "passed": point.served,
                }
                for point in self.points
            ],
            "next_tasks": NEXT,
            "gain": gain[1] if gain else None,
            "gain_80_percent": [gain[0], gain[2]] if gain else None,
            "sentence": self.sentence(),
        }


def curve_of(control: str, manifests: Sequence[Manifest]) -> Curve | None:
    """The curve of a control's versions that were measured by the newest one's metric; None without any."""
    metric = manifests[-1].gate.metric if manifests else ""
    points = sorted(
        (point for manifest in manifests if (point := _point(manifest, metric))), key=lambda point: point.tasks
    )
    if not points:
        return None
    if len({point.tasks for point in points}) < FEWEST:
        return Curve(control, metric, tuple(points))
    return Curve(control, metric, tuple(points), _draws(tuple(points)))


def _point(manifest: Manifest, metric: str) -> Point | None:
    value, tasks = manifest.metrics.get(metric), manifest.lineage.get("tasks")
    held = [tasks.get(split) for split in ("train", "val")] if isinstance(tasks, dict) else []
    counts = [count for count in held if isinstance(count, int)]
    if value is None or not 0 <= value <= 1 or manifest.gate.metric != metric or len(counts) < 2:
        return None
    # Objects of one picture are neither as good as one measurement nor as so many: the geometric mean of both.
    measured = max(manifest.gate.tasks * manifest.gate.things, 1) ** 0.5
    error = max((value * (1.0 - value) / measured) ** 0.5, 0.005)
    return Point(manifest.version, sum(counts), value, error, manifest.gate.passed)


@lru_cache(maxsize=256)
def _draws(points: tuple[Point, ...]) -> tuple[Law, ...]:
    """The laws of the measurements drawn anew."""
    random = Random(0)  # noqa: S311 - not for secrets
    fits = [_Fit(points, power) for power in _POWERS]
    laws = []
    for _ in range(_DRAWS):
        missing = [1.0 - random.gauss(point.value, point.error) for point in points]
        _, law = min(fit.to(missing) for fit in fits)
        laws.append(law)
    return tuple(laws)


class _Fit:
    """Least squares of 1 − value = (1 − a) + b · n^−c with neither part negative, for one power c.

    Each measurement counts by its error. What does not change from draw to draw is summed up once.
    """

    def __init__(self, points: Sequence[Point], power: float) -> None:
        self._power = power
        falls = [max(point.tasks, 1) ** -power for point in points]
        self._weights = [point.error**-2 for point in points]
        self._slopes = list(map(mul, self._weights, falls))
        self._one, self._fall = sum(self._weights), sum(self._slopes)
        self._square = sum(map(mul, self._slopes, falls))

    def to(self, missing: Sequence[float]) -> tuple[float, Law]:
        """(what is left of the squares, but for the same sum of all powers; the law)"""
        level, slope = sum(map(mul, self._weights, missing)), sum(map(mul, self._slopes, missing))
        determinant = self._one * self._square - self._fall**2
        candidates = [(max(level / self._one, 0.0), 0.0), (0.0, max(slope / self._square, 0.0))]
        if determinant > 1e-12 * self._one * self._square:  # else all points have the same number of tasks
            both = (
                (level * self._square - slope * self._fall) / determinant,
                (slope * self._one - level * self._fall) / determinant,
            )
            if min(both) >= 0.0:
                candidates = [both]
        return min(
            (
                one * one * self._one + 2 * one * fall * self._fall + fall * fall * self._square
                - 2 * (one * level + fall * slope),
                Law(1.0 - one, fall, self._power),
            )
            for one, fall in candidates
        )  # fmt: skip


def _bounds(values: list[float]) -> tuple[float, float, float]:
    """The quantiles that bound the truth four times in five, and the median between them."""
    ordered = sorted(values)
    low, middle, high = (_quantile(ordered, part) for part in (_LOW, 0.5, _HIGH))
    return low, middle, high


def _quantile(ordered: Sequence[float], part: float) -> float:
    place = part * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
