"""`dataset.jsonl.gz` of a version: what it learnt from, so that its dataset can be had again.

Gzipped JSON lines: a header, then one line for each task of the run's snapshot, reduced to one control, with the digest
of its image or video. It lies beside the weights; the snapshot goes with its run, and does not know the images.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.train.data.dataset import Counts
from jobs.train.data.files import ImageFiles
from jobs.train.data.kept_regions import KeptRegions
from jobs.train.data.snapshot import Snapshot, SnapshotTask, made_by
from shared.errors import ModelError, NotKnown
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.controls import Control
from shared.state.records import Record
from shared.state.registry import Registry
from shared.state.versions import DATASET, Manifest


class LearntHeader(Record):
    """The first line."""

    control: str
    label_config: str
    border: float  # of the val set, 0–1
    tasks: int  # lines that follow
    made_by: str  # the release of labelloop


class LearntTask(SnapshotTask):
    """One line: a task as the version learnt from it, or why it did not."""

    sha256: str = ""  # of the image or video, as it was fetched; empty: not known
    left_out: str = ""  # reason of an ImageError; empty: it was used

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that was learnt from it."""
        read = [self.split, self.data, self.regions, self.sha256, self.left_out]
        return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Learnt:
    """The file on the local disk."""

    path: Path
    header: LearntHeader

    @property
    def control(self) -> Control:
        """The control as its config was then. Raises ModelError if this labelloop does not know it."""
        for control in parse_label_config(self.header.label_config):
            if control.name == self.header.control:
                return control
        raise ModelError(f"this labelloop finds no control {self.header.control!r} in the config of the version")

    def tasks(self) -> Iterator[LearntTask]:
        """All tasks in the order of their ids, one in memory at a time."""
        with gzip.open(self.path, "rt", encoding="utf-8") as lines:
            next(lines)
            for line in lines:
                yield LearntTask.model_validate_json(line)


def write_learnt(snapshot: Snapshot, control: Control, counts: Counts, images: ImageFiles, path: Path) -> LearntHeader:
    """Write what a control's dataset was built of. `counts`: of that dataset; `images`: that it was built with.

    The same data give the same bytes. Answers the first line.
    """
    kept_of = KeptRegions((control,))
    header = LearntHeader(
        control=control.name,
        label_config=snapshot.header.label_config,
        border=snapshot.header.border,
        tasks=snapshot.header.tasks,
        made_by=made_by(),
    )
    with path.open("wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        packed.write(header.model_dump_json().encode() + b"\n")
        for task in snapshot.tasks_for(control):
            line = LearntTask(
                id=task.id,
                annotation=task.annotation,
                updated_at=task.updated_at,
                split=task.split,
                data={key: task.data[key] for key in (control.value, control.frame_rate) if key in task.data},
                regions=kept_of.of(task.regions),
                unusable=task.unusable,
                sha256=images.digest(task.id, control.value),
                left_out=counts.reasons.get(task.id, ""),
            )
            packed.write(line.model_dump_json(exclude_defaults=True).encode() + b"\n")
    return header


def read_learnt(registry: Registry, manifest: Manifest, path: Path) -> Learnt:
    """Download what a version learnt from to `path`. Raises NotKnown if it holds none, and as `download_file`."""
    entry = manifest.dataset
    if entry is None:
        raise NotKnown(
            f"v{manifest.version} of {manifest.control!r} holds no {DATASET}: the labelloop that published it did not "
            "keep what a version learnt from, so that cannot be had again. Versions trained from now on have theirs"
        )
    registry.download_file(manifest.control, entry, path)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        try:
            return Learnt(path, LearntHeader.model_validate_json(next(lines)))
        except (ValueError, StopIteration) as error:
            raise ModelError(f"{DATASET} of v{manifest.version} cannot be read by this labelloop: {error}") from error
