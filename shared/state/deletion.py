"""Deletes one version because a person wants it gone: its files go; that it was there, and its number, stay known."""

import logging
from dataclasses import dataclass

from shared.errors import LabelloopError, PreconditionFailed
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.jobs import Jobs
from shared.state.registry import Registry

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was removed."""

    files: int
    size: int  # bytes
    shared: int  # files that other versions have too, and that stay


def check_deletable(store: ObjectStore, uid: str, control: str, version: int) -> None:
    """Raises NotKnown if there is no such version (any more), LabelloopError if it is needed now.

    And StoreRefusal if a version cannot be read: nobody knows which files it shares.
    """
    registry = Registry(store, uid)
    registry.require(control, version)
    registry.versions(control)
    look = registry.look(control)
    served = {look.pointer.version if look.pointer else 0, look.manifest.version if look.manifest else 0}
    if version in served:
        raise LabelloopError(f"v{version} of {control!r} is served: `labelloop rollback` to another version first")
    if claim := Jobs(store, uid).read().training:
        raise LabelloopError(
            f"run {claim.run_id} of project {uid} is active and may begin from v{version}, or compare with it: wait "
            "until it has ended (`labelloop status`), or end it (`labelloop stop`)"
        )


def delete_version(store: ObjectStore, uid: str, control: str, version: int) -> Deleted:
    """Remove the files of a version that no other one has. If it is killed, a second call goes on.

    First the version is withdrawn in the pointer, by compare-and-swap, so that a rollback to it that is under way
    fails; then it is recorded as deleted; then its files go. Its manifest stays until it is pruned, so that its number
    is never taken again. Raises as `check_deletable`, and StoreError.
    """
    check_deletable(store, uid, control, version)
    registry = Registry(store, uid)
    if pointer := registry.pointer(control):
        try:
            registry.withdraw(control, {*pointer.withdrawn, version}, seen=pointer)
        except PreconditionFailed as error:
            raise LabelloopError(f"{error}: look at `labelloop status` and try again") from error
    registry.reject(control, version, "somebody deleted it", deleted=True)
    manifest = registry.manifest(control, version)
    gone = {number for number in registry.rejected(control) if registry.was_deleted(control, number)}
    kept = {entry for other in registry.versions(control) if other.version not in gone for entry in other.files}
    own = {keys.file(uid, control, entry.sha256, entry.name): entry for entry in manifest.files}
    needed = {keys.file(uid, control, entry.sha256, entry.name) for entry in kept}
    there = set(own).intersection(registry.stored_files(control))
    for key in sorted(there - needed):
        store.delete(key)
    removed = [own[key] for key in there - needed]
    logger.info(
        f"v{version} of {control!r} was deleted",
        extra={"event": "version_deleted", "project": uid, "objects": len(removed)},
    )
    return Deleted(len(removed), sum(entry.size for entry in removed), len(there & needed))
