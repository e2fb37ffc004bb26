"""What a project's controls cannot be served without, and nobody has made yet: base weights, and graphs of versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.labelstudio.controls import Control
from shared.objectstore import ObjectStore
from shared.side_by_side import side_by_side
from shared.state.base_weights import find_base_weights
from shared.state.registry import Registry
from shared.state.versions import Manifest
from shared.yolo.base_weights import base_weights_for


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


def lacks_of(store: ObjectStore, uid: str, controls: Sequence[Control], base_weights: str) -> list[Lack]:
    """What is missing before each of a project's controls can be served. `base_weights`: LABELLOOP_BASE_WEIGHTS."""
    registry = Registry(store, uid)

    def lack_of(control: Control) -> Lack | None:
        manifest = registry.serving(control.name)
        if manifest is not None and manifest.yolo_task == control.yolo_task:
            return None if manifest.graph else Lack(control.name, "", manifest)
        weights = base_weights_for(control, base_weights)
        return None if find_base_weights(store, weights) else Lack(control.name, weights)

    found = side_by_side(lack_of, controls)
    return list({str(lack): lack for lack in found if lack is not None}.values())  # several may begin with the same
