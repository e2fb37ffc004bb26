"""What a project's controls are served with, and what they cannot be served without and nobody has made yet.

That may be base weights, or the graph of a version.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from shared.labelstudio.controls import Control
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.side_by_side import side_by_side
from shared.state.base_weights import find_base_weights
from shared.state.model_version import base_version, stamp
from shared.state.registry import Registry
from shared.state.versions import Manifest
from shared.yolo.base_weights import base_weights_for

_OF_ANSWERS = ("base_weights", "confidence", "iou", "max_objects", "order")
"""Settings that decide what a version predicts, and the score by which its tasks are handed out."""


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that is missing."""

    control: str  # that lacks it, perhaps with others
    weights: str  # base weights that are not in the store, by file or name; "": it has a version
    version: Manifest | None = None  # which an older labelloop published without a graph

    def __str__(self) -> str:
        """For a sentence that says what is missing."""
        if self.version:
            return f"the graph of v{self.version.version} of {self.control!r}"
        return f"the base weights {Path(self.weights).name}"


def serving(registry: Registry, control: Control) -> Manifest | None:
    """The version to serve; None: base weights.

    A version for another YOLO task (the config was changed) does not count, until a training makes one for the
    control's task.
    """
    manifest = registry.serving(control.name)
    return manifest if manifest is not None and manifest.yolo_task == control.yolo_task else None


def served_version(registry: Registry, controls: Sequence[Control], base_weights: str) -> str:
    """The model_version of what the pointers name now. `base_weights`: LABELLOOP_BASE_WEIGHTS."""

    def version_of(control: Control) -> str:
        manifest = serving(registry, control)
        return f"v{manifest.version}" if manifest else base_version(base_weights_for(control, base_weights))

    return stamp(zip((control.name for control in controls), side_by_side(version_of, controls), strict=True))


def conditions(controls: Sequence[Control], settings: Settings) -> str:
    """A digest of what else decides what a version predicts: all of it may change without the version's name."""
    of_settings = [getattr(settings, name) for name in _OF_ANSWERS]
    return sha256(
        json.dumps([[asdict(control) for control in controls], of_settings], sort_keys=True).encode()
    ).hexdigest()


def lacks_of(store: ObjectStore, uid: str, controls: Sequence[Control], base_weights: str) -> list[Lack]:
    """What is missing before each of a project's controls can be served. `base_weights`: LABELLOOP_BASE_WEIGHTS."""
    found = _lacks(store, uid, controls, base_weights)
    return list({str(lack): lack for lack in found if lack is not None}.values())  # several may begin with the same


def servable(store: ObjectStore, uid: str, controls: Sequence[Control], base_weights: str) -> list[Control]:
    """The controls that lack nothing. `base_weights`: LABELLOOP_BASE_WEIGHTS."""
    found = _lacks(store, uid, controls, base_weights)
    return [control for control, lack in zip(controls, found, strict=True) if lack is None]


def _lacks(store: ObjectStore, uid: str, controls: Sequence[Control], base_weights: str) -> list[Lack | None]:
    registry = Registry(store, uid)

    def lack_of(control: Control) -> Lack | None:
        manifest = serving(registry, control)
        if manifest is not None:
            return None if manifest.graph else Lack(control.name, "", manifest)
        weights = base_weights_for(control, base_weights)
        return None if find_base_weights(store, weights) else Lack(control.name, weights)

    return side_by_side(lack_of, controls)
