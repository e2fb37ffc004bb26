"""Which models are in memory, and which one a control is served with: hot swap, single-flight loading, LRU.

A version that cannot be verified or loaded is rejected in the registry, and the newest good one behind it is served.
While the store is gone, the version that was served last goes on. A control without a version is served with base
weights for its YOLO task; with none, it waits for its first version.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from functions.predict.metrics import Metrics
from functions.predict.ports import DeadlineExceeded, Loader, Model, NothingToServe, NotNow, Served
from functions.predict.weights import WeightsCache
from shared.backend import Pointers, base_version
from shared.base_weights import base_weights_for
from shared.errors import LabelloopError, ModelError, StoreError
from shared.labelstudio.config import Control
from shared.registry import WEIGHTS, Manifest, Registry

logger = logging.getLogger(__name__)

_AFTER_THE_ANSWER = 0.05
"""Seconds after which a setup is answered, so that importing torch does not delay it."""
_PREPARE_SECONDS = 600.0
_RETRY_AFTER = 10.0
"""Seconds for which a failure to load is answered again without another try."""


class _Loading(NamedTuple):
    model: "Future[Model]"
    started: float  # seconds, monotonic


class _Last(NamedTuple):
    """What a control was served with last."""

    manifest: Manifest | None
    version: str
    yolo_task: str


class LiveModels:
    """The models in memory. Thread-safe."""

    def __init__(
        self,
        pointers: Pointers,
        registry: Callable[[str], Registry],
        weights: WeightsCache,
        loader: Loader,
        metrics: Metrics,
        *,
        base_weights: str,
        keep: int,
    ) -> None:
        """`base_weights`: LABELLOOP_BASE_WEIGHTS. `keep` models stay in memory; more may be while they are in use."""
        self._pointers = pointers
        self._registry = registry
        self._weights = weights
        self._loader = loader
        self._metrics = metrics
        self._base_weights = base_weights
        self._keep = keep
        self._lock = threading.Lock()
        self._models: OrderedDict[Hashable, _Loading] = OrderedDict()
        self._served: dict[tuple[str, str], _Last] = {}

    def serving(self, uid: str, control: Control, deadline: float) -> Served:
        """The model that a control is served with now; loads it if need be. `deadline` is a time.monotonic() value.

        Raises NothingToServe (no version, and no base weights for its YOLO task that can be had), DeadlineExceeded,
        or ModelError, NotNow or StoreError if nothing was ever served.
        """
        rejected: set[int] = set()
        while True:
            manifest = self._pointers.serving(uid, control)
            if manifest is None:
                return self._serve(uid, control, None, deadline)
            try:
                return self._serve(uid, control, manifest, deadline)
            except ModelError as error:
                if manifest.version in rejected:
                    raise
                rejected.add(manifest.version)
                try:
                    self._reject(uid, control, manifest, error)
                except StoreError as refused:
                    return self._go_on(uid, control, manifest, refused, deadline)
            except (NotNow, StoreError) as error:
                return self._go_on(uid, control, manifest, error, deadline)

    def prepare(self, uid: str, controls: Sequence[Control]) -> None:
        """Load soon, on a thread of its own, what these controls will be served with. Returns at once."""
        timer = threading.Timer(_AFTER_THE_ANSWER, self._prepare, (uid, controls))
        timer.name, timer.daemon = "prepare", True
        timer.start()

    def _prepare(self, uid: str, controls: Sequence[Control]) -> None:
        for control in controls:
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
            model = self._model(("base", weights), lambda: self._loader.load_base(weights), deadline)
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
        model = self._model(
            manifest.file(WEIGHTS).sha256,
            lambda: self._loader.load(self._weights.path(self._registry(uid), control.name, manifest)),
            deadline,
        )
        if model.yolo_task != manifest.yolo_task:
            raise ModelError(
                f"the weights of {control.name!r} v{manifest.version} are for {model.yolo_task}, its manifest says "
                f"{manifest.yolo_task}"
            )
        return Served(model=model, version=f"v{manifest.version}", trained=True, shown=manifest.shown)

    def _go_on(self, uid: str, control: Control, wanted: Manifest, error: LabelloopError, deadline: float) -> Served:
        """Serve what was served last, and let /setup say so too."""
        with self._lock:
            last = self._served.get((uid, control.name))
        if last is None or last.manifest == wanted or last.yolo_task != control.yolo_task:
            raise error
        logger.error(
            "a new version cannot be had now: going on with the last one",
            extra={
                "event": "version_postponed",
                "control": control.name,
                "version": wanted.version,
                "error": str(error),
            },
        )
        self._pointers.hold(uid, control.name, last.manifest)
        return self._serve(uid, control, last.manifest, deadline)

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

    def _model(self, key: Hashable, build: Callable[[], Model], deadline: float) -> Model:
        with self._lock:
            loading = self._models.get(key)
            if loading is None or (_failed(loading) and time.monotonic() - loading.started > _RETRY_AFTER):
                loading = self._models[key] = _Loading(Future(), time.monotonic())
                threading.Thread(target=_fulfil, args=(loading.model, build), name="load", daemon=True).start()
            self._models.move_to_end(key)
            while len(self._models) > self._keep:
                self._models.popitem(last=False)  # requests under way keep their own reference
        try:
            return loading.model.result(timeout=max(deadline - time.monotonic(), 0.0))
        except TimeoutError as error:
            raise DeadlineExceeded("the model was not loaded in time") from error


def _failed(loading: _Loading) -> bool:
    return loading.model.done() and loading.model.exception() is not None


def _fulfil(future: "Future[Model]", build: Callable[[], Model]) -> None:
    try:
        future.set_result(build())
    except LabelloopError as error:
        future.set_exception(error)
    except Exception as error:
        logger.exception("a model could not be loaded", extra={"event": "load_crashed"})
        future.set_exception(LabelloopError(f"the model could not be loaded: {type(error).__name__}"))
