"""The records of a control's versions: manifest, pointer, and that a version's file is bad or was deleted."""

import math
from typing import Any

from pydantic import AwareDatetime, Field

from shared.errors import ModelError
from shared.price import Cost, Price
from shared.state.records import Record
from shared.yolo_task import YoloTask

WEIGHTS = "weights.pt"  # what the next training starts from
GRAPH = "weights.onnx"  # the same network, to be served without torch; versions from before lack it
REPORT = "report.html"  # for people
DATASET = "dataset.jsonl.gz"  # what it learnt from (`jobs.train.data.learnt`); versions from before lack it


class FileEntry(Record):
    """One file of a version, kept under its digest. Sizes in bytes."""

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Gate(Record):
    """How challenger and champion compared on the same val set, in the same run."""

    metric: str  # "mAP50-95", "balanced accuracy", "IDF1"
    challenger: float | None  # None: it could not be measured
    champion: float | None  # None: there is none, or it could not be measured
    champion_version: int | None  # the version that was served then, compared or not; None: base weights
    against: str | None = None  # the champion's name: "v3", "base-yolo11n"; None: there was nothing to compare with
    worse: float | None = None  # probability, 0–1, that the challenger is worse than the champion
    interval: tuple[float, float] | None = None  # of the challenger's score: 95 of 100 samples of the val set are in it
    gain: tuple[float, float] | None = None  # of challenger − champion, the same
    tasks: int = 0  # in the val set
    things: int = 0  # annotated objects in the val set
    passed: bool
    reason: str  # one sentence for a person


class Shown(Record):
    """What predict shows of one label."""

    confidence: float = Field(ge=0, le=1)  # objects below it are hidden
    iou: float = Field(ge=0, le=1)  # of two objects that overlap by more, one is hidden


DEFAULT_SHOWN = Shown(confidence=0.25, iou=0.7)
"""For labels for which neither a person nor the version chose anything."""


class Tiles(Record):
    """How large pictures are cut for a version, in pixels of the picture (`shared.geometry.tiles.Tiling`)."""

    side: int = Field(ge=1)
    overlap: int = Field(ge=1)  # least that neighbours share

    @property
    def said(self) -> str:
        """For people."""
        return f"tiles of {self.side} pixels that overlap by {self.overlap}"


class Manifest(Record):
    """One version of one control. Written once, never replaced."""

    version: int = Field(ge=1)
    control: str
    yolo_task: YoloTask
    labels: tuple[str, ...]  # class index → label at export
    files: tuple[FileEntry, ...]
    metrics: dict[str, float]  # on the val set: mAP50-95, precision, saved …; of a classifier balanced accuracy …
    gate: Gate
    shown: dict[str, Shown] = Field(default_factory=dict)  # label → what is shown of it; empty: the defaults
    tiling: Tiles | None = None  # how large pictures are cut, as the graph's metadata say; None: they are not
    lineage: dict[str, Any]  # dataset digest and counts, base version, settings, package versions, seed
    run_id: str
    fence: int
    created_at: AwareDatetime

    @property
    def seconds(self) -> float | None:
        """That its run's jobs had used when it was made; None: an older labelloop made it."""
        found = self.lineage.get("seconds")
        return found if isinstance(found, int | float) and 0 <= found < math.inf else None

    @property
    def price(self) -> Price | None:
        """Of an hour of that, as it was set when the run began; None: it was not."""
        return Price.find(self.lineage.get("price_per_hour"))

    @property
    def cost(self) -> Cost | None:
        """Of that time, at that price; None if one of them is not known."""
        return None if self.price is None or self.seconds is None else self.price.cost(self.seconds)

    @property
    def graph(self) -> FileEntry | None:
        """What it is served from; None if an older labelloop published it: a job has to make one."""
        return self.find_file(GRAPH)

    @property
    def dataset(self) -> FileEntry | None:
        """What it learnt from; None if an older labelloop published it."""
        return self.find_file(DATASET)

    def find_file(self, name: str) -> FileEntry | None:
        """The entry of the file with that name; None if there is none."""
        return next((entry for entry in self.files if entry.name == name), None)

    def file(self, name: str) -> FileEntry:
        """As `find_file`. Raises ModelError if there is none."""
        if entry := self.find_file(name):
            return entry
        raise ModelError(f"version v{self.version} of {self.control!r} holds no {name}")


class Pointer(Record):
    """Names the version to serve: the only record of a model that changes."""

    serial: str  # unique, so that two writes never have the same bytes
    version: int = Field(ge=1)
    fence: int
    run_id: str
    reason: str  # "promote", "rollback"
    moved_at: AwareDatetime
    withdrawn: tuple[int, ...] = ()  # versions whose files are being removed: the pointer may not name them any more
    rolled_back: tuple[int, ...] = ()  # versions that a person went back from: only a person serves them again


class Rejection(Record):
    """A version with a bad file, or none any more: for every reader, not only for a machine that lacks something."""

    version: int
    error: str
    rejected_at: AwareDatetime
    deleted: bool = False  # a person did; else its file is bad
