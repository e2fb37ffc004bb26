"""What must be made before a project's controls can be served: base weights, and graphs of older versions."""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

from shared.errors import LabelConfigError
from shared.labelstudio.config import parse_label_config
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.projects import Project
from shared.state.servable import Lack, lacks_of

_LOOKS = 2
_LOOK_AGAIN = timedelta(minutes=10)
_MAKING = timedelta(minutes=10)
"""How long the other projects that lack the same base weights wait for the run of one."""


class Lacking:
    """Remembers which projects lack nothing, and for which base weights a run began. Safe to call from many threads."""

    def __init__(self, store: ObjectStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._lock, self._begun = threading.Lock(), dict[str, datetime]()  # base weights → when a run began
        self._complete: dict[str, tuple[int, int, int, datetime]] = {}  # uid → see `of`

    def of(self, uid: str, project: Project | None, fence: int, now: datetime) -> list[Lack]:
        """What must be made before a connected project's controls can be served. Raises StoreError.

        A project that lacks nothing is looked at again after ten minutes, since a version that predict rejects tells
        nobody; and at once if its labeling config changes, or if a run or a rollback takes a fence. That is a moment
        before the pointer moves, so two looks count.
        """
        if project is None or self._settings.dummy:
            return []
        config = hash(project.label_config)
        *seen, looks, looked = self._complete.get(uid, (config, fence, 0, now))
        if seen != [config, fence]:
            looks = 0
        if looks >= _LOOKS and now - looked < _LOOK_AGAIN:
            return []
        try:
            controls = parse_label_config(project.label_config)
        except LabelConfigError:  # /setup refused it, or will
            return []
        lacks = lacks_of(self._store, uid, controls, self._settings.base_weights)
        if not lacks:
            self._complete[uid] = config, fence, looks + 1, now
        return lacks

    def others_make(self, lacks: Sequence[Lack], now: datetime) -> bool:
        """Whether a run of another project was begun a moment ago for all that is lacking: base weights are for all."""
        with self._lock:
            late = now - _MAKING
            others = all(lack.weights and self._begun.get(lack.weights, late) > late for lack in lacks)
            if not others:
                self._begun |= {lack.weights: now for lack in lacks}
            return others
