"""`labelloop compare`: what differs between two versions, for a person."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from functions.train_trigger.status.metrics import measured_on, took
from infra.cli.output import table_of
from infra.cli.projects import find_version
from jobs.train.data.comparing import Comparison, Data, Tasks, Two, compare, data_of
from jobs.train.data.learnt import read_learnt
from shared.state.registry import Registry
from shared.state.versions import DATASET, Manifest

_NAMED = 12  # ids of tasks that a line names
_DIGEST = re.compile("[0-9a-f]{64}")
_DIGITS = 12  # of a digest, for a person


def compare_versions(registry: Registry, control: str, before: int, after: int) -> Comparison:
    """Raises NotKnown, StoreError, ModelError for a dataset that cannot be read."""
    manifests = find_version(registry, control, before), find_version(registry, control, after)
    data = None
    if all(manifest.dataset for manifest in manifests):
        data = _data(registry, manifests[0]), _data(registry, manifests[1])
    return compare(*manifests, data)


def _data(registry: Registry, manifest: Manifest) -> Data:
    with TemporaryDirectory(prefix="labelloop-compare-") as folder:
        learnt = read_learnt(registry, manifest, Path(folder) / DATASET)
        return data_of(learnt.tasks(), learnt.control)


def render_comparison(found: Comparison) -> RenderableType:
    """For a terminal: tasks first, then tables of what differs, then the metrics and both verdicts of the gate."""
    before, after = found.before, found.after
    parts: list[RenderableType] = [*_tasks(found.tasks, before, after)]
    numbers: Callable[[Any], str] = lambda value: "–" if value is None else f"{value:.3f}"  # noqa: E731
    for heading, rows, written in (
        ("labels given", found.labels, _value),
        ("training", found.training, _value),
        ("settings", found.settings, _value),
        ("packages", found.packages, _value),
        ("thresholds", found.shown, _thresholds),
    ):
        parts += [_table(heading, rows, before, after, written)] if rows else []
    run: dict[str, Two] = {"took": (took(before.seconds), took(after.seconds)), "cost": (before.cost, after.cost)}
    if known := {name: two for name, two in run.items() if any(two)}:
        parts.append(_table("run", known, before, after, lambda value: str(value or "–")))
    same = [
        name
        for name, rows in (("settings", found.settings), ("packages", found.packages), ("thresholds", found.shown))
        if not rows
    ]
    parts += [Text(f"The same: {', '.join(same)}.")] if same else []
    parts.append(_table("metrics", found.metrics, before, after, numbers))
    parts += [
        Text(f"v{one.version}, measured on {_measured(one) or 'an unknown val set'}: {one.gate.reason}")
        for one in (before, after)
    ]
    if found.tasks and not found.tasks.same_val:
        said = "They were measured on other val sets, so these metrics say little of which is better"
        met = after.gate.against == f"v{before.version}"
        parts.append(Text(f"{said}{f'; the gate of v{after.version} compared them on one' if met else ''}.", "yellow"))
    return Group(*parts)


def _tasks(tasks: Tasks | None, before: Manifest, after: Manifest) -> list[Text]:
    if tasks is None:
        older = " and ".join(f"v{one.version}" for one in (before, after) if one.dataset is None)
        return [Text(f"What {older} learnt from was not kept, so tasks cannot be compared.", "yellow")]
    said = [
        f"{len(ids)} {what} ({', '.join(map(str, ids[:_NAMED]))}{', …' if len(ids) > _NAMED else ''})"
        for ids, what in (
            (tasks.added, "added"),
            (tasks.removed, "removed"),
            (tasks.changed, "changed"),
            (tasks.new_images, "of these with another image"),
        )
        if ids
    ]
    return [Text(f"Tasks from v{before.version} to v{after.version}: {', '.join(said) if said else 'the same'}.")]


def _table(
    heading: str, rows: Mapping[str, Two], before: Manifest, after: Manifest, written: Callable[[Any], str]
) -> Table:
    table = table_of(heading, f"v{before.version}", f"v{after.version}")
    for name, values in rows.items():
        table.add_row(escape(name), *(escape(written(value)) for value in values))
    return table


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    text = "–" if value is None else str(value)
    return f"{text[:_DIGITS]}…" if _DIGEST.fullmatch(text) else text


def _thresholds(value: Any) -> str:
    return f"{value['confidence']:.2f}, overlap {value['iou']:.2f}" if value else "the defaults"


def _measured(manifest: Manifest) -> str:
    return measured_on(manifest.gate.tasks, manifest.gate.things, manifest.yolo_task)
