"""`dataset.json` of a run, its snapshot: the annotations as the run began, so that all attempts train on the same data.

JSON lines: a header, then one line for each task. Created once in the store, never replaced.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from jobs.train.data.kept_regions import KeptRegions
from jobs.train.data.split import Split, split_of
from jobs.train.data.taken_up import Objects
from shared.digest import sha256_of
from shared.errors import AlreadyExists, ImageError, NotFound, StoreRefusal
from shared.evolve import evolve
from shared.labelstudio.controls import Control
from shared.labelstudio.frames import parse_rate
from shared.objectstore import ObjectStore
from shared.state.records import Record
from shared.state.runs import Baseline


class Header(Record):
    """The first line."""

    label_config: str
    baseline: Baseline
    tasks: int  # lines that follow
    left_out: int  # tasks whose annotations are all cancelled
    border: float  # of the val set, 0–1: see jobs.train.data.split
    taken: dict[str, int] = Field(default_factory=dict)  # control → numbers up to this are not for its first version
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
    key: str = ""  # in the store, once it is there

    @property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return sha256_of(self.path)

    def tasks(self) -> Iterator[SnapshotTask]:
        """All tasks in the order of their ids, one in memory at a time. Raises StoreRefusal where it is damaged."""
        read = 0
        with self.path.open("rb") as lines:
            next(lines)
            for line in lines:
                try:
                    task = SnapshotTask.model_validate_json(line)
                except ValidationError as error:
                    raise _damaged(self.key) from error
                yield task
                read += 1
        if read < self.header.tasks:
            raise _damaged(self.key)

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
            yield task, kept_of.of(task.regions)


def made_by() -> str:
    """The release that makes snapshots now."""
    return version("labelloop")


def upload(snapshot: Snapshot, store: ObjectStore, key: str) -> Snapshot:
    """Store the snapshot; if another attempt already did, download and answer that one. Raises StoreError."""
    try:
        store.upload(key, snapshot.path)
    except AlreadyExists:
        found = download(store, key, snapshot.path)
        assert found is not None
        return found
    return replace(snapshot, key=key)


def download(store: ObjectStore, key: str, path: Path) -> Snapshot | None:
    """Download the snapshot that an earlier attempt stored to `path`; None if there is none.

    Raises StoreError, and StoreRefusal if it does not begin as one.
    """
    try:
        store.download(key, path)
    except NotFound:
        return None
    with path.open("rb") as lines:
        try:
            return Snapshot(path, Header.model_validate(json.loads(lines.readline())), key)
        except ValueError as error:
            raise _damaged(key) from error


def _damaged(key: str) -> StoreRefusal:
    return StoreRefusal(f"{key} is no snapshot of this labelloop: it is damaged, or a newer version wrote it")
