"""Chooses and loads the version that a control is served with.

A version whose file is bad is rejected in the registry, for all processes, and the newest good version before it is
served. A version that cannot be loaded now (store, disk, memory, threads, or still loading) is retried; meanwhile this
process serves what it served last, and /setup answers that too. A control without a version is served with base weights
for its YOLO task; without such weights it is not predicted before its first version.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from functions.predict.loaded_models import LoadedModels
from shared.errors import LabelloopError, ModelError, StoreError
from shared.labelstudio.controls import Control
from shared.prediction.metrics import Metrics
from shared.prediction.ports import Loader, Model, NotNow, Served
from shared.prediction.serving import reject, serve_base, serve_version
from shared.prediction.weights import WeightsCache, graph_of
from shared.state.registry import Registry
from shared.state.versions import Manifest
from shared.web.served_versions import ServedVersions
from shared.yolo.base_weights import base_weights_for

logger = logging.getLogger(__name__)

_AFTER_THE_ANSWER = 0.05
"""Seconds after which a setup is answered, so that loading a model does not delay it."""
_PREPARE_SECONDS = 600.0
_PATIENCE = 20.0
"""Seconds to wait for a new version to load, before the previous one is served instead. Loading mostly takes one."""


class _LastServed(NamedTuple):
    """What a control was served with last."""

    manifest: Manifest | None  # None: base weights
    version: str
    yolo_task: str


class LiveModels:
    """The models of all controls. Thread-safe."""

    def __init__(
        self,
        pointers: ServedVersions,
        registry: Callable[[str], Registry],
        weights: WeightsCache,
        loader: Loader,
        metrics: Metrics,
        *,
        base_weights: str,
        keep: int,
        clock: Callable[[], float] = time.monotonic,
        patience: float = _PATIENCE,
    ) -> None:
        """`base_weights`: LABELLOOP_BASE_WEIGHTS. `keep`: models that stay in memory; requests may hold further ones.

        `clock`: seconds, for the pauses between retries of a failed load. `patience`: seconds to wait for a new version
        before the previous one is served instead.
        """
        self._pointers = pointers
        self._registry = registry
        self._weights = weights
        self._loader = loader
        self._metrics = metrics
        self._base_weights = base_weights
        self._patience = patience
        self._models = LoadedModels(keep, metrics, clock)
        self._lock = threading.Lock()
        self._served: dict[tuple[str, str], _LastServed] = {}
        self._preparing: set[str] = set()

    def serving(self, uid: str, control: Control, deadline: float) -> Served:
        """The model that a control is served with now, loaded if needed. `deadline` is a time.monotonic() value.

        Raises NothingToServe (no version, and no usable base weights for its YOLO task), DeadlineExceeded, and
        ModelError, NotNow or StoreError if there is no other version to serve instead.
        """
        rejected: set[int] = set()
        while True:
            wanted = self._pointers.newest(uid, control)
            try:
                served = self._serve(uid, control, wanted, deadline)
            except ModelError as error:
                if wanted is None or wanted.version in rejected:
                    raise
                rejected.add(wanted.version)
                try:
                    self._reject(uid, control, wanted, error)
                except StoreError as refused:
                    return self._serve_instead(uid, control, wanted, refused, deadline)
            except (NotNow, StoreError) as error:
                if wanted is None:
                    raise
                return self._serve_instead(uid, control, wanted, error, deadline)
            else:
                self._pointers.release(uid, control.name)
                self._pointers.look_ahead(uid, control, partial(self._begin, uid, control))
                return served

    def prepare(self, uid: str, controls: Sequence[Control]) -> None:
        """Load the models of these controls soon, on another thread. Returns at once.

        At most one such thread runs for a project: Label Studio sends setups also while a load hangs.
        """
        with self._lock:
            if uid in self._preparing:
                return
            self._preparing.add(uid)
        timer = threading.Timer(_AFTER_THE_ANSWER, self._prepare, (uid, controls))
        timer.name, timer.daemon = "prepare", True
        try:
            timer.start()
        except RuntimeError as error:  # no free thread; the next setup or prediction tries again
            with self._lock:
                self._preparing.remove(uid)
            logger.warning(f"models are not loaded ahead: {error}", extra={"event": "not_prepared", "project": uid})

    def _prepare(self, uid: str, controls: Sequence[Control]) -> None:
        try:
            for control in controls:
                self._prepare_one(uid, control)
        finally:
            with self._lock:
                self._preparing.remove(uid)

    def _prepare_one(self, uid: str, control: Control) -> None:
        try:
            self.serving(uid, control, time.monotonic() + _PREPARE_SECONDS)
        except LabelloopError as error:
            logger.error(
                f"a model could not be loaded ahead: {error}",
                extra={"event": "not_prepared", "project": uid, "control": control.name},
            )

    def _serve(self, uid: str, control: Control, manifest: Manifest | None, deadline: float) -> Served:
        served = self._base(control, deadline) if manifest is None else self._trained(uid, control, manifest, deadline)
        self._record(uid, control, manifest, served.version)
        return served

    def _base(self, control: Control, deadline: float) -> Served:
        weights = base_weights_for(control, self._base_weights)
        return serve_base(
            control,
            weights,
            lambda: self._models.get(("base", weights), lambda: self._loader.load_base(weights), deadline),
        )

    def _trained(self, uid: str, control: Control, manifest: Manifest, deadline: float) -> Served:
        def load() -> Model:
            return self._models.get(
                graph_of(manifest).sha256,
                lambda: self._loader.load(self._weights.path(self._registry(uid), control.name, manifest)),
                deadline,
                patience=self._patience if self._last(uid, control, manifest) else None,
            )

        return serve_version(control, manifest, load)

    def _begin(self, uid: str, control: Control, coming: Manifest | None) -> None:
        """Load a version that will be served in a moment."""
        if coming is not None and coming.graph is not None and coming.yolo_task == control.yolo_task:
            self._models.begin(
                coming.graph.sha256,
                lambda: self._loader.load(self._weights.path(self._registry(uid), control.name, coming)),
            )

    def _last(self, uid: str, control: Control, wanted: Manifest) -> _LastServed | None:
        """What the control was served with last, if that is not `wanted` and is still for its YOLO task."""
        with self._lock:
            last = self._served.get((uid, control.name))
        return None if last is None or last.manifest == wanted or last.yolo_task != control.yolo_task else last

    def _serve_instead(
        self, uid: str, control: Control, wanted: Manifest, error: LabelloopError, deadline: float
    ) -> Served:
        """Serve what was served last, or in a new process the newest good version before `wanted`.

        /setup answers that version too. Raises `error` if there is none.
        """
        last = self._last(uid, control, wanted)
        instead = last.manifest if last else self._registry(uid).newest_before(control.name, wanted.version)
        if last is None and (instead is None or instead.yolo_task != control.yolo_task):
            raise error
        if self._pointers.hold(uid, control.name, wanted, instead):
            logger.error(
                "a new version cannot be loaded now: another one is served",
                extra={
                    "event": "version_postponed",
                    "project": uid,
                    "control": control.name,
                    "version": wanted.version,
                    "instead": instead.version if instead else None,
                    "error": str(error),
                },
            )
        return self._serve(uid, control, instead, deadline)

    def _reject(self, uid: str, control: Control, manifest: Manifest, error: ModelError) -> None:
        self._metrics.version_rejected()
        reject(self._registry(uid), manifest, error)
        self._pointers.expire(uid, control.name)

    def _record(self, uid: str, control: Control, manifest: Manifest | None, version: str) -> None:
        now = _LastServed(manifest, version, control.yolo_task)
        with self._lock:
            last = self._served.get((uid, control.name))
            if last == now:
                return
            self._served[uid, control.name] = now
            before = last.version if last else None
            if before == version:
                return
            self._metrics.swapped(uid, control.name, before, version)
            graphs = {_graph(each) for each in self._served.values()}
        if last is not None and _graph(last) not in graphs:  # a rollback will find it compiled in the cache
            self._models.forget(_graph(last))
        logger.info(
            "a control is served with another version",
            extra={
                "event": "model_swapped",
                "project": uid,
                "control": control.name,
                "before": before,
                "after": version,
            },
        )


def _graph(last: _LastServed) -> str | None:
    """Key of a version's model among those loaded; None of base weights, which projects share."""
    return None if last.manifest is None else graph_of(last.manifest).sha256
