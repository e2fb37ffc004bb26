"""The geometry of a report's charts: precision-recall, learning curve, epochs, and the gate's interval. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jobs.train.checkpoints.spool import Epoch
from shared.geometry.detections import Floats
from shared.state.learning_curve import NEXT, Curve

WIDTH, HEIGHT = 480, 230  # of a chart, in its own units
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 12, 40
_BAND = 24  # points of a fitted curve


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart."""

    name: str
    points: str  # of SVG
    style: str  # class of style


@dataclass(frozen=True, slots=True)
class Mark:
    """One point of a chart, with the reach of its error."""

    x: float
    y: float
    low: float  # as y
    high: float
    title: str
    style: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart, ready to be drawn."""

    title: str
    across: str  # what the axis says
    ticks: tuple[tuple[float, str], ...]  # y, text
    steps: tuple[tuple[float, str], ...]  # x, text
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    band: str = ""  # points of an area
    note: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """An interval on a line from `low` to `high`, as percent of the line's length."""

    low: float
    high: float
    middle: float
    zero: float
    ticks: tuple[tuple[float, str], ...]


def precision_recall(curves: Sequence[tuple[str, Floats]]) -> Chart | None:
    """(name, (N, 2) recall and precision) of challenger and champion; None without a point."""
    lines = [
        Line(name, _points((_x(recall, 1.0), _y(precision, 1.0)) for recall, precision in curve.tolist()), f"line{n}")
        for n, (name, curve) in enumerate(curves)
        if len(curve)
    ]
    if not lines:
        return None
    steps = tuple((_x(part / 4, 1.0), f"{part / 4:g}") for part in range(5))
    note = "Precision upwards: the nearer to the upper right corner, the better. All labels together, IoU 0.5."
    return Chart("Precision and recall", "recall", _ticks(1.0), steps, tuple(lines), note=note)


def learning(curve: Curve | None, now: int) -> Chart | None:
    """The metric against annotated tasks; `now`: the number of this version. None for fewer than two versions."""
    if curve is None or len(curve.points) < 2:
        return None
    most = max(point.tasks for point in curve.points)
    reach = float(most + NEXT if curve.draws else most)
    top = _top([min(point.value + point.error, 1.0) for point in curve.points])
    marks = tuple(
        Mark(
            _x(point.tasks, reach),
            _y(point.value, top),
            _y(point.value - point.error, top),
            _y(min(point.value + point.error, top), top),
            f"v{point.version}: {curve.metric} {point.value:.3f} ± {point.error:.3f} from {point.tasks} tasks",
            "now" if point.version == now else "passed" if point.served else "refused",
        )
        for point in curve.points
    )
    steps = tuple((_x(tasks, reach), f"{tasks}") for tasks in _round_steps(int(reach)))
    lines, band = tuple[Line, ...](), ""
    if curve.draws:
        first = max(min(point.tasks for point in curve.points), 1)
        along = [first * (reach / first) ** (step / _BAND) for step in range(_BAND + 1)]
        low, middle, high = zip(*map(curve.at, along), strict=True)
        places = [_x(tasks, reach) for tasks in along]
        lines = (
            Line("", _points((x, _y(min(value, top), top)) for x, value in zip(places, middle, strict=True)), "line0"),
        )
        upper = [(x, _y(min(value, top), top)) for x, value in zip(places, high, strict=True)]
        lower = [(x, _y(min(value, top), top)) for x, value in zip(places, low, strict=True)]
        band = _points([*upper, *reversed(lower)])
    return Chart(f"{curve.metric} by annotated tasks", "annotated tasks", _ticks(top), steps, lines, marks, band,
                 _capital(curve.sentence().removeprefix(f"{curve.control}: ")))  # fmt: skip


def epochs(done: Sequence[Epoch]) -> Chart | None:
    """What ultralytics measured after each epoch of this training; None for fewer than two."""
    metric = next((name for name in ("mAP50-95", "top1") if done and name in done[-1].metrics), "")
    known = [each for each in done if metric in each.metrics]
    if len(known) < 2:
        return None
    reach, top = float(known[-1].number), _top([each.metrics[metric] for each in known])
    step = -(-len(known) // 120)
    line = _points((_x(each.number, reach), _y(each.metrics[metric], top)) for each in known[::step])
    best = next((each for each in reversed(known) if each.best), None)
    marks = () if best is None else (
        Mark(
            _x(best.number, reach),
            _y(best.metrics[metric], top),
            _y(best.metrics[metric], top),
            _y(best.metrics[metric], top),
            f"epoch {best.number}: {best.metrics[metric]:.3f}",
            "now",
        ),
    )  # fmt: skip
    steps = tuple((_x(number, reach), f"{number}") for number in _round_steps(int(reach)))
    said = f"Epoch {best.number} was the best by ultralytics' measure, and is this version. " if best else ""
    if known[0].number > 1:
        said += f"Epochs before {known[0].number} were of an earlier attempt. "
    note = f"{said}Measured on the val set by the trainer itself, so not quite as the gate does."
    title = f"{metric} while it trained"
    return Chart(title, "epoch", _ticks(top), steps, (Line("", line, "line0"),), marks, note=note)


def reach_of(low: float, high: float, middle: float) -> Reach:
    """The interval of a difference, on a line that is as long to both sides of zero."""
    most = max(abs(low), abs(high), abs(middle), 0.01)
    size = 10.0 ** math.floor(math.log10(most))
    end = next(size * part for part in (1, 2, 5, 10) if most <= size * part)

    def place(value: float) -> float:
        return round(50 + 50 * value / end, 2)

    ticks = tuple((place(part * end), f"{part * end:+.3g}" if part else "0") for part in (-1, -0.5, 0, 0.5, 1))
    return Reach(place(low), place(high), place(middle), 50.0, ticks)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _x(value: float, reach: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * value / max(reach, 1e-9), 1)


def _y(value: float, top: float) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(value, 0.0), top) / top, 1)


def _top(values: Sequence[float]) -> float:
    """The end of the vertical axis: the next fifth above all values."""
    return min(max(math.ceil(max(values, default=0.0) * 5 + 0.25) / 5, 0.2), 1.0)


def _ticks(top: float) -> tuple[tuple[float, str], ...]:
    return tuple((_y(part * top / 2, top), f"{part * top / 2:.1f}") for part in range(3))


def _round_steps(reach: int) -> range:
    """Round numbers up to `reach`, at most six."""
    size = 10 ** max(math.floor(math.log10(max(reach, 1))) - 1, 0)
    return range(0, reach + 1, next(size * part for part in (1, 2, 5, 10, 20, 50) if reach <= 5 * size * part))


def _points(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in places)
