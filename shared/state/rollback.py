"""Moves a control's pointer by hand: back to an older version, or forward again."""

from shared.errors import LabelloopError, NotFound, NotKnown, PreconditionFailed
from shared.objectstore import ObjectStore
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.registry import Promotion, Registry


def move_pointer(store: ObjectStore, uid: str, control: str, version: int) -> tuple[int | None, Promotion]:
    """Move the pointer to an older or newer version. Answers the version that it named before, and the promotion.

    Takes a new fence, so that an active run cannot undo it. Raises NotKnown for a version that does not exist or has a
    bad file, LabelloopError if somebody else moves the pointer at the same time.
    """
    registry = Registry(store, uid)
    check_movable(store, uid, control, version)
    before = registry.pointer(control)
    if before is not None and before.version == version:
        return version, Promotion(before, moved=False)
    fence = Jobs(store, uid).update(claims.next_fence, registry.fence()).fence
    try:
        promotion = registry.promote(
            control,
            version,
            fence=fence,
            run_id=f"rollback-{fence}",
            expected=before.version if before else None,
            reason="rollback",
        )
    except NotFound as error:
        raise NotKnown(str(error)) from error
    except PreconditionFailed as error:
        raise LabelloopError(
            f"{error}: somebody moved it just now; look at `labelloop status` and try again"
        ) from error
    return before.version if before else None, promotion


def check_movable(store: ObjectStore, uid: str, control: str, version: int) -> None:
    """Raises NotKnown for a version that does not exist or has a bad file."""
    registry = Registry(store, uid)
    registry.require(control, version)
    if version in registry.rejected(control):
        why = "was deleted" if registry.was_deleted(control, version) else "failed verification in predict"
        raise NotKnown(f"v{version} of {control!r} {why} and cannot be served")


def version_before(store: ObjectStore, uid: str, control: str) -> int:
    """The version that a rollback goes back to if none is named: the newest good one before the pointer's.

    Raises NotKnown if there is none.
    """
    registry = Registry(store, uid)
    pointer = registry.pointer(control)
    before = registry.newest_before(control, pointer.version) if pointer else None
    if before is None:
        served = f"v{pointer.version} has no good version before it" if pointer else "no version has been served yet"
        raise NotKnown(f"{control!r} of project {uid}: {served}; `--to N` serves any other")
    return before.version


def moved_sentence(registry: Registry, control: str, before: int | None, promotion: Promotion) -> str:
    """What is served now, after `move_pointer`. Raises StoreError."""
    version = promotion.pointer.version
    was = f"was v{before}" if before else "was base weights"
    if registry.manifest(control, version).graph is None:
        return f"{control}: v{version} ({was}) of an older labelloop has no graph: it is served once a job has made one"
    return f"{control}: serves v{version} now ({was})" if promotion.moved else f"{control}: serves v{version} already"
