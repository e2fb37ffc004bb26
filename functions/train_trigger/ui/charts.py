"""The geometry of the two pictures of a control: its versions one after another, and its learning curve. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from functions.train_trigger.status.history import Version
from shared.state.learning_curve import NEXT, Curve

WIDTH, HEIGHT = 480, 220  # of a picture, in its own units
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 12, 34
_BAND = 24  # points of a fitted curve


@dataclass(frozen=True, slots=True)
class Mark:
    """One version in a picture."""

    x: float
    y: float
    label: str  # "v12", or empty where there is no room
    title: str  # what is said when it is pointed at
    passed: bool  # it was promoted
    serving: bool
    low: float  # ends of a line through the mark: its error, or where the champion stood; both `y` without one
    high: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture, ready to be drawn. Lines are `points` of SVG."""

    metric: str
    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, str], ...]  # of the vertical axis: y, text
    steps: tuple[tuple[float, str], ...]  # of the horizontal one: x, text
    line: str
    band: str = ""


def versions_chart(versions: Sequence[Version], metric: str) -> Chart | None:
    """The metric of each version on the val set of its run, beside its champion's; None for fewer than two."""
    known = [(version, version.manifest.metrics[metric]) for version in versions if metric in version.manifest.metrics]
    if len(known) < 2:
        return None
    top = _top([value for _, value in known] + [_champion(version, metric) or 0.0 for version, _ in known])
    width = (WIDTH - _LEFT - _RIGHT) / max(len(known), 2)
    each = max(1, math.ceil(len(known) / 12))
    marks = []
    for place, (version, value) in enumerate(known):
        manifest, champion = version.manifest, _champion(version, metric)
        y, other = _y(value, top), _y(value if champion is None else champion, top)
        against = f", {manifest.gate.against or 'champion'} {champion:.3f}" if champion is not None else ""
        marks.append(
            Mark(
                x=round(_LEFT + width * (place + 0.5), 1),
                y=y,
                label=f"v{manifest.version}" if (len(known) - 1 - place) % each == 0 else "",
                title=f"v{manifest.version}: {metric} {value:.3f}{against}, {version.outcome.word}",
                passed=version.outcome.promoted,
                serving=version.serving,
                low=max(y, other),
                high=min(y, other),
            )
        )
    steps = tuple((mark.x, mark.label) for mark in marks if mark.label)
    line = _points((mark.x, mark.y) for mark in marks if mark.passed)
    return Chart(metric, tuple(marks), _ticks(top), steps, line)


def learning_chart(curve: Curve, serving: int | None) -> Chart | None:
    """The metric against annotated tasks, and what the next ones would bring; None for fewer than two versions."""
    if len(curve.points) < 2:
        return None
    most = max(point.tasks for point in curve.points)
    reach = most + NEXT if curve.draws else most
    top = _top([min(point.value + point.error, 1.0) for point in curve.points])

    def x(tasks: float) -> float:
        return round(_LEFT + (WIDTH - _LEFT - _RIGHT) * tasks / reach, 1)

    marks = [
        Mark(
            x=x(point.tasks),
            y=_y(point.value, top),
            label="",
            title=f"v{point.version}: {curve.metric} {point.value:.3f} ± {point.error:.3f} from {point.tasks} tasks",
            passed=point.served,
            serving=point.version == serving,
            low=_y(max(point.value - point.error, 0.0), top),
            high=_y(min(point.value + point.error, top), top),
        )
        for point in curve.points
    ]
    steps = tuple((x(tasks), f"{tasks}") for tasks in _round_steps(reach))
    if not curve.draws:
        return Chart(curve.metric, tuple(marks), _ticks(top), steps, "")
    first = max(min(point.tasks for point in curve.points), 1)
    along = [first * (reach / first) ** (step / _BAND) for step in range(_BAND + 1)]
    low, middle, high = zip(*map(curve.at, along), strict=True)
    upper = [(x(tasks), _y(min(max(value, 0.0), top), top)) for tasks, value in zip(along, high, strict=True)]
    lower = [(x(tasks), _y(min(max(value, 0.0), top), top)) for tasks, value in zip(along, low, strict=True)]
    line = _points((x(tasks), _y(min(max(value, 0.0), top), top)) for tasks, value in zip(along, middle, strict=True))
    return Chart(curve.metric, tuple(marks), _ticks(top), steps, line, _points([*upper, *reversed(lower)]))


def _champion(version: Version, metric: str) -> float | None:
    gate = version.manifest.gate
    return gate.champion if gate.metric == metric else None


def _top(values: Sequence[float]) -> float:
    """The end of the vertical axis: the next fifth above all values."""
    return min(max(math.ceil(max(values, default=0.0) * 5 + 0.25) / 5, 0.2), 1.0)


def _y(value: float, top: float) -> float:
    return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * max(value, 0.0) / top, 1)


def _ticks(top: float) -> tuple[tuple[float, str], ...]:
    return tuple((_y(part * top / 2, top), f"{part * top / 2:.1f}") for part in range(3))


def _round_steps(reach: int) -> range:
    """Round numbers of tasks up to `reach`, at most six."""
    size = 10 ** max(math.floor(math.log10(max(reach, 1))) - 1, 0)
    return range(0, reach + 1, next(size * part for part in (1, 2, 5, 10, 20, 50) if reach <= 5 * size * part))


def _points(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in places)
