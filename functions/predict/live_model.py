"""Which models are in memory, and which one a control is served with: hot swap, single-flight loading, LRU.

A version that cannot be verified or loaded is rejected in the registry, and the newest good one behind it is served.
While the store is gone, the version that was served last goes on.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from functions.predict.metrics import Metrics
from functions.predict.ports import DeadlineExceeded, Loader, Model, NotNow, Served
from functions.predict.weights import WeightsCache
from shared.backend import Pointers, base_version
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
        """`keep` models stay in memory; one more may be loaded while they are in use."""
        self._pointers = pointers
        self._registry = registry
        self._weights = weights
        self._loader = loader
        self._metrics = metrics
        self._base_weights = base_weights
        self._keep = keep
        self._lock = threading.Lock()
        self._models: OrderedDict[Hashable, _Loading] = OrderedDict()
        self._served: dict[tuple[str, str], Manifest | None] = {}

    def serving(self, uid: str, control: str, deadline: float) -> Served:
        """The model that a control is served with now; loads it if need be. `deadline` is a time.monotonic() value.

        Raises DeadlineExceeded, ModelError (no version and no base weights can be loaded), or NotNow or StoreError if
        nothing was ever served.
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
        timer = threading.Timer(_AFTER_THE_ANSWER, self._prepare, (uid, [control.name for control in controls]))
        timer.name, timer.daemon = "prepare", True
        timer.start()

    def _prepare(self, uid: str, controls: list[str]) -> None:
        for control in controls:
            try:
                self.serving(uid, control, time.monotonic() + _PREPARE_SECONDS)
            except LabelloopError as error:
                logger.error(
                    f"no model can be prepared: {error}",
                    extra={"event": "not_prepared", "project": uid, "control": control},
                )

    def _serve(self, uid: str, control: str, manifest: Manifest | None, deadline: float) -> Served:
        if manifest is None:
            version = base_version(self._base_weights)
            model = self._model("base", lambda: self._loader.load_base(self._base_weights), deadline)
        else:
            version = f"v{manifest.version}"
            model = self._model(
                manifest.file(WEIGHTS).sha256,
                lambda: self._loader.load(self._weights.path(self._registry(uid), control, manifest)),
                deadline,
            )
        self._note(uid, control, manifest, version)
        return Served(model=model, version=version, trained=manifest is not None)

    def _go_on(self, uid: str, control: str, wanted: Manifest, error: LabelloopError, deadline: float) -> Served:
        """Serve what was served last, and let /setup say so too."""
        with self._lock:
            if (uid, control) not in self._served or self._served[uid, control] == wanted:
                raise error
            last = self._served[uid, control]
        logger.error(
            "a new version cannot be had now: going on with the last one",
            extra={"event": "version_postponed", "control": control, "version": wanted.version, "error": str(error)},
        )
        self._pointers.hold(uid, control, last)
        return self._serve(uid, control, last, deadline)

    def _reject(self, uid: str, control: str, manifest: Manifest, error: ModelError) -> None:
        logger.error(
            "a version cannot be served and is rejected",
            extra={"event": "version_rejected", "control": control, "version": manifest.version, "error": str(error)},
        )
        self._metrics.version_rejected()
        self._registry(uid).reject(control, manifest.version, str(error))
        self._pointers.expire(uid, control)

    def _note(self, uid: str, control: str, manifest: Manifest | None, version: str) -> None:
        with self._lock:
            first = (uid, control) not in self._served
            last = self._served.get((uid, control))
            if not first and last == manifest:
                return
            self._served[uid, control] = manifest
            before = None if first else f"v{last.version}" if last else base_version(self._base_weights)
            self._metrics.swapped(uid, control, before, version)
        logger.info(
            "a control is served with another version",
            extra={"event": "model_swapped", "project": uid, "control": control, "before": before, "after": version},
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
