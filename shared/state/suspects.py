"""Annotations that are worth a look: a file of each version lists them; a record keeps what people dismissed.

A list says what a model disputes that was not trained on those images. It never says that the rest is right.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from pydantic import AwareDatetime, Field, ValidationError

from shared.errors import NotFound, StoreRefusal
from shared.evolve import evolve
from shared.labelstudio.requests import project_id
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.records import Record, find, new_serial, update
from shared.state.registry import Registry
from shared.state.versions import FileEntry, Manifest

SUSPECTS = "suspects.json"
MAX_LISTED = 200
"""The most suspicious ones of a version, which its file holds."""
_MAX_BYTES = 2_000_000
_NEWEST = 8  # versions among which a list is looked for
_SAME_PLACE = 0.5  # overlap from which two suspects are about the same place
_PATIENCE = 10.0  # seconds of losing to others who dismiss

Place = tuple[float, float, float, float]
"""Left, top, width and height in percent of the image, as Label Studio counts; of rotated ones the box around them."""


class Suspect(Record):
    """One annotated object, or one that may be missing, that is worth a look."""

    id: str  # ten hex digits; the same as long as the annotation and what is said of it are
    kind: str  # "missing", "spurious", "swapped", "loose", or a word of a newer labelloop
    rarity: float = Field(ge=0, le=1)  # part of the annotated objects that look less suspicious
    task: int  # id
    annotation: int  # id; of the task, whatever the object
    digest: str  # of what the control reads in the task's annotation
    label: str = ""  # that is annotated; empty: nothing is
    box: Place | None = None  # of the annotated object; None: nothing is there, or an image was classified
    found: str = ""  # label that the model gives; empty: it finds nothing
    found_box: Place | None = None
    confidence: float | None = None  # 0–1, of what the model finds
    reason: str  # one sentence for a person

    @property
    def place(self) -> Place | None:
        """Where to look."""
        return self.box or self.found_box

    def address(self, label_studio_url: str | None, uid: str) -> str | None:
        """Where its task is in Label Studio; None if nobody says where that is."""
        if label_studio_url is None:
            return None
        return f"{label_studio_url.rstrip('/')}/projects/{project_id(uid)}/data?task={self.task}"


class SuspectList(Record):
    """`suspects.json` of a version."""

    control: str
    judge: str  # the model that disputes: "v3", or empty for the version itself
    judged: int  # tasks that it was not trained on, and so judged
    tasks: int  # annotated tasks of the run
    count: int  # suspects of the run; the file holds the first MAX_LISTED
    suspects: tuple[Suspect, ...]  # most suspicious first


class Dismissal(Record):
    """A suspect that a person looked at and found right, for as long as the annotation is the same."""

    task: int
    digest: str
    kind: str
    label: str
    found: str
    place: Place | None
    dismissed_at: AwareDatetime


class Dismissals(Record):
    """All of one control."""

    serial: str
    dismissed: tuple[Dismissal, ...] = ()

    def hold(self, suspect: Suspect) -> bool:
        """Whether this was dismissed, also if another version says it of nearly the same place."""
        said = (suspect.task, suspect.digest, suspect.kind, suspect.label, suspect.found)
        return any(
            said == (one.task, one.digest, one.kind, one.label, one.found) and _same_place(suspect.place, one.place)
            for one in self.dismissed
        )


class Listed(NamedTuple):
    """The newest list of a control, without what people dismissed."""

    version: int  # beside which it is
    list: SuspectList
    open: tuple[Suspect, ...]  # most suspicious first
    dismissed: int  # how many of the list are

    @property
    def left(self) -> int:
        """How many the run found, also those that the list does not hold, without those that were dismissed since."""
        return self.list.count - self.dismissed

    @property
    def judge(self) -> str:
        """The model that disputes."""
        return self.list.judge or f"v{self.version}"


def identity(*said: object) -> str:
    """A suspect's id, of everything that it says."""
    return hashlib.sha256(repr(said).encode()).hexdigest()[:10]


def newest_first(registry: Registry, control: str) -> Iterator[Manifest]:
    """The newest versions of a control, each read when it is asked for; one that is no valid record is left out."""
    for number in reversed(registry.numbers(control)[-_NEWEST:]):
        with suppress(StoreRefusal):
            if manifest := registry.find_manifest(control, number):
                yield manifest


def read_suspects(store: ObjectStore, uid: str, control: str, newest: Iterable[Manifest]) -> Listed | None:
    """The list of the first of these versions that has one; None if none has. Raises StoreError.

    `newest`: the newest first.
    """
    for manifest in newest:
        entry = manifest.find_file(SUSPECTS)
        if entry is None:
            continue
        try:
            found = _read(store, uid, control, entry)
        except NotFound:  # somebody deleted the version, and its files with it
            continue
        dismissals = read_dismissals(store, uid, control)
        left = tuple(one for one in found.suspects if not dismissals.hold(one))
        return Listed(manifest.version, found, left, len(found.suspects) - len(left))
    return None


def read_dismissals(store: ObjectStore, uid: str, control: str) -> Dismissals:
    """What was dismissed of a control. Raises StoreError."""
    return find(Dismissals, store, keys.dismissals(uid, control))[0] or Dismissals(serial="")


def dismiss(store: ObjectStore, uid: str, control: str, suspects: Sequence[Suspect]) -> None:
    """Remember that a person found these right. Raises StoreError, PreconditionFailed."""
    now = store.now()

    def add(before: Dismissals | None) -> Dismissals | None:
        known = before or Dismissals(serial="")
        new = tuple(
            Dismissal(
                task=one.task,
                digest=one.digest,
                kind=one.kind,
                label=one.label,
                found=one.found,
                place=one.place,
                dismissed_at=now,
            )
            for one in suspects
            if not known.hold(one)
        )
        return evolve(known, serial=new_serial(), dismissed=known.dismissed + new) if new else None

    update(Dismissals, store, keys.dismissals(uid, control), add, patience=_PATIENCE)


def _read(store: ObjectStore, uid: str, control: str, entry: FileEntry) -> SuspectList:
    """A list whose bytes are those that its manifest names. Raises StoreError."""
    key = keys.file(uid, control, entry.sha256, entry.name)
    if entry.size > _MAX_BYTES:
        raise StoreRefusal(f"{key} in {store.url} is larger than any list of suspects: {entry.size} bytes")
    stored = store.get(key)
    if stored is None or hashlib.sha256(stored.data).hexdigest() != entry.sha256:
        raise StoreRefusal(f"{key} in {store.url} is damaged: bring back the object as it was")
    try:
        return SuspectList.model_validate_json(stored.data)
    except ValidationError as error:
        raise StoreRefusal(f"{key} in {store.url} is no list of suspects of this labelloop") from error


def _same_place(one: Place | None, other: Place | None) -> bool:
    """None: the whole image."""
    if one is None or other is None:
        return one is other
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    union = one[2] * one[3] + other[2] * other[3] - common
    return common >= _SAME_PLACE * union
