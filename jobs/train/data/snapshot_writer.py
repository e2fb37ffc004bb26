"""Writes the snapshot of a run: of each exported task, the annotation that counts and the parts that controls need."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from jobs.train.data.addresses import reference
from jobs.train.data.annotations import (
    AnnotationDigest,
    ExportedTask,
    choose_annotation,
    countable,
    part_of,
    regions_of,
    submitted_at,
)
from jobs.train.data.kept_regions import KeptRegions
from jobs.train.data.snapshot import Header, Snapshot, SnapshotTask, made_by
from jobs.train.data.split import Places, lower_border
from jobs.train.data.taken_up import objects_by_tag
from shared.errors import ImageError
from shared.evolve import evolve
from shared.labelstudio.api import ProjectState
from shared.labelstudio.controls import Control
from shared.labelstudio.held_labels import HeldLabels
from shared.labelstudio.task_values import file_of, has_variable, value_of
from shared.state.runs import Baseline, Totals


def _never(task: int) -> SnapshotTask:
    raise KeyError(task)


def write_snapshot(
    exported: Iterable[ExportedTask],
    project: ProjectState,
    controls: tuple[Control, ...],
    path: Path,
    *,
    val_fraction: float,
    border: float | None = None,
    check: Callable[[], None],
    adopt: Callable[[str], str] = reference,
    earlier: Callable[[int], SnapshotTask] = _never,
    taken: Mapping[str, int] | None = None,
) -> Snapshot:
    """Write the snapshot of a project to `path`.

    `project`: as it was before the export. `val_fraction`: 0–1. `border`: of the project's val set so far;
    None before its first run. `check` is called before each task; what it raises ends the export. `adopt`: address →
    what is stored for it. `earlier`: id of a task that is the same as in an earlier snapshot → what that holds of it.
    `taken`: see `Header`.
    """
    kept_of = KeptRegions(controls)
    digest, kept, left_out = AnnotationDigest(), 0, 0
    places, held = [Places(control) for control in controls], HeldLabels(controls)
    body = path.with_suffix(".lines")
    with body.open("w", encoding="utf-8") as lines:
        for task in exported:
            check()
            before = earlier(task.id) if task.same else None
            part = before.digested if before else part_of(task.annotations)
            digest.add_part(part)
            if why := _why_unusable(task):
                kept += 1
                lines.write(SnapshotTask.without_anything(task.id, why).model_dump_json() + "\n")
                continue
            annotated = before or _annotated(task, kept_of)
            if annotated is None:
                left_out += 1
                continue
            kept += 1
            line = evolve(annotated, data=_data_of(task, controls, adopt), seen=task.seen, digested=part)
            for each in places:
                each.add(line.data.get(each.control.value), line.regions)
            held.add(line.regions)
            lines.write(_written(line) + "\n")
    totals = Totals.of(project.counters)
    baseline = Baseline(totals=totals, read_at=project.read_at, digest=digest.hexdigest(), labels=held.tasks())
    header = Header(
        label_config=project.counters.label_config,
        baseline=baseline,
        tasks=kept,
        left_out=left_out,
        border=lower_border(places, val_fraction, border),
        taken=dict(taken or {}),
        made_by=made_by(),
    )
    with path.open("w", encoding="utf-8") as whole, body.open(encoding="utf-8") as lines:
        whole.write(header.model_dump_json() + "\n")
        whole.writelines(lines)
    body.unlink()
    return Snapshot(path, header)


def _annotated(task: ExportedTask, kept_of: KeptRegions) -> SnapshotTask | None:
    """A task with what is needed of the annotation that counts, still without data; None if none counts."""
    annotation = choose_annotation(countable(task.annotations))
    if annotation is None:
        return None
    regions, updated_at = regions_of(annotation), annotation.get("updated_at")
    return SnapshotTask(
        id=task.id,
        annotation=int(annotation["id"]),
        updated_at=updated_at if isinstance(updated_at, str) else None,
        data={},
        regions=kept_of.of(regions),
        submitted=submitted_at(annotation),
        made=objects_by_tag(annotation, regions),
    )


def _why_unusable(task: ExportedTask) -> str:
    if task.unreadable:
        return task.unreadable
    if not isinstance(task.data, Mapping):
        return f"its data is a {type(task.data).__name__}, not names and values"
    if task.annotations and not countable(task.annotations):
        return "its annotations have no ids that are numbers"
    return ""


def _written(task: SnapshotTask) -> str:
    """The line of a task; an unusable task if the line could not be read again (too deeply nested, bad Unicode)."""
    try:
        line = task.model_dump_json()
        SnapshotTask.model_validate_json(line)  # reading allows less nesting than writing
    except (ValueError, RecursionError) as error:
        why = "its values are nested too deep, or hold text that is no Unicode"
        return SnapshotTask.without_anything(task.id, f"{why} ({type(error).__name__})").model_dump_json()
    return line


def _data_of(task: ExportedTask, controls: Iterable[Control], adopt: Callable[[str], str]) -> dict[str, Any]:
    """The parts of a task's data that the controls need; missing ones are left out, for `file_of` to report."""
    data: dict[str, Any] = {}
    for control in controls:
        with suppress(ImageError):
            data[control.value] = adopt(file_of(control.value, task.data, task.id))
        with suppress(LookupError):
            found = value_of(control.frame_rate, task.data)
            if isinstance(found, str | int | float) and has_variable(control.frame_rate):
                data[control.frame_rate] = found
    return data
