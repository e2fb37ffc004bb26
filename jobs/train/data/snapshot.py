"""`dataset.json` of a run, its snapshot: the annotations as the run began, so that all attempts train on the same data.

JSON lines: a header, then one line for each task. Created once in the store, never replaced.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import Field

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
from jobs.train.data.split import Places, Split, lower_border, split_of
from jobs.train.data.taken_up import Objects, objects_by_tag
from shared.digest import sha256_of
from shared.errors import AlreadyExists, ImageError, NotFound
from shared.evolve import evolve
from shared.labelstudio.controls import Control
from shared.labelstudio.frames import parse_rate
from shared.labelstudio.held_labels import HeldLabels
from shared.labelstudio.regions.reading import drawn_labels
from shared.labelstudio.requests import ProjectCounters
from shared.labelstudio.task_values import file_of, has_variable, value_of
from shared.objectstore import ObjectStore
from shared.state.records import Record
from shared.state.runs import Baseline, Totals

_KEPT = ("id", "parentID", "from_name", "to_name", "type", "value", "original_width", "original_height")
"""The fields of a region that readers need."""
_UNREAD = ("imageDataURL", "maskDataURL", "touches")
"""Images in a region's value, which no reader reads: stored as empty text."""


class Header(Record):
    """The first line."""

    label_config: str
    baseline: Baseline
    tasks: int  # lines that follow
    left_out: int  # tasks whose annotations are all cancelled
    border: float  # of the val set, 0–1: see jobs.train.data.split
    made_by: str = ""  # the release of labelloop


class SnapshotTask(Record):
    """One line: a task, the annotation that counts, and the parts of both that the controls need."""

    id: int
    annotation: int  # id
    updated_at: str | None
    split: Split = "train"  # set for one control by `Snapshot.tasks_for`
    data: dict[str, Any]  # value or frameRate of a tag, as the config writes it → this task's
    regions: list[dict[str, Any]]  # Label Studio's items: shape, labels and choices of a region are one each
    submitted: datetime | None = None  # the annotation; None: Label Studio does not say
    made: dict[str, Objects] = Field(default_factory=dict)  # control tag → what became of a prediction's objects there
    unusable: str | None = None  # why data and regions are empty
    seen: str = ""  # see jobs.train.data.earlier
    digested: str = ""  # its part of the digest of all annotations

    @classmethod
    def without_anything(cls, task_id: int, why: str) -> "SnapshotTask":
        """A task that cannot be used, and why."""
        return cls(id=task_id, annotation=0, updated_at=None, data={}, regions=[], unusable=why)

    def file_of(self, control: Control) -> str:
        """The address of the image or video that a control annotates. Raises ImageError (no_data)."""
        if control.value not in self.data:
            raise ImageError("no_data", f'the data of task {self.id} has nothing for value="{control.value}"')
        address: str = self.data[control.value]
        return address

    def frame_rate(self, control: Control) -> float:
        """Frames a second by which Label Studio numbers the frames of the control's video."""
        return parse_rate(self.data.get(control.frame_rate, control.frame_rate))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot on the local disk."""

    path: Path
    header: Header

    @property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return sha256_of(self.path)

    def tasks(self) -> Iterator[SnapshotTask]:
        """All tasks in the order of their ids, one in memory at a time."""
        with self.path.open(encoding="utf-8") as lines:
            next(lines)
            for line in lines:
                yield SnapshotTask.model_validate_json(line)

    def tasks_for(self, control: Control) -> Iterator[SnapshotTask]:
        """All tasks, with `split` set for the image of this control."""
        for task in self.tasks():
            split = split_of(task.data.get(control.value), self.header.border)
            yield evolve(task, split=split)

    def digest_of(self, control: Control) -> str:
        """SHA-256 of what a control learns from: addresses, split, and the regions that it needs. Hex.

        The same for two snapshots between which only other controls' annotations changed.
        """
        digest = hashlib.sha256(repr(control.class_names).encode())
        for task, regions in self._read_by(control):
            read = [task.split, task.data.get(control.value), task.data.get(control.frame_rate), regions]
            digest.update(json.dumps(read, sort_keys=True).encode())
        return digest.hexdigest()

    def held_out(self, control: Control) -> dict[int, tuple[int, str]]:
        """Id of each task of the val set → id of its annotation, and the SHA-256 of what a control reads there. Hex."""
        return {
            task.id: (task.annotation, hashlib.sha256(json.dumps(regions, sort_keys=True).encode()).hexdigest())
            for task, regions in self._read_by(control)
            if task.split == "val"
        }

    def _read_by(self, control: Control) -> Iterator[tuple[SnapshotTask, list[dict[str, Any]]]]:
        """Each task with the regions that a control needs."""
        kept_of = KeptRegions((control,))
        for task in self.tasks_for(control):
            yield task, [one for region in task.regions if (one := kept_of.region(region)) is not None]


def _never(task: int) -> SnapshotTask:
    raise KeyError(task)


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
    earlier: Callable[[int], SnapshotTask] = _never,
) -> Snapshot:
    """Write the snapshot of a project to `path`.

    `read_at`: Label Studio's time before the export. `val_fraction`: 0–1. `border`: of the project's val set so far;
    None before its first run. `check` is called before each task; what it raises ends the export. `adopt`: address →
    what is stored for it. `earlier`: id of a task that is the same as in an earlier snapshot → what that holds of it.
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
    totals = Totals.model_validate(project.model_dump(include=set(Totals.model_fields)))
    baseline = Baseline(totals=totals, read_at=read_at, digest=digest.hexdigest(), labels=held.tasks())
    header = Header(
        label_config=project.label_config,
        baseline=baseline,
        tasks=kept,
        left_out=left_out,
        border=lower_border(places, val_fraction, border),
        made_by=made_by(),
    )
    with path.open("w", encoding="utf-8") as whole, body.open(encoding="utf-8") as lines:
        whole.write(header.model_dump_json() + "\n")
        whole.writelines(lines)
    body.unlink()
    return Snapshot(path, header)


def made_by() -> str:
    """The release that makes snapshots now."""
    return version("labelloop")


def _annotated(task: ExportedTask, kept_of: "KeptRegions") -> SnapshotTask | None:
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
        regions=[one for region in regions if (one := kept_of.region(region)) is not None],
        submitted=submitted_at(annotation),
        made=objects_by_tag(annotation, regions),
    )


class KeptRegions:
    """Reduces the regions of an annotation to what the controls need."""

    def __init__(self, controls: tuple[Control, ...]) -> None:
        self._names = {name for one in controls for name in (one.name, one.labels_name, one.boxes_name) if name}
        self._labels = {label for one in controls for label in one.label_values}
        self._looked_at = [None, *(one.to_name for one in controls)]
        self._all = any(one.per_region or one.yolo_task == "pose" for one in controls)  # which read regions of any tag

    def region(self, region: Mapping[str, Any]) -> dict[str, Any] | None:
        """None if nothing is needed. Of other tags on the same image only labels that a control has too."""
        name, value = region.get("from_name"), region.get("value")
        if not isinstance(name, str) or "is_positive" in region:  # a click that asked a smart tool is no object
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


def publish(frozen: Snapshot, store: ObjectStore, key: str) -> Snapshot:
    """Upload the snapshot; if another attempt already did, download and answer that one."""
    try:
        store.upload(key, frozen.path)
    except AlreadyExists:
        found = fetch(store, key, frozen.path)
        assert found is not None
        return found
    return frozen


def fetch(store: ObjectStore, key: str, path: Path) -> Snapshot | None:
    """Download the snapshot that an earlier attempt stored to `path`; None if there is none."""
    try:
        store.download(key, path)
    except NotFound:
        return None
    with path.open(encoding="utf-8") as lines:
        return Snapshot(path, Header.model_validate(json.loads(next(lines))))
