"""Which version each control of each project serves now: the newest, or what predict serves instead of it."""

import json
import logging
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from shared.errors import StoreError
from shared.labelstudio.controls import Control
from shared.objectstore import ObjectStore
from shared.side_by_side import side_by_side
from shared.state.registry import Registry, read_manifests_once
from shared.state.versions import Manifest
from shared.web.last_known import LastKnown

logger = logging.getLogger(__name__)


class _Held(NamedTuple):
    """What is served instead of the version that the pointer names."""

    wanted: int  # the version that the pointer names
    manifest: Manifest | None  # what is served instead; None: the base weights


class ServedVersions:
    """Which version each control of each project serves now. Thread-safe."""

    def __init__(self, store: ObjectStore, max_age: float) -> None:
        self._store = store
        self._known: LastKnown[Manifest | None] = LastKnown(max_age)
        self._read_manifest = read_manifests_once(store)
        self._held: dict[tuple[str, str], _Held] = {}

    def serving_all(self, uid: str, controls: Sequence[Control]) -> list[Manifest | None]:
        """`serving` of each control, called in parallel."""
        return side_by_side(partial(self.serving, uid), controls)

    def serving(self, uid: str, control: Control) -> Manifest | None:
        """The version that is served: the newest, or what predict serves instead of it. Otherwise as `newest`."""
        newest, held = self.newest(uid, control), self._held.get((uid, control.name))
        return newest if held is None or newest is None or held.wanted != newest.version else held.manifest

    def newest(self, uid: str, control: Control) -> Manifest | None:
        """The version to serve; None: base weights. Raises StoreError if it was never read and cannot be read now.

        A version for another YOLO task (the config was changed) does not count: until there is one for the control's
        task, the control has base weights again, in predict as in training.
        """
        manifest = self._known.get((uid, control.name), lambda: self._read(uid, control.name))
        if manifest is not None and manifest.yolo_task != control.yolo_task:
            _warn_other_task(uid, control.name, manifest.version, manifest.yolo_task, control.yolo_task)
            return None
        return manifest

    def look_ahead(self, uid: str, control: Control, came: Callable[[Manifest | None], None]) -> None:
        """Before `newest` reads a pointer again: `came` gets the version that it names since, to load it meanwhile."""
        self._known.look_ahead((uid, control.name), lambda: self._read(uid, control.name), came)

    def hold(self, uid: str, control: str, wanted: Manifest, instead: Manifest | None) -> bool:
        """Serve `instead` (None: the base weights) until `wanted` can be served. False if that is so already."""
        held = _Held(wanted.version, instead)
        if self._held.get((uid, control)) == held:
            return False
        self._held[uid, control] = held
        return True

    def release(self, uid: str, control: str) -> None:
        """Serve the newest version again."""
        self._held.pop((uid, control), None)

    def held_header(self, uid: str) -> str:
        """What is served of a project instead of its newest versions: a header's value, read by `apply_held_header`."""
        held = {control: each for (project, control), each in list(self._held.items()) if project == uid}
        versions = {name: [each.wanted, each.manifest and each.manifest.version] for name, each in held.items()}
        return json.dumps({"project": uid, "held": versions})

    def apply_held_header(self, value: str) -> None:
        """Take over what the other function serves of a project. A malformed value is logged and ignored."""
        try:
            parsed = json.loads(value)
            uid = str(parsed["project"])
            held = {
                str(name): (int(wanted), instead and int(instead)) for name, (wanted, instead) in parsed["held"].items()
            }
            manifests = {name: self._manifest(uid, name, instead) for name, (_, instead) in held.items()}
        except (StoreError, KeyError, TypeError, ValueError, AttributeError) as error:
            logger.warning(
                "what predict serves is not known: /setup answers what the pointers name",
                extra={"event": "served_unknown", "error": str(error)},
            )
            return
        for project, control in list(self._held):
            if project == uid and control not in held:
                self.release(uid, control)
        for name, (wanted, _) in held.items():
            self._held[uid, name] = _Held(wanted, manifests[name])

    def _manifest(self, uid: str, control: str, version: int | None) -> Manifest | None:
        return None if version is None else Registry(self._store, uid, self._read_manifest).manifest(control, version)

    def expire(self, uid: str, control: str) -> None:
        """Read the pointer again when it is next asked for."""
        self._known.expire((uid, control))

    def _read(self, uid: str, control: str) -> Manifest | None:
        pointer, manifest = Registry(self._store, uid, self._read_manifest).look(control)
        if pointer is None and self._known.last((uid, control)) is not None:
            raise StoreError(f"the pointer of {control!r} is gone: the project was forgotten, or the store is damaged")
        return manifest


@lru_cache(maxsize=256)
def _warn_other_task(uid: str, control: str, version: int, found: str, needed: str) -> None:
    """Log once a version."""
    logger.warning(
        f"v{version} of {control!r} is for {found}, the labeling config asks for {needed} now: base weights are served "
        f"until a training makes a version for {needed}",
        extra={"event": "version_of_other_task", "project": uid, "control": control, "version": version},
    )
