"""Decides what of a project is kept in the store and what may be removed. Pure.

Kept are the version that the pointer names, versions that a rollback could name, everything of the newest runs, and
whatever belongs to a run that has not ended. `shared.state.pruning` reads what is there and removes what `plan` says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.settings import Settings
from shared.state import keys
from shared.state.jobs_record import JobsRecord
from shared.state.versions import Manifest, Pointer


@dataclass(frozen=True, slots=True)
class Keep:
    """How much is kept."""

    runs: int  # the newest runs, at least 1
    versions: int  # good versions before the pointer's, and as many after it; at least 1

    @classmethod
    def of(cls, settings: Settings) -> "Keep":
        """As the operator's settings say."""
        return cls(settings.keep_runs, settings.keep_versions)


@dataclass(frozen=True, slots=True)
class HeldVersion:
    """One version, with the keys of its objects."""

    manifest: Manifest
    files: tuple[str, ...]
    rejection: str | None  # key of the record that its file is bad; None: it is good
    key: str  # of the manifest, which is removed last


@dataclass(frozen=True, slots=True)
class HeldControl:
    """Everything that the store holds of one control."""

    name: str
    pointer: Pointer | None
    versions: tuple[HeldVersion, ...]
    files: frozenset[str]  # keys of all its files, named by a version or not
    rejections: tuple[str, ...] = ()  # keys of records about versions that are not there any more


@dataclass(frozen=True, slots=True)
class Held:
    """Everything that the store holds of one project. Keys are listed before the record is read, versions after it."""

    record: JobsRecord
    runs: Mapping[str, tuple[str, ...]]  # run id → keys
    uid: str
    controls: tuple[HeldControl, ...]
    images: tuple[str, ...] = ()  # keys of the images that jobs keep
    older: tuple[str, ...] = ()  # keys of runs where an older labelloop wrote them: nothing reads them


@dataclass(frozen=True, slots=True)
class Removal:
    """Objects that are removed together, in the order of `keys`."""

    what: str
    why: str
    keys: tuple[str, ...]
    control: str | None = None  # whose pointer must not name `version` any more
    version: int | None = None


def plan(held: Held, keep: Keep, images: frozenset[str] | None = None) -> list[Removal]:
    """What may be removed.

    `images`: the keys of the images that a task still names; None: not known, so all are kept. Of a project without any
    claim so far no run is kept: it was forgotten, and a job that lived on wrote once more.
    """
    active = {claim.run_id for claim in (held.record.training, held.record.prelabel) if claim}
    last = {held.record.last_run.run_id} if held.record.last_run else set()
    newest = sorted(held.runs)[-keep.runs :] if held.record.fence else []  # run ids begin with the time
    kept = {*active, *last, *newest}
    removals = list(_runs(held, kept, active, keep))
    for control in held.controls:
        removals += _versions(control, kept, keep)
        if held.record.training is None:  # else it may have uploaded what it will publish
            removals += _unnamed(control)
    if images is not None and (unused := tuple(key for key in held.images if key not in images)):
        removals.append(Removal("images", "no annotated task names them any more", unused))
    if held.older:
        removals.append(Removal("runs of an older labelloop", "nothing reads them any more", held.older))
    return removals


def _runs(held: Held, kept: set[str], active: set[str], keep: Keep) -> Iterator[Removal]:
    for run_id, stored in sorted(held.runs.items()):
        if run_id not in kept:
            yield Removal(f"run {run_id}", f"not one of the newest {keep.runs}", stored)
        elif run_id not in active:
            start = f"{keys.checkpoints(held.uid, run_id)}/"
            if checkpoints := tuple(key for key in stored if key.startswith(start)):
                yield Removal(f"checkpoints of run {run_id}", "the run has ended", checkpoints)


def _versions(control: HeldControl, kept_runs: set[str], keep: Keep) -> Iterator[Removal]:
    """Versions are removed whole. Without a pointer none can be withdrawn, so manifests stay until there is one."""
    numbers = _kept_numbers(control, kept_runs, keep)
    needed = {key for one in control.versions if one.manifest.version in numbers for key in one.files}
    for one in control.versions:
        manifest = one.manifest
        if manifest.version in numbers:
            continue
        gone = [key for key in one.files if key in control.files and key not in needed]
        if control.pointer is not None:
            gone += [one.rejection] if one.rejection else []
            gone.append(one.key)
        if gone:
            why = (
                "it failed verification, or was deleted" if one.rejection
                else f"more than {keep.versions} good ones are newer" if manifest.gate.passed
                else f"the gate held it back, and its run is not one of the newest {keep.runs}"
            )  # fmt: skip
            yield Removal(f"v{manifest.version} of {control.name!r}", why, tuple(gone), control.name, manifest.version)


def _kept_numbers(control: HeldControl, kept_runs: set[str], keep: Keep) -> set[int]:
    if not control.versions:
        return set()
    named = control.pointer.version if control.pointer else 0
    withdrawn = set(control.pointer.withdrawn) if control.pointer else set()
    present = [one for one in control.versions if one.manifest.version not in withdrawn]
    good = [one.manifest.version for one in present if one.manifest.gate.passed and one.rejection is None]
    before = [number for number in good if number < named]
    after = [number for number in good if number > named]
    made = {one.manifest.version for one in present if one.manifest.run_id in kept_runs}
    newest = control.versions[-1].manifest.version  # its number must never be given again
    return {named, newest, *before[-keep.versions :], *after[-keep.versions :], *made}


def _unnamed(control: HeldControl) -> Iterator[Removal]:
    named = {key for one in control.versions for key in one.files}
    if left := tuple(sorted(control.files - named)):
        yield Removal(f"files of {control.name!r}", "no version names them: their run ended before it had one", left)
    if control.rejections:
        yield Removal(f"records of {control.name!r}", "their versions were removed", control.rejections)
