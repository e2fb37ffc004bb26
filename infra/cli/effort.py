"""`labelloop effort`: reads a project's annotations and versions, and shows what the predictions saved."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from functions.train_trigger.status.known import read_known
from infra.cli.output import WholeTable
from infra.effort.counts import ControlCounts, Counts, Weights
from infra.effort.project import ProjectEffort
from infra.effort.reading import SittingReader
from infra.effort.weights import Fit
from jobs.train.data.export import LabelStudioExporter
from shared.errors import NotKnown, StoreError
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.requests import project_id
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.effort import CountedEffort, VersionEffort, write_effort
from shared.state.learning_curve import Curve, curve_of
from shared.state.registry import Registry

_TOLD_EVERY = 25  # tasks
_HEADINGS = (
    "images",
    "as is",
    "edits",
    "kept",
    "moved",
    "IoU",
    "rel.",
    "del.",
    "added",
    "smart",
    "acc.",
    "cov.",
    "saved",
)


@dataclass(frozen=True, slots=True)
class Report:
    """All that the command shows."""

    effort: ProjectEffort
    fit: Fit
    curves: tuple[Curve, ...]
    not_kept: str = ""  # why the store did not take it

    def counted(self, now: datetime) -> CountedEffort:
        """What the store keeps of it."""
        weights, everything = self.fit.weights, self.effort.total(lambda _: True)
        return CountedEffort(
            counted_at=now,
            tasks=self.effort.tasks,
            saved=everything.saved(weights),
            versions=tuple(
                VersionEffort(
                    control=control,
                    version=version,
                    images=counts.images,
                    saved=counts.total.saved(weights),
                    **counts.total.numbers(),
                )
                for (version, control), counts in self.effort.counts.items()
            ),
        )

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return (
            {"project": self.effort.uid}
            | self.effort.as_json(self.fit)
            | {"curves": [curve.as_json() for curve in self.curves]}
        )


def measure_effort(
    store: ObjectStore, settings: Settings, label_studio: LabelStudio, uid: str, *, tell: Callable[[str], None]
) -> Report:
    """Read every annotated task of a project, and the manifests of its versions; the store keeps the counts.

    `tell` hears how far it is. Raises NotKnown without a control that can be counted, LabelStudioError, StoreError.
    """
    controls = read_known(store, uid).controls
    if not controls:
        raise NotKnown(
            f"project {uid} has no control that labelloop serves: run `labelloop doctor --project {project_id(uid)}`"
        )
    registry = Registry(store, uid)
    tell("reading the versions")
    curves = [curve_of(control.name, registry.readable(control.name)) for control in controls]
    effort = ProjectEffort(uid, controls, settings.control_group)
    with closing(LabelStudioExporter(*settings.label_studio())) as exporter:
        for sittings in SittingReader(exporter, label_studio).sittings(project_id(uid)):
            effort.add(sittings)
            if effort.tasks % _TOLD_EVERY == 0:
                tell(f"{effort.tasks} annotated tasks are read")
    tell("fitting")
    report = Report(effort, effort.fit(), tuple(curve for curve in curves if curve))
    try:
        write_effort(store, uid, report.counted(store.now()))
    except StoreError as error:  # whoever may only read is told all the same
        return replace(report, not_kept=str(error))
    return report


def render_effort(report: Report) -> RenderableType:
    """The report for a terminal."""
    effort, fit = report.effort, report.fit
    if not effort.counts:
        none = "none of its annotations can be counted"
        why = none if effort.left_out else "no annotation was made in Label Studio yet"
        return Text("\n".join([f"Project {effort.uid}: {why}.", *_not_counted(effort)]))
    table = WholeTable(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("version", overflow="fold")
    smart = any(counts.total.smart for counts in effort.counts.values())
    for heading in _headings(smart=smart):
        table.add_column(heading, justify="right", no_wrap=True)
    before = effort.controls[0].name if len(effort.controls) == 1 else ""
    for version, control in effort.versions():
        if control != before:
            table.add_row(f"[bold]{escape(control)}[/]")
            before = control
        counts = effort.counts[version, control]
        cells = _cells(counts.total, fit.weights, bool(version), smart=smart)
        table.add_row(escape(version or "by hand"), *_image_cells(counts), *cells)
        if len(counts.classes) > 1:
            for label, of_class in sorted(counts.classes.items()):
                name = f"  [dim]{escape(label or 'no label')}[/]"
                table.add_row(name, "", "", "", *_cells(of_class, fit.weights, bool(version), smart=smart))
    return Group(table, *(Text(line) for line in _lines(report)))


def _image_cells(counts: ControlCounts) -> list[str]:
    return [str(counts.images), _percent(counts.unedited / counts.images), f"{counts.total.edits / counts.images:.1f}"]


def _headings(*, smart: bool) -> list[str]:
    """Of a table of 80 columns. `smart`: whether smart tools drew anything; else nobody asks for them."""
    if smart:
        return [heading.replace("images", "im.") for heading in _HEADINGS]
    return [heading for heading in _HEADINGS if heading != "smart"]


def _cells(counts: Counts, weights: Weights, helped: bool, *, smart: bool) -> list[str]:
    likeness = counts.moved_likeness
    parts = [_percent(counts.acceptance), _percent(counts.coverage), _percent(counts.saved(weights))]
    return [
        str(counts.kept),
        str(counts.moved),
        "" if likeness is None else f"{likeness:.2f}",
        str(counts.relabelled),
        str(counts.deleted),
        str(counts.added),
        *([str(counts.smart)] if smart else []),
        *(parts if helped else ["", "", ""]),
    ]


def _lines(report: Report) -> list[str]:
    """What the table does not say."""
    effort, fit = report.effort, report.fit
    lines = ["", f"{effort.tasks} annotated tasks. {_saved(effort, fit)}"]
    weights = fit.weights
    smart = f", smart {weights.smart:.2g}" if effort.total(lambda _: True).smart else ""
    lines.append(
        f"Work of one edit: add {weights.added:g}, move {weights.moved:.2g}, relabel {weights.relabelled:.2g}, delete "
        f"{weights.deleted:.2g}{smart} ({fit.why})."
    )
    lines.append(_times(effort))
    lines += [
        f"{control} {version} finds {counts.recall:.0%} of the {counts.final} objects that annotators of the control "
        "group drew without having seen it."
        for (version, control), counts in effort.unseen.items()
        if counts.recall is not None
    ]
    lines += _not_counted(effort)
    if report.not_kept:
        lines.append(f"The page and /metrics do not learn of this, since the store did not take it: {report.not_kept}")
    return lines + [curve.sentence() for curve in report.curves]


def _not_counted(effort: ProjectEffort) -> list[str]:
    if not effort.left_out:
        return []
    return [f"Not counted: {', '.join(f'{count} {why}' for why, count in effort.left_out.most_common())}."]


def _saved(effort: ProjectEffort, fit: Fit) -> str:
    helped, everything = effort.total().saved(fit.weights), effort.total(lambda _: True).saved(fit.weights)
    if helped is None or everything is None:
        return "No object was annotated on a prediction yet."
    return (
        f"Predictions saved {helped:.0%} of the drawing where they were shown, {everything:.0%} over the whole project."
    )


def _times(effort: ProjectEffort) -> str:
    times = effort.times()
    medians, ratio = times.medians(), times.ratio()
    if medians is None or ratio is None:
        return (
            f"Time: {len(times.helped)} annotations have one with help and {len(times.alone)} without; five of each "
            "can be compared. LABELLOOP_CONTROL_GROUP=0.05 sees to the latter."
        )
    group = (
        "the control group"
        if times.control_group
        else "those without a prediction, as a rule the first ones: LABELLOOP_CONTROL_GROUP would compare fairly"
    )
    return (
        f"Median time: {medians[0]:.0f} s with help ({len(times.helped)} annotations), {medians[1]:.0f} s without "
        f"({len(times.alone)}, {group}): {ratio[1]:.2f} times ({ratio[0]:.2f} to {ratio[2]:.2f}, four times in five)."
    )


def _percent(part: float | None) -> str:
    return "" if part is None else f"{part:.0%}"
