"""Draws the effort of a project over its versions: what became of the objects, and the learning curve."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from infra.effort.counts import Weights
from infra.effort.project import ProjectEffort
from shared.errors import LabelloopError
from shared.state.learning_curve import NEXT, Curve

_ENDINGS = (".png", ".svg", ".pdf")
_PARTS = (
    ("kept", "#2a7f62"),
    ("moved", "#7cb518"),
    ("relabelled", "#f2b134"),
    ("smart", "#7aa5e8"),
    ("added", "#c8cdd6"),
)
"""What the annotated objects are made of, from below."""
_VERSIONS = 12  # the newest ones of a control that are drawn


def check_ending(file: Path) -> None:
    """Raise LabelloopError for a file that is no picture by its name, before anything is read."""
    if file.suffix.lower() not in _ENDINGS:
        raise LabelloopError(f"--picture {file}: its name must end with one of {', '.join(_ENDINGS)}")


def draw(effort: ProjectEffort, curves: Sequence[Curve], weights: Weights, file: Path) -> None:
    """Write the picture. Raises LabelloopError if the file cannot be written."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    controls = list(dict.fromkeys([*(control for _, control in effort.versions()), *(one.control for one in curves)]))
    rows = max(len(controls), 1)
    with rc_context({"text.parse_math": False, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(10, 3.6 * rows), layout="constrained")
        axes = figure.subplots(rows, 2, squeeze=False)
        for (left, right), control in zip(axes, controls, strict=False):
            _draw_versions(left, effort, control, weights)
            _draw_curve(right, next((one for one in curves if one.control == control), None))
        try:
            figure.savefig(file, dpi=120)
        except OSError as error:
            raise LabelloopError(f"--picture {file} cannot be written: {error.strerror}") from error


def _draw_versions(axes: Any, effort: ProjectEffort, control: str, weights: Weights) -> None:
    axes.set_title(f"{control}: annotated objects by version", loc="left")
    keys = [key for key in effort.versions() if key[1] == control and effort.counts[key].total.final][-_VERSIONS:]
    if not keys:
        axes.text(0.5, 0.5, "nothing was annotated yet", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    each = [effort.counts[key] for key in keys]
    totals = [counts.total for counts in each]
    below = np.zeros(len(keys))
    for name, colour in _PARTS:
        if name == "smart" and not any(total.smart for total in totals):
            continue
        height = np.array([100.0 * getattr(total, name) / total.final for total in totals])
        axes.bar(range(len(keys)), height, bottom=below, color=colour, width=0.7, label=name)
        below += height
    for place, total in enumerate(totals):
        saved = total.saved(weights)
        if keys[place][0] and saved is not None:
            axes.text(place, 102, f"saved\n{saved:.0%}", ha="center", va="bottom")
    axes.set_ylim(0, 122)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_ylabel("% of the annotated objects")
    names = [f"{version or 'by hand'}\n{counts.images} im." for (version, _), counts in zip(keys, each, strict=True)]
    axes.set_xticks(range(len(keys)), names, fontsize=7.5)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=5, frameon=False)


def _draw_curve(axes: Any, curve: Curve | None) -> None:
    if curve is None:
        axes.set_axis_off()
        return
    axes.set_title(f"{curve.metric} on the val set of each run", loc="left")
    tasks = [point.tasks for point in curve.points]
    if curve.draws:
        along = np.geomspace(max(min(tasks), 1), max(tasks) + NEXT, 60).tolist()
        low, middle, high = zip(*map(curve.at, along), strict=True)
        axes.fill_between(along, low, high, color="#2a6fdb", alpha=0.15, linewidth=0, label="true four times in five")
        axes.plot(along, middle, color="#2a6fdb", linewidth=1.2, label="fitted power law")
        axes.axvline(max(tasks), color="#888888", linewidth=0.8, linestyle=":")
    axes.errorbar(
        tasks,
        [point.value for point in curve.points],
        [point.error for point in curve.points],
        fmt="o",
        markersize=4,
        color="#1d2330",
        linewidth=0.8,
        label="measured, with its error",
    )
    for point in curve.points:
        name = f"v{point.version}" + ("" if point.served else " (held back)")
        axes.annotate(name, (point.tasks, point.value), (4, 5), textcoords="offset points", fontsize=7.5)
    axes.set_xlabel(f"annotated tasks, and {NEXT} more" if curve.draws else "annotated tasks")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.legend(loc="lower right", framealpha=1.0, edgecolor="none")
