"""The geometry of a report's charts: precision-recall, learning curve, epochs, and the gate's interval. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.train.checkpoints.spool import Epoch
from shared.chart_frame import Frame, points, top_of
from shared.geometry.detections import Floats
from shared.state.learning_curve import NEXT, Curve

FRAME = Frame(width=480, height=230, left=44, right=14, above=12, below=40)


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
    ticks: tuple[tuple[float, str], ...]


def precision_recall(curves: Sequence[tuple[str, Floats]]) -> Chart | None:
    """(name, (N, 2) recall and precision) of challenger and champion; None without a point."""
    lines = [
        Line(
            name,
            points((FRAME.x(recall, 1.0), FRAME.y(precision, 1.0)) for recall, precision in curve.tolist()),
            f"line{n}",
        )
        for n, (name, curve) in enumerate(curves)
        if len(curve)
    ]
    if not lines:
        return None
    steps = tuple((FRAME.x(part / 4, 1.0), f"{part / 4:g}") for part in range(5))
    note = "Precision upwards: the nearer to the upper right corner, the better. All labels together, IoU 0.5."
    return Chart("Precision and recall", "recall", FRAME.ticks(1.0), steps, tuple(lines), note=note)


def learning(curve: Curve | None, now: int) -> Chart | None:
    """The metric against annotated tasks; `now`: the number of this version. None for fewer than two versions."""
    if curve is None or len(curve.points) < 2:
        return None
    most = max(point.tasks for point in curve.points)
    reach = most + NEXT if curve.draws else most
    top = top_of([min(point.value + point.error, 1.0) for point in curve.points])
    marks = tuple(
        Mark(
            FRAME.x(point.tasks, reach),
            FRAME.y(point.value, top),
            FRAME.y(point.value - point.error, top),
            FRAME.y(point.value + point.error, top),
            f"v{point.version}: {curve.metric} {point.value:.3f} ± {point.error:.3f} from {point.tasks} tasks",
            "now" if point.version == now else "passed" if point.served else "refused",
        )
        for point in curve.points
    )
    lines, band = tuple[Line, ...](), ""
    if curve.draws:
        line, band = FRAME.fitted(curve, reach, top)
        lines = (Line("", line, "line0"),)
    title, note = f"{curve.metric} by annotated tasks", _capital(curve.sentence().removeprefix(f"{curve.control}: "))
    return Chart(title, "annotated tasks", FRAME.ticks(top), FRAME.steps(reach), lines, marks, band, note)


def epochs(done: Sequence[Epoch]) -> Chart | None:
    """What ultralytics measured after each epoch of this training; None for fewer than two."""
    metric = next((name for name in ("mAP50-95", "top1") if done and name in done[-1].metrics), "")
    known = [each for each in done if metric in each.metrics]
    if len(known) < 2:
        return None
    reach, top = known[-1].number, top_of([each.metrics[metric] for each in known])
    step = -(-len(known) // 120)
    line = points((FRAME.x(each.number, reach), FRAME.y(each.metrics[metric], top)) for each in known[::step])
    best = next((each for each in reversed(known) if each.best), None)
    marks = () if best is None else (
        Mark(
            FRAME.x(best.number, reach),
            FRAME.y(best.metrics[metric], top),
            FRAME.y(best.metrics[metric], top),
            FRAME.y(best.metrics[metric], top),
            f"epoch {best.number}: {best.metrics[metric]:.3f}",
            "now",
        ),
    )  # fmt: skip
    said = f"Epoch {best.number} was the best by ultralytics' measure, and is this version. " if best else ""
    if known[0].number > 1:
        said += f"Epochs before {known[0].number} were of an earlier attempt. "
    note = f"{said}Measured on the val set by the trainer itself, so not quite as the gate does."
    title = f"{metric} while it trained"
    return Chart(title, "epoch", FRAME.ticks(top), FRAME.steps(reach), (Line("", line, "line0"),), marks, note=note)


def reach_of(low: float, high: float, middle: float) -> Reach:
    """The interval of a difference, on a line that is as long to both sides of zero."""
    most = max(abs(low), abs(high), abs(middle), 0.01)
    size = 10.0 ** math.floor(math.log10(most))
    end = next(size * part for part in (1, 2, 5, 10) if most <= size * part)

    def place(value: float) -> float:
        return round(50 + 50 * value / end, 2)

    ticks = tuple((place(part * end), f"{part * end:+.3g}" if part else "0") for part in (-1, -0.5, 0, 0.5, 1))
    return Reach(place(low), place(high), place(middle), ticks)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
