"""The frame of a chart in SVG: where values lie in it, and the round numbers along its axes. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.state.learning_curve import Curve

_BAND = 24  # points of a fitted curve


@dataclass(frozen=True, slots=True)
class Frame:
    """The size of a chart, in its own units, and what is left free around the values."""

    width: int
    height: int
    left: int
    right: int
    above: int
    below: int

    def x(self, value: float, reach: float) -> float:
        """Where a value lies on the horizontal axis, which ends at `reach`."""
        return round(self.left + (self.width - self.left - self.right) * value / max(reach, 1e-9), 1)

    def y(self, value: float, top: float) -> float:
        """Where a value lies on the vertical axis, from 0 to `top`; others lie at its ends."""
        part = min(max(value, 0.0), top) / top
        return round(self.height - self.below - (self.height - self.above - self.below) * part, 1)

    def ticks(self, top: float) -> tuple[tuple[float, str], ...]:
        """(y, text) of the vertical axis."""
        return tuple((self.y(part * top / 2, top), f"{part * top / 2:.1f}") for part in range(3))

    def steps(self, reach: int) -> tuple[tuple[float, str], ...]:
        """(x, text) of the horizontal axis: round numbers up to `reach`, at most six."""
        size = 10 ** max(math.floor(math.log10(max(reach, 1))) - 1, 0)
        numbers = range(0, reach + 1, next(size * part for part in (1, 2, 5, 10, 20, 50) if reach <= 5 * size * part))
        return tuple((self.x(number, reach), f"{number}") for number in numbers)

    def fitted(self, curve: Curve, reach: int, top: float) -> tuple[str, str]:
        """(line, band) of a learning curve that draws, from its first version to `reach` tasks."""
        first = max(min(point.tasks for point in curve.points), 1)
        along = [first * (reach / first) ** (step / _BAND) for step in range(_BAND + 1)]
        low, middle, high = (
            [(self.x(tasks, reach), self.y(value, top)) for tasks, value in zip(along, values, strict=True)]
            for values in zip(*map(curve.at, along), strict=True)
        )
        return points(middle), points([*high, *reversed(low)])


def top_of(values: Sequence[float]) -> float:
    """The end of a vertical axis: the next fifth above all values."""
    return min(max(math.ceil(max(values, default=0.0) * 5 + 0.25) / 5, 0.2), 1.0)


def points(places: Iterable[tuple[float, float]]) -> str:
    """The `points` of an SVG line or area."""
    return " ".join(f"{x:g},{y:g}" for x, y in places)
