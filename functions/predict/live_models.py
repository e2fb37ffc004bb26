"""Which version a control is served with.

A version whose file is bad is rejected in the registry, for all processes, and the newest good one behind it is served.
One that is not here yet, or cannot be for now (store, disk, memory, threads), is asked for again, and until it is here
this process goes on with what it served last, which /setup names too. A control without a version is served with base
weights for its YOLO task; with none, it waits for its first version.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from functions.predict.loaded_models import LoadedModels
from functions.predict.metrics import Metrics
from functions.predict.ports import DeadlineExceeded, Loader, NothingToServe, NotNow, Served
from functions.predict.weights import WeightsCache
from shared.errors import LabelloopError, ModelError, StoreError
from shared.labelstudio.controls import Control
from shared.state.registry import Registry
from shared.state.versions import WEIGHTS, Manifest
from shared.web.backend import ServedVersions, base_version
from shared.yolo.base_weights import base_weights_for

logger = logging.getLogger(__name__)

_AFTER_THE_ANSWER = 0.05
"""Seconds after which a setup is answered, so that importing torch does not delay it."""
_PREPARE_SECONDS = 600.0
_PATIENCE = 20.0
"""Seconds that a new version may take to load before what was served goes on: seldom more than one are needed."""


class _Last(NamedTuple):
    """What a control was served with last."""

    manifest: Manifest | None
    version: str
    yolo_task: str


class LiveModels:
    """The models in memory. Thread-safe."""

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
        """`base_weights`: LABELLOOP_BASE_WEIGHTS. `keep` models stay in memory; more may be while they are in use.

        `clock`: seconds, by which pauses between two tries are measured.
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
        self._served: dict[tuple[str, str], _Last] = {}
        self._preparing: set[str] = set()

    def serving(self, uid: str, control: Control, deadline: float) -> Served:
        """The model that a control is served with now; loads it if need be. `deadline` is a time.monotonic() value.

        Raises NothingToServe (no version, and no base weights for its YOLO task that can be had), DeadlineExceeded,
        or ModelError, NotNow or StoreError if nothing was ever served.
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
                    return self._go_on(uid, control, wanted, refused, deadline)
            except (NotNow, StoreError) as error:
                if wanted is None:
                    raise
                return self._go_on(uid, control, wanted, error, deadline)
            else:
                self._pointers.release(uid, control.name)
                return served

    def prepare(self, uid: str, controls: Sequence[Control]) -> None:
        """Load soon, on a thread of its own, what these controls will be served with. Returns at once.

        One at a time for a project: while a load hangs, Label Studio goes on asking.
        """
        with self._lock:
            if uid in self._preparing:
                return
            self._preparing.add(uid)
        timer = threading.Timer(_AFTER_THE_ANSWER, self._prepare, (uid, controls))
        timer.name, timer.daemon = "prepare", True
        try:
            timer.start()
        except RuntimeError as error:  # the next setup, or prediction, tries again
            with self._lock:
                self._preparing.remove(uid)
            logger.warning(f"no model is prepared: {error}", extra={"event": "not_prepared", "project": uid})

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
                f"no model can be prepared: {error}",
                extra={"event": "not_prepared", "project": uid, "control": control.name},
            )

    def _serve(self, uid: str, control: Control, manifest: Manifest | None, deadline: float) -> Served:
        served = self._base(control, deadline) if manifest is None else self._trained(uid, control, manifest, deadline)
        self._note(uid, control, manifest, served.version)
        return served

    def _base(self, control: Control, deadline: float) -> Served:
        weights = base_weights_for(control, self._base_weights)
        version = base_version(weights)
        try:
            model = self._models.get(("base", weights), lambda: self._loader.load_base(weights), deadline)
        except (DeadlineExceeded, NotNow):
            raise
        except LabelloopError as error:  # a download that failed, too: other controls have more to say than proposals
            raise NothingToServe(str(error), version) from error
        if model.yolo_task != control.yolo_task:
            raise NothingToServe(
                f"{control.tag} {control.name!r} needs weights for {control.yolo_task}, {Path(weights).name!r} are for "
                f"{model.yolo_task}: nothing is predicted for it before its first version, unless weights for "
                f"{control.yolo_task} are added to LABELLOOP_BASE_WEIGHTS",
                version,
            )
        return Served(model=model, version=version, trained=False)

    def _trained(self, uid: str, control: Control, manifest: Manifest, deadline: float) -> Served:
        model = self._models.get(
            manifest.file(WEIGHTS).sha256,
            lambda: self._loader.load(self._weights.path(self._registry(uid), control.name, manifest)),
            deadline,
            patience=self._patience if self._last(uid, control, manifest) else None,
        )
        if model.yolo_task != manifest.yolo_task:
            raise ModelError(
                f"the weights of {control.name!r} v{manifest.version} are for {model.yolo_task}, its manifest says "
                f"{manifest.yolo_task}"
            )
        return Served(model=model, version=f"v{manifest.version}", trained=True, shown=manifest.shown)

    def _last(self, uid: str, control: Control, wanted: Manifest) -> _Last | None:
        """What the control was served with last, if it is something else and still for its YOLO task."""
        with self._lock:
            last = self._served.get((uid, control.name))
        return None if last is None or last.manifest == wanted or last.yolo_task != control.yolo_task else last

    def _go_on(self, uid: str, control: Control, wanted: Manifest, error: LabelloopError, deadline: float) -> Served:
        """Serve what was served last, or in a new process the newest good version behind; /setup says so too."""
        last = self._last(uid, control, wanted)
        instead = last.manifest if last else self._registry(uid).behind(control.name, wanted.version)
        if last is None and (instead is None or instead.yolo_task != control.yolo_task):
            raise error
        if self._pointers.hold(uid, control.name, wanted, instead):
            logger.error(
                "a new version cannot be had now: going on with another one",
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
        logger.error(
            "a version cannot be served and is rejected",
            extra={
                "event": "version_rejected",
                "control": control.name,
                "version": manifest.version,
                "error": str(error),
            },
        )
        self._metrics.version_rejected()
        self._registry(uid).reject(control.name, manifest.version, str(error))
        self._pointers.expire(uid, control.name)

    def _note(self, uid: str, control: Control, manifest: Manifest | None, version: str) -> None:
        now = _Last(manifest, version, control.yolo_task)
        with self._lock:
            last = self._served.get((uid, control.name))
            if last == now:
                return
            self._served[uid, control.name] = now
            before = last.version if last else None
            if before == version:
                return
            self._metrics.swapped(uid, control.name, before, version)
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
