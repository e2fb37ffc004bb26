"""The learning curve of a control, and what more labels would bring. Pure.

Metrics of models follow a power law of the number of examples (J. Hestness et al. 2017, arXiv:1712.00409):
metric = a − b · n^−c with a ≤ 1, b ≥ 0. The uncertainty comes from drawing each measurement again, with the error of a
val set of its size, and fitting each draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.geometry.detections import Floats
from shared.state.versions import Manifest

FEWEST = 4
"""Versions, measured after different numbers of annotated tasks, below which a curve says nothing."""
WORTH = 0.01
"""A gain from which more labels are worth it: a hundredth, about what retraining alone changes."""
NEXT = 100
"""Tasks that the answer is about."""
_DRAWS = 300
_POWERS = np.geomspace(0.1, 2.0, 12)
_LOW, _HIGH = 0.1, 0.9  # quantiles: the truth is between them four times in five


@dataclass(frozen=True, slots=True)
class Point:
    """One version, as the val set of its run measured it."""

    version: int
    tasks: int  # annotated, of both splits
    value: float  # 0–1
    error: float  # standard error
    served: bool  # the gate let it pass


@dataclass(frozen=True, slots=True)
class Curve:
    """The measurements of one control, and the fit if there are enough."""

    control: str
    metric: str
    points: tuple[Point, ...]  # by tasks
    draws: Floats | None = None  # (D, 3) a, b, c of each draw; None: too few points

    def at(self, tasks: Sequence[float]) -> Floats:
        """(T,) numbers of tasks → (3, T) lower bound, median and upper bound of the metric; needs `draws`."""
        assert self.draws is not None
        a, b, c = (column[:, None] for column in self.draws.T)
        values = a - b * np.asarray(tasks, dtype=np.float64) ** -c
        found: Floats = np.quantile(values, [_LOW, 0.5, _HIGH], axis=0)
        return found

    def gain(self) -> tuple[float, float, float] | None:
        """Lower bound, median and upper bound of what the next NEXT tasks add to the metric; None: not known yet."""
        if self.draws is None:
            return None
        now = float(self.points[-1].tasks)
        _, b, c = self.draws.T
        low, middle, high = np.quantile(b * (now**-c - (now + NEXT) ** -c), [_LOW, 0.5, _HIGH]).tolist()
        return low, middle, high

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


def curve_of(control: str, manifests: Sequence[Manifest], seed: int = 0) -> Curve | None:
    """The curve of a control's versions that were measured by the newest one's metric; None without any."""
    metric = manifests[-1].gate.metric if manifests else ""
    points = sorted(
        (point for manifest in manifests if (point := _point(manifest, metric))), key=lambda point: point.tasks
    )
    if not points:
        return None
    if len({point.tasks for point in points}) < FEWEST:
        return Curve(control, metric, tuple(points))
    return Curve(control, metric, tuple(points), _draws(points, seed))


def _point(manifest: Manifest, metric: str) -> Point | None:
    value, tasks = manifest.metrics.get(metric), manifest.lineage.get("tasks")
    counts = [tasks[split] for split in ("train", "val") if split in tasks] if isinstance(tasks, dict) else []
    if value is None or manifest.gate.metric != metric or len(counts) < 2:
        return None
    # Objects of one picture are neither as good as one measurement nor as so many: the geometric mean of both.
    measured = max(manifest.gate.tasks * manifest.gate.things, 1) ** 0.5
    error = max((value * (1.0 - value) / measured) ** 0.5, 0.005)
    return Point(manifest.version, int(sum(counts)), value, error, manifest.gate.passed)


def _draws(points: Sequence[Point], seed: int) -> Floats:
    """(D, 3) a, b, c of the measurements drawn anew."""
    random = np.random.default_rng(seed)
    tasks = np.array([max(point.tasks, 1) for point in points], dtype=np.float64)
    values, errors = (np.array([getattr(point, name) for point in points]) for name in ("value", "error"))
    drawn = values + errors * random.standard_normal((_DRAWS, len(points)))
    return np.array([_fit(tasks, row, errors) for row in drawn])


def _fit(tasks: Floats, values: Floats, errors: Floats) -> Floats:
    """(3,) a, b, c: 1 − value = (1 − a) + b · n^−c, with neither part negative, for the power that fits best."""
    from scipy.optimize import nnls

    best, found = np.inf, np.zeros(3)
    for power in _POWERS:
        design = np.stack([np.ones_like(tasks), tasks**-power], axis=1)
        (missing, slope), left = nnls(design / errors[:, None], (1.0 - values) / errors)
        if left < best:
            best, found = left, np.array([1.0 - missing, slope, power])
    return found
