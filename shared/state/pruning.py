"""Removes from the store what is not kept. It may be killed anywhere: what is kept stays whole, the next prune goes on.

Before a version is removed it is withdrawn in the pointer, by compare-and-swap: a rollback that is under way fails
there and reads again, so the pointer never names what is being removed.
"""

import logging
from collections import defaultdict

from shared.errors import PreconditionFailed
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.jobs import Jobs
from shared.state.keeping import Held, HeldControl, HeldVersion, Keep, Removal, plan
from shared.state.registry import Registry

logger = logging.getLogger(__name__)


def read_held(store: ObjectStore, uid: str) -> Held:
    """Read what the store holds of a project. Raises StoreError, also for a record that this labelloop cannot read.

    The order matters. A run takes its claim before it writes anything, and publishes before it releases its claim. So a
    key that is listed before the record is read belongs to a run that the record names or that has ended, and what an
    ended run published is among the versions, which are listed after the record is read.
    """
    jobs, registry = Jobs(store, uid), Registry(store, uid)
    runs: dict[str, list[str]] = defaultdict(list)
    folder = keys.runs(uid)
    for key in store.list(f"{folder}/"):
        runs[key.removeprefix(f"{folder}/").partition("/")[0]].append(key)
    older = tuple(store.list(f"{keys.older_runs(uid)}/"))
    files = {control: frozenset(registry.stored_files(control)) for control in registry.controls()}
    record = jobs.read()
    return Held(
        record=record,
        runs={run_id: tuple(keys) for run_id, keys in runs.items()},
        uid=uid,
        controls=tuple(_read_control(registry, uid, control, stored) for control, stored in files.items()),
        images=tuple(store.list(f"{keys.images(uid)}/")),
        older=older,
    )


def _read_control(registry: Registry, uid: str, control: str, files: frozenset[str]) -> HeldControl:
    manifests = registry.versions(control)
    numbers = {manifest.version for manifest in manifests}
    rejected = {number: keys.rejection(uid, control, number) for number in registry.rejected(control)}
    return HeldControl(
        name=control,
        pointer=registry.pointer(control),
        versions=tuple(
            HeldVersion(
                manifest,
                tuple(keys.file(uid, control, entry.sha256, entry.name) for entry in manifest.files),
                rejected.get(manifest.version),
                keys.manifest(uid, control, manifest.version),
            )
            for manifest in manifests
        ),
        files=files,
        rejections=tuple(key for number, key in sorted(rejected.items()) if number not in numbers),
    )


def keys_of(store: ObjectStore, uid: str) -> list[str]:
    """Every key of a project."""
    return [key for folder in keys.folders_of(uid) for key in store.list(f"{folder}/")]


def planned(store: ObjectStore, uid: str, keep: Keep, images: frozenset[str] | None = None) -> list[Removal]:
    """What `prune` would remove now; removes nothing. Raises StoreError."""
    return plan(read_held(store, uid), keep, images)


def prune(store: ObjectStore, uid: str, keep: Keep, images: frozenset[str] | None = None) -> list[Removal]:
    """Remove what `plan` says; answers what was removed. After a StoreError, the next prune removes the rest."""
    held = read_held(store, uid)
    removals = plan(held, keep, images)
    moved = {control.name for control in held.controls if not _withdrawn(Registry(store, uid), control, removals)}
    done = [removal for removal in removals if removal.control not in moved]
    for removal in done:
        for key in removal.keys:
            store.delete(key)
        logger.info(
            f"{removal.what} was removed: {removal.why}",
            extra={"event": "removed", "project": uid, "objects": len(removal.keys)},
        )
    return done


def _withdrawn(registry: Registry, control: HeldControl, removals: list[Removal]) -> bool:
    """Withdraw the versions of a control that are to be removed; False if the pointer was moved meanwhile."""
    versions = [one.version for one in removals if one.control == control.name and one.version is not None]
    if control.pointer is None or not (versions or control.pointer.withdrawn):
        return True
    try:
        registry.withdraw(control.name, versions, seen=control.pointer)
    except PreconditionFailed as error:
        logger.info(f"no version is removed: {error}", extra={"event": "prune_put_off", "control": control.name})
        return False
    return True
