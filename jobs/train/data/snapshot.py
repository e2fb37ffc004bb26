"""`dataset.json` of a run: the annotations as they were when it began, so that every attempt trains on the same data.

JSON lines, written and read one task at a time: a header, then one line a task. Created once, never replaced.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jobs.train.data.addresses import reference
from jobs.train.data.annotations import (
    AnnotationDigest,
    ExportedTask,
    choose_annotation,
    countable,
    regions_of,
)
from jobs.train.data.split import Places, Split, lower_border, split_of
from shared.digest import sha256_of
from shared.errors import AlreadyExists, ImageError, NotFound
from shared.evolve import evolve
from shared.labelstudio.controls import Control
from shared.labelstudio.frames import readable_rate
from shared.labelstudio.regions.reading import drawn_labels
from shared.labelstudio.requests import ProjectCounters
from shared.labelstudio.task_values import file_of, has_variable, value_of
from shared.objectstore import ObjectStore
from shared.state.records import Record
from shared.state.runs import Baseline, Totals

_KEPT = ("id", "parentID", "from_name", "to_name", "type", "value", "original_width", "original_height")
"""What readers need of a region."""
_UNREAD = ("imageDataURL", "maskDataURL", "touches")
"""Parts of a region's value that no reader reads: pictures. That they were there is kept."""


class Header(Record):
    """First line: what holds for all tasks."""

    label_config: str
    baseline: Baseline
    tasks: int
    left_out: int  # tasks whose annotations are all cancelled
    border: float  # of the val set, see jobs.train.data.split


class SnapshotTask(Record):
    """One line: a task, the annotation that counts, and what the served controls need of both."""

    id: int
    annotation: int
    updated_at: str | None
    split: Split = "train"  # for one control: `Snapshot.tasks_for`
    data: dict[str, Any]  # value or frameRate of a tag, as written → what it means for this task
    regions: list[dict[str, Any]]  # shapes, labels and choices of one region are items of their own
    unusable: str | None = None  # why nothing else of it is here

    @classmethod
    def without_anything(cls, task_id: int, why: str) -> "SnapshotTask":
        """A task that only can be named."""
        return cls(id=task_id, annotation=0, updated_at=None, data={}, regions=[], unusable=why)

    def file_of(self, control: Control) -> str:
        """The address of what a control looks at. Raises ImageError: no_data."""
        if control.value not in self.data:
            raise ImageError("no_data", f'the data of task {self.id} has nothing for value="{control.value}"')
        address: str = self.data[control.value]
        return address

    def frame_rate(self, control: Control) -> float:
        """Frames a second by which Label Studio counts what a control looks at."""
        return readable_rate(self.data.get(control.frame_rate, control.frame_rate))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A frozen dataset on the local disk."""

    path: Path
    header: Header

    @property
    def sha256(self) -> str:
        """Of the file's bytes."""
        return sha256_of(self.path)

    def tasks(self) -> Iterator[SnapshotTask]:
        """In the order of their ids, one in memory at a time."""
        with self.path.open(encoding="utf-8") as lines:
            next(lines)
            for line in lines:
                yield SnapshotTask.model_validate_json(line)

    def tasks_for(self, control: Control) -> Iterator[SnapshotTask]:
        """The same, each on the side on which this control's picture of it is."""
        for task in self.tasks():
            split = split_of(task.data.get(control.value), self.header.border)
            yield evolve(task, split=split)


def freeze(
    exported: Iterable[ExportedTask],
    project: ProjectCounters,
    read_at: datetime,
    controls: tuple[Control, ...],
    path: Path,
    *,
    val_fraction: float,
    border: float | None = None,
    check: Callable[[], None],
    adopt: Callable[[str], str] = reference,
) -> Snapshot:
    """Write all tasks to `path`. `check` is called once a task; what it raises ends the export.

    `border`: of the project's val set so far; None before its first run. `adopt`: what stands for an address there.
    """
    kept_of = _Keeper(controls)
    digest, kept, left_out = AnnotationDigest(), 0, 0
    places = [Places(control) for control in controls]
    body = path.with_suffix(".lines")
    with body.open("w", encoding="utf-8") as lines:
        for task in exported:
            check()
            digest.add(task.annotations)
            if why := _why_unusable(task):
                kept += 1
                lines.write(SnapshotTask.without_anything(task.id, why).model_dump_json() + "\n")
                continue
            annotation = choose_annotation(countable(task.annotations))
            if annotation is None:
                left_out += 1
                continue
            kept += 1
            updated_at = annotation.get("updated_at")
            line = SnapshotTask(
                id=task.id,
                annotation=int(annotation["id"]),
                updated_at=updated_at if isinstance(updated_at, str) else None,
                data=_data_of(task, controls, adopt),
                regions=[one for region in regions_of(annotation) if (one := kept_of.region(region)) is not None],
            )
            for each in places:
                each.add(line.data.get(each.control.value), line.regions)
            lines.write(_written(line) + "\n")
    totals = Totals.model_validate(project.model_dump(include=set(Totals.model_fields)))
    baseline = Baseline(totals=totals, read_at=read_at, digest=digest.hexdigest())
    header = Header(
        label_config=project.label_config,
        baseline=baseline,
        tasks=kept,
        left_out=left_out,
        border=lower_border(places, val_fraction, border),
    )
    with path.open("w", encoding="utf-8") as whole, body.open(encoding="utf-8") as lines:
        whole.write(header.model_dump_json() + "\n")
        whole.writelines(lines)
    body.unlink()
    return Snapshot(path, header)


class _Keeper:
    """What the controls have to know of each region of an annotation."""

    def __init__(self, controls: tuple[Control, ...]) -> None:
        self._names = {name for one in controls for name in (one.name, one.labels_name, one.boxes_name) if name}
        self._labels = {label for one in controls for label in one.label_values}
        self._looked_at = [None, *(one.to_name for one in controls)]
        self._all = any(one.per_region or one.yolo_task == "pose" for one in controls)  # theirs belong to any tag's

    def region(self, region: Mapping[str, Any]) -> dict[str, Any] | None:
        """None if nothing. Of other tags on the same image the labels that a control has too: it may be its object."""
        name, value = region.get("from_name"), region.get("value")
        if not isinstance(name, str):
            return None
        kept = {key: region[key] for key in _KEPT if key in region}
        if self._all or name in self._names:
            if isinstance(value, Mapping):
                kept["value"] = {key: "" if key in _UNREAD else one for key, one in value.items()}
            return kept
        if region.get("to_name") not in self._looked_at or not isinstance(value, Mapping):
            return None
        drawn = sorted(drawn_labels(value) & self._labels)
        return kept | {"value": {"labels": drawn}} if drawn else None


def _why_unusable(task: ExportedTask) -> str:
    if task.unreadable:
        return task.unreadable
    if not isinstance(task.data, Mapping):
        return f"its data is a {type(task.data).__name__}, not names and values"
    if task.annotations and not countable(task.annotations):
        return "its annotations have no ids that are numbers"
    return ""


def _written(task: SnapshotTask) -> str:
    """One line that can be read again, whatever is nested in the task; one bad task must not end every attempt."""
    try:
        line = task.model_dump_json()
        SnapshotTask.model_validate_json(line)  # which nests less deep than what it reads was written
    except (ValueError, RecursionError) as error:
        why = "its values are nested too deep, or hold text that is no Unicode"
        return SnapshotTask.without_anything(task.id, f"{why} ({type(error).__name__})").model_dump_json()
    return line


def _data_of(task: ExportedTask, controls: Iterable[Control], adopt: Callable[[str], str]) -> dict[str, Any]:
    """What the controls need of a task's data. Where it lacks something, that is left out: `file_of` says so."""
    data: dict[str, Any] = {}
    for control in controls:
        with suppress(ImageError):
            data[control.value] = adopt(file_of(control.value, task.data, task.id))
        with suppress(LookupError):
            found = value_of(control.frame_rate, task.data)
            if isinstance(found, str | int | float) and has_variable(control.frame_rate):
                data[control.frame_rate] = found
    return data


def publish(frozen: Snapshot, store: ObjectStore, key: str) -> Snapshot:
    """Store it, unless another attempt did: then that one counts."""
    try:
        store.upload(key, frozen.path)
    except AlreadyExists:
        found = fetch(store, key, frozen.path)
        assert found is not None
        return found
    return frozen


def fetch(store: ObjectStore, key: str, path: Path) -> Snapshot | None:
    """What an earlier attempt froze; None if none did."""
    try:
        store.download(key, path)
    except NotFound:
        return None
    with path.open(encoding="utf-8") as lines:
        return Snapshot(path, Header.model_validate(json.loads(next(lines))))
