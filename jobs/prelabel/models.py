"""The models of one prelabelling: those that the pointers name when it begins."""

import logging
from collections.abc import Sequence
from functools import partial

from shared.errors import ModelError, StoreError
from shared.labelstudio.controls import Control
from shared.objectstore import ObjectStore
from shared.prediction.ports import Loader, Model, NothingToServe, NotMadeYet, Served
from shared.prediction.serving import reject, serve_base, serve_version
from shared.prediction.weights import WeightsCache
from shared.state.model_version import stamp
from shared.state.registry import Registry
from shared.state.servable import servable, served_version, serving
from shared.state.versions import Manifest
from shared.yolo.base_weights import base_weights_for

logger = logging.getLogger(__name__)


class ChosenModels:
    """The source of models (`shared.prediction.ports.Models`) of one project, with the same ones for every request."""

    def __init__(
        self, store: ObjectStore, uid: str, weights: WeightsCache, loader: Loader, *, base_weights: str
    ) -> None:
        """`base_weights`: LABELLOOP_BASE_WEIGHTS."""
        self._store, self._uid = store, uid
        self._registry = Registry(store, uid)
        self._weights = weights
        self._loader = loader
        self._base_weights = base_weights
        self._chosen: dict[str, Served | NothingToServe] = {}

    def choose(self, controls: Sequence[Control]) -> str:
        """Load what each control is served with now; answers the model_version of its predictions.

        A control that lacks base weights, which nobody has made yet, is left out of both, unless all do. A version
        whose file is bad is rejected, for all programs, and the newest good one before it taken. Raises ModelError,
        NotNow, StoreError.
        """
        ready = self._ready(controls)
        self._chosen = {control.name: self._load(control) for control in ready or controls}
        for control in controls:
            if control.name not in self._chosen:
                logger.warning(
                    f"{control.name!r} gets no predictions before its base weights are made",
                    extra={"event": "control_left_out", "project": self._uid, "control": control.name},
                )
                self._chosen[control.name] = NothingToServe("its base weights are not made yet", "")
        return stamp((name, chosen.version) for name, chosen in self._chosen.items() if chosen.version)

    def version(self, controls: Sequence[Control]) -> str:
        """The model_version by the pointers as they are now. Raises StoreError."""
        return served_version(self._registry, self._ready(controls) or controls, self._base_weights)

    def serving(self, uid: str, control: Control, deadline: float) -> Served:  # noqa: ARG002  (as `Models`)
        """What was chosen. Raises NothingToServe."""
        chosen = self._chosen[control.name]
        if isinstance(chosen, NothingToServe):
            raise chosen.with_traceback(None)
        return chosen

    def _ready(self, controls: Sequence[Control]) -> list[Control]:
        return servable(self._store, self._uid, controls, self._base_weights)

    def _trained(self, control: Control, manifest: Manifest) -> Model:
        return self._loader.load(self._weights.path(self._registry, control.name, manifest))

    def _load(self, control: Control) -> Served | NothingToServe:
        while manifest := serving(self._registry, control):
            try:
                return serve_version(control, manifest, partial(self._trained, control, manifest))
            except ModelError as error:
                reject(self._registry, manifest, error)
        weights = base_weights_for(control, self._base_weights)
        try:
            return serve_base(control, weights, lambda: self._loader.load_base(weights))
        except NothingToServe as error:
            if isinstance(error.__cause__, NotMadeYet | StoreError):  # tasks would never get this control's regions
                raise error.__cause__ from error
            return error
