"""The geometry of the two pictures of a control: its versions one after another, and its learning curve. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from functions.train_trigger.status.history import Version
from shared.chart_frame import Frame, points, top_of
from shared.state.learning_curve import NEXT, Curve

WIDTH, HEIGHT = 480, 220  # of a picture, in its own units
_FRAME = Frame(WIDTH, HEIGHT, left=44, right=14, above=12, below=34)


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
    top = top_of([value for _, value in known] + [_champion(version, metric) or 0.0 for version, _ in known])
    width = (WIDTH - _FRAME.left - _FRAME.right) / max(len(known), 2)
    each = max(1, math.ceil(len(known) / 12))
    marks = []
    for place, (version, value) in enumerate(known):
        manifest, champion = version.manifest, _champion(version, metric)
        y, other = _FRAME.y(value, top), _FRAME.y(value if champion is None else champion, top)
        against = f", {manifest.gate.against or 'champion'} {champion:.3f}" if champion is not None else ""
        marks.append(
            Mark(
                x=round(_FRAME.left + width * (place + 0.5), 1),
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
    line = points((mark.x, mark.y) for mark in marks if mark.passed)
    return Chart(metric, tuple(marks), _FRAME.ticks(top), steps, line)


def learning_chart(curve: Curve, serving: int | None) -> Chart | None:
    """The metric against annotated tasks, and what the next ones would bring; None for fewer than two versions."""
    if len(curve.points) < 2:
        return None
    most = max(point.tasks for point in curve.points)
    reach = most + NEXT if curve.draws else most
    top = top_of([min(point.value + point.error, 1.0) for point in curve.points])
    marks = [
        Mark(
            x=_FRAME.x(point.tasks, reach),
            y=_FRAME.y(point.value, top),
            label="",
            title=f"v{point.version}: {curve.metric} {point.value:.3f} ± {point.error:.3f} from {point.tasks} tasks",
            passed=point.served,
            serving=point.version == serving,
            low=_FRAME.y(point.value - point.error, top),
            high=_FRAME.y(point.value + point.error, top),
        )
        for point in curve.points
    ]
    line, band = _FRAME.fitted(curve, reach, top) if curve.draws else ("", "")
    return Chart(curve.metric, tuple(marks), _FRAME.ticks(top), _FRAME.steps(reach), line, band)


def _champion(version: Version, metric: str) -> float | None:
    gate = version.manifest.gate
    return gate.champion if gate.metric == metric else None
