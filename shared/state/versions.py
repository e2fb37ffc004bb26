"""The records of a control's versions: manifest, pointer, and the note that a version's file is bad."""

from datetime import datetime
from typing import Any

from pydantic import Field

from shared.errors import ModelError
from shared.state.records import Record
from shared.yolo_task import YoloTask

WEIGHTS = "weights.pt"


class FileEntry(Record):
    """One immutable file of a version, kept under its digest."""

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Gate(Record):
    """How challenger and champion compared on the same val set, in the same run."""

    metric: str  # "mAP50-95", "balanced accuracy", "IDF1"
    challenger: float | None  # None: it could not be measured
    champion: float | None  # None: there is none, or it could not be measured
    champion_version: int | None  # that was served then, compared or not; None: base weights
    against: str | None = None  # "v3", "base-yolo11n"; None: there was nothing to compare with
    worse: float | None = None  # 0–1: how probable it is that the challenger is the worse one
    tasks: int = 0  # of the val set
    things: int = 0  # objects annotated in it
    passed: bool
    reason: str  # one sentence for a person


class Shown(Record):
    """What predict shows of one label."""

    confidence: float = Field(ge=0, le=1)  # from which objects are shown
    iou: float = Field(ge=0, le=1)  # overlap above which two are one


DEFAULT_SHOWN = Shown(confidence=0.25, iou=0.7)
"""Where nobody asked for anything else, and the version chose nothing."""


class Manifest(Record):
    """One version of one control. Written once, never replaced."""

    version: int = Field(ge=1)
    control: str
    yolo_task: YoloTask
    labels: tuple[str, ...]  # class index → label at export
    files: tuple[FileEntry, ...]
    metrics: dict[str, float]  # on the val set: mAP50-95, precision, saved …, or balanced accuracy …
    gate: Gate
    shown: dict[str, Shown] = Field(default_factory=dict)  # label → what is shown of it; empty: the defaults
    lineage: dict[str, Any]  # dataset digest and counts, base version, settings, package versions, seed
    run_id: str
    fence: int
    created_at: datetime

    def file(self, name: str) -> FileEntry:
        """The entry of that name. Raises ModelError."""
        for entry in self.files:
            if entry.name == name:
                return entry
        raise ModelError(f"version v{self.version} of {self.control!r} holds no {name}")


class Pointer(Record):
    """Names the version to serve. The only mutable model object."""

    serial: str  # never repeats, so two writes never have the same bytes
    version: int = Field(ge=1)
    fence: int
    run_id: str
    reason: str  # "promote", "rollback"
    moved_at: datetime
    withdrawn: tuple[int, ...] = ()  # versions whose files are being removed: no pointer may name them any more


class Rejection(Record):
    """A version whose file is bad, for whoever reads it: what a machine lacks for a while is no reason."""

    version: int
    error: str
    rejected_at: datetime
