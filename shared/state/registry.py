"""The versions of a project's models: publishes them, finds the one to serve, and moves the pointer that names it.

Files are written first, the manifest second, the pointer last: whoever reads a pointer can read all that it names. Only
`promote` moves a pointer to another version, also for a rollback, by one compare-and-swap.
"""

import logging
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from shared.errors import (
    AlreadyExists,
    NotFound,
    NotKnown,
    PreconditionFailed,
    StoreRefusal,
)
from shared.evolve import evolve
from shared.objectstore import ObjectStore, Token
from shared.side_by_side import side_by_side
from shared.state import keys
from shared.state.notes import read_notes
from shared.state.pointer_moves import Move, moved
from shared.state.records import find, load, new_serial, write
from shared.state.stored_files import download_verified, upload_once
from shared.state.versions import FileEntry, Manifest, Pointer, Rejection

logger = logging.getLogger(__name__)

_NEWEST = 8
"""Manifests that are read at once while the newest one of some kind is looked for."""
_KEPT = 4096
"""Manifests that a process remembers, of all projects; about 10 kB each."""


class Promotion(NamedTuple):
    """The pointer after `promote`."""

    pointer: Pointer
    moved: bool  # False: the pointer already named this run's version


class Serving(NamedTuple):
    """A control's pointer, and the version that is to be served."""

    pointer: Pointer | None  # None before the first version
    manifest: Manifest | None  # None: base weights


ReadManifest = Callable[[str], Manifest]
"""Key of a manifest → the manifest. Raises NotFound."""


def read_manifests_once(store: ObjectStore) -> ReadManifest:
    """A function that reads manifests and remembers the last ones: they never change. Thread-safe."""

    @lru_cache(maxsize=_KEPT)
    def read(key: str) -> Manifest:
        return load(Manifest, store, key)[0]

    return read


class Registry:
    """The versions and pointers of one project. Every method may raise StoreError."""

    def __init__(self, store: ObjectStore, uid: str, read_manifest: ReadManifest | None = None) -> None:
        """`read_manifest`: shared by several registries of a store, so that each manifest is read once."""
        self._store = store
        self._uid = uid
        self._read_manifest = read_manifest or read_manifests_once(store)

    def controls(self) -> list[str]:
        """Names of the controls that have at least one object in the store."""
        return sorted(keys.decode(name) for name in self._store.folders(keys.models(self._uid)))

    def pointer(self, control: str) -> Pointer | None:
        """What the pointer says now; None before the first version."""
        return find(Pointer, self._store, keys.pointer(self._uid, control))[0]

    def manifest(self, control: str, version: int) -> Manifest:
        """The manifest of a version. Raises NotFound."""
        return self._read_manifest(keys.manifest(self._uid, control, version))

    def find_manifest(self, control: str, version: int) -> Manifest | None:
        """The manifest; None if it was removed since it was listed."""
        try:
            return self.manifest(control, version)
        except NotFound:
            return None

    def numbers(self, control: str) -> list[int]:
        """The numbers of all versions of a control, ascending. Lists keys, reads nothing."""
        return keys.numbers(self._store.list(f"{keys.versions(self._uid, control)}/"))

    def require(self, control: str, version: int) -> None:
        """Raise NotKnown, which names the versions there are, if there is no such one."""
        numbers = self.numbers(control)
        if version not in numbers:
            known = ", ".join(f"v{number}" for number in numbers)
            raise NotKnown(f"{control!r} of project {self._uid} has no version v{version}; there are {known or 'none'}")

    def versions(self, control: str) -> list[Manifest]:
        """All manifests of a control, oldest first. Raises StoreRefusal if one of them is no valid record."""
        found = side_by_side(lambda number: self.find_manifest(control, number), self.numbers(control))
        return [manifest for manifest in found if manifest is not None]

    def readable(self, control: str, numbers: Iterable[int] | None = None) -> list[Manifest]:
        """The manifests of these versions (None: of all), without those that are gone.

        One that is no valid record is logged, and takes nothing from the others.
        """
        numbers = self.numbers(control) if numbers is None else numbers
        found = side_by_side(lambda number: self._find_readable(control, number), numbers)
        return [manifest for manifest in found if manifest is not None]

    def rejected(self, control: str) -> set[int]:
        """Numbers of the versions whose file is bad, or that were deleted."""
        return set(keys.numbers(self._store.list(f"{keys.rejections(self._uid, control)}/")))

    def was_deleted(self, control: str, version: int) -> bool:
        """Whether a person deleted a version. A record that cannot be read does not say so."""
        try:
            found, _ = find(Rejection, self._store, keys.rejection(self._uid, control, version))
        except StoreRefusal:
            return False
        return found is not None and found.deleted

    def reject(self, control: str, version: int, error: str, *, deleted: bool = False) -> None:
        """Record that a version's file is bad, or with `deleted` that a person does not want it any more.

        Once: a later call changes nothing, but that a bad version may still be deleted.
        """
        key = keys.rejection(self._uid, control, version)
        rejection = Rejection(version=version, error=error, rejected_at=self._store.now(), deleted=deleted)
        try:
            self._store.create(key, rejection.to_json())
        except AlreadyExists:
            if deleted and not self.was_deleted(control, version):
                self._store.put(key, rejection.to_json())

    def notes(self, control: str) -> dict[int, str]:
        """Number of a version → what somebody noted on it; none if they cannot be read: nothing depends on them."""
        try:
            return read_notes(self._store, self._uid, control)
        except StoreRefusal:
            return {}

    def serving(self, control: str) -> Manifest | None:
        """The version to serve: the pointer's, or if its file is bad the newest good one before it; None: none."""
        return self.look(control).manifest

    def look(self, control: str) -> Serving:
        """The pointer, together with what `serving` answers."""
        pointer = self.pointer(control)
        if pointer is None:
            return Serving(None, None)
        return Serving(pointer, self.served(control, pointer, self.rejected(control)))

    def served(self, control: str, pointer: Pointer, rejected: set[int]) -> Manifest | None:
        """What `serving` answers, of a pointer and the versions with a bad file that were read before."""
        if pointer.version not in rejected:
            return self._named(control, pointer)
        return self._newest_before(control, pointer.version, _gone(pointer, rejected))

    def newest_before(self, control: str, version: int) -> Manifest | None:
        """The newest good version with a smaller number that can be read; None if there is none."""
        return self._newest_before(control, version, _gone(self.pointer(control), self.rejected(control)))

    def rolled_back(self, control: str) -> list[Manifest]:
        """The versions that a person went back from, oldest first, as far as they are still kept."""
        pointer = self.pointer(control)
        return self.readable(control, pointer.rolled_back) if pointer else []

    def _newest_before(self, control: str, version: int, gone: set[int]) -> Manifest | None:
        older = [number for number in self.numbers(control) if number < version and number not in gone]
        for end in range(len(older), 0, -_NEWEST):
            newest = self.readable(control, older[max(end - _NEWEST, 0) : end])
            if good := next((manifest for manifest in reversed(newest) if manifest.gate.passed), None):
                return good
        return None

    def fence(self) -> int:
        """The greatest fence in any pointer of the project; 0 before the first."""
        pointers = side_by_side(self.pointer, self.controls())
        return max((pointer.fence for pointer in pointers if pointer), default=0)

    def upload_file(self, control: str, name: str, path: Path) -> FileEntry:
        """Store a file under its digest; the same bytes are stored once."""
        return upload_once(self._store, keys.files(self._uid, control), name, path)

    def download_file(self, control: str, entry: FileEntry, path: Path) -> None:
        """Fetch a file to `path`, where only bytes with the manifest's digest ever stand.

        Raises NotFound, StoreError (also if this machine's disk fails), and ModelError if the digest is wrong twice:
        then the file is bad and nobody can use the version.
        """
        download_verified(self._store, self._file(control, entry), entry, path, repr(control))

    def published_by(self, control: str, run_id: str) -> Manifest | None:
        """The version that an earlier attempt of the run published; None if none did.

        It is looked for among the newest: only attempts that have lost their claim can publish after it.
        """
        for number in reversed(self.numbers(control)[-_NEWEST:]):
            manifest = self._find_readable(control, number)
            if manifest is not None and manifest.run_id == run_id:
                return manifest
        return None

    def publish(self, control: str, build: Callable[[int], Manifest], *, above: int = 0) -> Manifest:
        """Write the manifest that `build(number)` makes, under the next free number that is greater than `above`.

        A run publishes one version of a control: if another attempt was first, or the answer to our own write was lost,
        the manifest that is there is answered.
        """
        number = max(above, *self.numbers(control), 0) + 1
        if earlier := self.published_by(control, build(number).run_id):
            return earlier
        while True:
            manifest = build(number)
            try:
                self._store.create(keys.manifest(self._uid, control, number), manifest.to_json())
            except AlreadyExists:
                found = self.manifest(control, number)
                if found.run_id == manifest.run_id:
                    return found
                number += 1
            else:
                return manifest

    def promote(
        self,
        control: str,
        version: int,
        *,
        fence: int,
        run_id: str,
        expected: int | None,
        reason: Literal["promote", "rollback"] = "promote",
    ) -> Promotion:
        """Move the pointer to a version, if it still names `expected` (None: no pointer yet).

        A rollback is the same with `reason="rollback"` and a fence of its own (`claims.next_fence`). Raises NotFound if
        there is no such version or it was withdrawn, ClaimLost if the pointer was moved under a greater fence (by
        another attempt, or by a rollback, which this run must not undo), PreconditionFailed if it names another
        version: the caller decides again.
        """
        current, token = find(Pointer, self._store, keys.pointer(self._uid, control))
        self._stored_manifest(control, version)  # after the pointer was read: what is removed is withdrawn there first
        move = Move(control=control, version=version, fence=fence, run_id=run_id, reason=reason, expected=expected)
        if current and move.is_done(current):
            return Promotion(current, moved=False)
        numbers = self.numbers(control) if reason == "rollback" else []
        pointer = moved(current, move, numbers, self._store.now())
        self._write_pointer(control, pointer, token)
        return Promotion(pointer, moved=True)

    def withdraw(self, control: str, versions: Iterable[int], *, seen: Pointer) -> None:
        """Withdraw exactly these versions, before they are removed: from now on the pointer may not name them.

        A move of the pointer that is under way fails, and reads again. Raises PreconditionFailed if the pointer is not
        the one that was `seen`: the caller decides again what may be removed.
        """
        withdrawn = tuple(sorted(versions))
        current, token = find(Pointer, self._store, keys.pointer(self._uid, control))
        if current is None or current.serial != seen.serial or current.version in withdrawn:
            raise PreconditionFailed(f"somebody moved the pointer of {control!r} meanwhile")
        if current.withdrawn != withdrawn:
            changed = evolve(current, serial=new_serial(), withdrawn=withdrawn)
            self._write_pointer(control, changed, token)

    def stored_files(self, control: str) -> list[str]:
        """Keys of all files of a control, with those that no version names (yet)."""
        return list(self._store.list(f"{keys.files(self._uid, control)}/"))

    def _file(self, control: str, entry: FileEntry) -> str:
        return keys.file(self._uid, control, entry.sha256, entry.name)

    def _write_pointer(self, control: str, pointer: Pointer, token: Token | None) -> None:
        """Write if the pointer is the one of `token`. Raises PreconditionFailed."""
        try:
            write(self._store, keys.pointer(self._uid, control), pointer, token)
        except PreconditionFailed as refusal:
            if self.pointer(control) != pointer:  # else it is our own write, whose answer was lost
                raise PreconditionFailed(f"somebody else moved the pointer of {control!r} meanwhile") from refusal

    def _named(self, control: str, pointer: Pointer) -> Manifest:
        """The manifest that a pointer names: read anew if a remembered one is of a project that was forgotten since."""
        manifest = self.manifest(control, pointer.version)
        if pointer.reason == "promote" and manifest.run_id != pointer.run_id:
            return self._stored_manifest(control, pointer.version)
        return manifest

    def _stored_manifest(self, control: str, version: int) -> Manifest:
        """Read from the store, not from memory. Raises NotFound."""
        return load(Manifest, self._store, keys.manifest(self._uid, control, version))[0]

    def _find_readable(self, control: str, number: int) -> Manifest | None:
        try:
            return self.find_manifest(control, number)
        except StoreRefusal as error:
            told = {"event": "version_not_read", "project": self._uid, "control": control, "version": number}
            logger.warning(str(error), extra=told)
            return None


def _gone(pointer: Pointer | None, rejected: set[int]) -> set[int]:
    """Versions that may not take the place of another one."""
    return rejected.union(pointer.withdrawn, pointer.rolled_back) if pointer else rejected
