"""What the templates show of a project, worked out of its status. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from functions.train_trigger.status.findings import Finding
from functions.train_trigger.status.history import Version
from functions.train_trigger.status.metrics import measured_on, metrics_cells, shown_metrics, tasks_of, took
from functions.train_trigger.status.model_checks import check_control
from functions.train_trigger.status.project import ControlStatus, ProjectStatus
from functions.train_trigger.status.words import Tone
from functions.train_trigger.ui.charts import Chart, learning_chart, versions_chart
from shared.settings import Settings
from shared.state.effort import CountedEffort
from shared.state.learning_curve import curve_of
from shared.state.suspects import SUSPECTS, Listed
from shared.state.versions import REPORT, Manifest


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One line of a table of versions."""

    number: int
    made_at: datetime
    metric: str
    value: str  # of the metric; empty: it could not be measured
    against: str  # "v3: 0.412", what it was compared with on the same val set
    sure: str  # "97 %": how sure the gate is that it is no worse
    verdict: str  # what became of it, in a word
    took: str  # "12 min": its run until then; empty: not known
    cost: str  # "0.42 EUR": the same; empty: no price was set
    tone: Tone
    reason: str  # one sentence
    tasks: str  # "96 + 24": train and val
    serving: bool
    can_be_served: bool  # by a rollback
    has_report: bool
    note: str  # that somebody made; empty: nobody did


@dataclass(frozen=True, slots=True)
class ControlView:
    """One control on the page of its project."""

    status: ControlStatus
    rows: tuple[VersionRow, ...]  # newest first
    metrics: tuple[tuple[str, str], ...]  # of the version that is served
    measured_on: str
    versions: Chart | None
    learning: Chart | None
    worth: str  # whether more labels are worth it; empty before there is a version
    remarks: str  # what the newest version did not learn from, and why
    suspects: (
        int  # annotations that the newest version, of those not deleted, finds worth a look, without dismissed ones
    )
    saved: str  # what predictions saved, as somebody has counted it; empty: nobody has
    taken_up: str  # what annotators made of the version before it; empty: nobody annotated on its predictions

    @classmethod
    def of(
        cls, control: ControlStatus, *, rows: int, effort: CountedEffort | None = None, listed: Listed | None = None
    ) -> "ControlView":
        """`rows`: how many versions the table has at most. `effort`: as it was counted last.

        `listed`: the list of `disputing`; None: there is none, or it cannot be read.
        """
        manifests = [version.manifest for version in control.newest]
        disputes = disputing(control)
        curve = curve_of(control.name, manifests)
        names, gate = shown_metrics([control.metrics]), control.gate
        return cls(
            status=control,
            rows=version_rows(control.newest)[:rows],
            metrics=tuple(zip(names, metrics_cells(control.metrics, names), strict=True)),
            measured_on=measured_on(gate.tasks, gate.things, control.yolo_task) if gate else "",
            versions=versions_chart(control.newest, manifests[-1].gate.metric) if manifests else None,
            learning=learning_chart(curve, control.serving) if curve else None,
            worth=curve.sentence() if curve else "",
            remarks=str(manifests[-1].lineage.get("remarks") or "") if manifests else "",
            suspects=listed.left if listed else _suspects(disputes) if disputes else 0,
            saved=_saved(control.name, effort) if effort else "",
            taken_up=_taken_up(manifests[-1]) if manifests else "",
        )


def disputing(control: ControlStatus) -> Manifest | None:
    """The newest version that was not deleted, if it found annotations worth a look."""
    kept = [version.manifest for version in control.newest if not version.deleted]
    return kept[-1] if kept and _suspects(kept[-1]) else None


def version_rows(versions: Sequence[Version]) -> tuple[VersionRow, ...]:
    """The newest first."""
    return tuple(_row(version) for version in reversed(versions))


def findings_of(settings: Settings, project: ProjectStatus) -> list[Finding]:
    """What of `labelloop doctor`'s findings the store and the settings alone tell."""
    findings = [Finding("warning", "config", sentence) for sentence in project.not_understood]
    for each in project.controls:
        if each.control is not None and not each.unreadable:
            checked = check_control(each.control, each.manifest, each.base, settings.base_weights, each.annotated)
            findings += [finding for finding in checked if finding.level != "ok"]
    return findings


def _row(version: Version) -> VersionRow:
    manifest = version.manifest
    gate = manifest.gate
    value = manifest.metrics.get(gate.metric)
    outcome = version.outcome
    return VersionRow(
        number=manifest.version,
        made_at=manifest.created_at,
        metric=gate.metric,
        value="" if value is None else f"{value:.3f}",
        against=f"{gate.against}: {gate.champion:.3f}" if gate.against and gate.champion is not None else "",
        sure="" if gate.worse is None else f"{1 - gate.worse:.0%}",
        verdict=outcome.word,
        tone=outcome.tone,
        reason=outcome.why,
        took=took(manifest.seconds),
        cost=str(manifest.cost or ""),
        tasks=" + ".join(filter(None, tasks_of(manifest.lineage))),
        serving=version.serving,
        can_be_served=not (version.rejected or version.pointer),
        has_report=not version.deleted and manifest.find_file(REPORT) is not None,
        note=version.note,
    )


def _suspects(manifest: Manifest) -> int:
    count = manifest.lineage.get("suspects")
    return count if isinstance(count, int) and manifest.find_file(SUSPECTS) else 0


def _saved(control: str, effort: CountedEffort) -> str:
    newest = effort.newest(control)
    if newest is None or newest.saved is None:
        return ""
    cost = "saved" if newest.saved >= 0 else "cost"
    return (
        f"predictions of {newest.version} {cost} {abs(newest.saved):.0%} of the work of drawing by hand, in "
        f"{newest.images} annotations up to {effort.counted_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC (labelloop effort "
        "counts again)"
    )


def _taken_up(manifest: Manifest) -> str:
    made = manifest.lineage.get("taken_up")
    if not isinstance(made, dict):
        return ""
    told = {"smart": 0} | made  # a run of before smart tools did not tell of them
    counts = [count for name in ("kept", "changed", "drawn", "smart") if isinstance(count := told.get(name), int)]
    if len(counts) < 4 or not (total := sum(counts)):
        return ""
    kept, changed, drawn, smart = (f"{count / total:.0%}" for count in counts)
    by_tool = f" by hand, {smart} by smart tools" if counts[-1] else ""
    return (
        f"of the {total} objects in {made.get('annotations')} annotations that were begun with predictions of "
        f"{made.get('version')}, {kept} were left as predicted, {changed} moved or relabelled, {drawn} drawn{by_tool}"
    )
