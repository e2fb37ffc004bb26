"""The routes that both functions answer themselves: health, setup, versions. They read pointers, never a model.

Label Studio asks for predictions only of tasks without one of the `model_version` that `/setup` answered. So the
version of `/setup` and the one that `/predict` stamps come from the same cache (`ServedVersions`) and code (`stamp`).
"""

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from flask import Request, Response

from shared.errors import StoreError
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.config_review import not_understood
from shared.labelstudio.controls import Control
from shared.labelstudio.requests import SetupRequest, ValidateRequest, project_id
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.side_by_side import both, side_by_side
from shared.state.base_weights import find_base_weights
from shared.state.model_version import base_version, stamp
from shared.state.projects import Project, parse_overrides, projects, read_project, with_overrides, write_project
from shared.state.registry import Registry
from shared.state.versions import Manifest
from shared.web.answers import answer
from shared.web.http import Route
from shared.web.last_known import LastKnown
from shared.web.served_versions import ServedVersions
from shared.yolo.base_weights import base_weights_for, model_path_problem

logger = logging.getLogger(__name__)

_MAX_WARNINGS = 20  # log lines about one labeling config
_BASE_PATIENCE = 0.5  # seconds for a look whether base weights are there, after the pointers: a setup has 3 s
DUMMY_VERSION = "label:dummy"


class Backend:
    """The handlers of the routes that both functions answer."""

    def __init__(
        self,
        settings: Settings,
        store: ObjectStore,
        *,
        on_setup: Callable[[str, Sequence[Control]], None] | None = None,
    ) -> None:
        """`on_setup(uid, controls)` is called after each setup; it must return at once and not raise."""
        self._settings = settings
        self._store = store
        self._on_setup = on_setup
        self._projects: LastKnown[Project | None] = LastKnown(settings.pointer_max_age)
        self._base_weights: LastKnown[bool] = LastKnown(
            settings.pointer_max_age, patience=_BASE_PATIENCE, first_patience=_BASE_PATIENCE
        )
        self.pointers = ServedVersions(store, settings.pointer_max_age)

    def routes(self) -> list[Route]:
        """The routes that both functions have."""
        return [
            Route("GET", "/", "open", self.health),
            Route("GET", "/health", "open", self.health),
            Route("POST", "/setup", "basic", self.setup),
            Route("GET", "/versions", "basic", self.versions),
            Route("POST", "/validate", "basic", self.validate),
            Route("POST", "/duplicate_model", "basic", self.nothing_to_do),
            Route("POST", "/delete", "basic", self.nothing_to_do),
        ]

    def health(self, _request: Request) -> Response:
        """`GET /health`. Uses neither the store nor a model: Label Studio waits one second."""
        return answer({"status": "UP", "model_class": "labelloop"})

    def setup(self, request: Request) -> Response:
        """`POST /setup`: store the labeling config and overrides; answer the version that `/predict` stamps now."""
        call = SetupRequest.parse(request.get_data())
        project_id(call.project)  # checks the uid: sweeps read every project that is stored here
        controls = parse_label_config(call.schema_)
        _warn_not_understood(call.project, call.schema_, self._settings.base_weights)
        overrides = parse_overrides(call.extra_params)
        keep = partial(self._keep, call.project, call.schema_, overrides)
        _, version = both(keep, partial(self.model_version, call.project, controls))
        response = answer({"model_version": version})
        if self._on_setup is not None:
            self._on_setup(call.project, controls)
        return response

    def versions(self, request: Request) -> Response:
        """`GET /versions`: versions that can be served, newest first, of `?project=<uid>` or of the only project.

        Label Studio 1.23.2 does not send the project.
        """
        uid = request.args.get("project") or self._only_project()
        if uid is None:
            return answer({"versions": []})
        project_id(uid)
        registry = Registry(self._store, uid)
        controls = registry.controls()
        asked = [(ask, control) for control in controls for ask in (registry.numbers, registry.rejected)]
        found = side_by_side(lambda one: one[0](one[1]), asked)
        return answer(
            {
                "versions": [
                    stamp([(control, f"v{number}")])
                    for control, numbers, rejected in zip(controls, found[::2], found[1::2], strict=True)
                    for number in sorted(set(numbers) - set(rejected), reverse=True)
                ]
            }
        )

    def validate(self, request: Request) -> Response:
        """`POST /validate`: the names of the controls in a labeling config. Raises LabelConfigError."""
        controls = parse_label_config(ValidateRequest.parse(request.get_data()).config)
        return answer({"status": "ok", "controls": [control.name for control in controls]})

    def nothing_to_do(self, _request: Request) -> Response:
        """`POST /duplicate_model`, `/delete`: a project was copied or deleted. Models belong to the uid and stay."""
        return answer({})

    def model_version(self, uid: str, controls: Sequence[Control]) -> str:
        """The stamp of what is served now. Raises StoreError if it was never read and cannot be read now.

        A control whose base weights nobody has made yet is not named, unless that is so of all (`prepare` of predict).
        """
        if self._settings.dummy:
            return DUMMY_VERSION
        served = list(zip(controls, self.pointers.serving_all(uid, controls), strict=True))
        if len(served) > 1:
            made = side_by_side(lambda one: one[1] is not None or self._are_made(one[0]), served)
            served = [one for one, ready in zip(served, made, strict=True) if ready] or served
        return stamp((control.name, self._version(control, manifest)) for control, manifest in served)

    def settings_for(self, uid: str, controls: Sequence[Control]) -> Settings:
        """The settings with the project's overrides. In parallel it refreshes the cached pointers of the controls.

        Raises StoreError if something was never read and cannot be read now.
        """
        project, _ = both(partial(self._project, uid), partial(self.pointers.serving_all, uid, controls))
        return with_overrides(self._settings, project)

    def _version(self, control: Control, manifest: Manifest | None) -> str:
        if manifest is not None:
            return f"v{manifest.version}"
        return base_version(base_weights_for(control, self._settings.base_weights))

    def _are_made(self, control: Control) -> bool:
        """Whether the store holds the control's base weights, or does not say."""
        weights = base_weights_for(control, self._settings.base_weights)
        if self._base_weights.last(weights):  # they never change
            return True
        try:
            return self._base_weights.get(weights, lambda: find_base_weights(self._store, weights) is not None)
        except StoreError:
            return True

    def _project(self, uid: str) -> Project | None:
        return self._projects.get(uid, lambda: read_project(self._store, uid))

    def _keep(self, uid: str, label_config: str, overrides: dict[str, Any] | None) -> None:
        """Store config and overrides if they changed. If that fails, it is logged: predictions do not need it."""
        try:
            known = self._project(uid)
            if known and known.label_config == label_config and overrides in (None, known.overrides):
                return
            self._projects.put(uid, write_project(self._store, uid, label_config=label_config, overrides=overrides))
        except StoreError as error:
            logger.error(
                "the project's config could not be stored: predictions go on without it",
                extra={"event": "project_not_stored", "project": uid, "error": str(error)},
            )

    def _only_project(self) -> str | None:
        known = projects(self._store)
        first, second = next(known, None), next(known, None)
        return first if second is None else None


@lru_cache(maxsize=256)
def _warn_not_understood(uid: str, label_config: str, base_weights: str) -> None:
    """Log once a config: Label Studio sends a setup before every prediction."""
    problems = [model_path_problem(control, base_weights) for control in parse_label_config(label_config)]
    for problem in (*not_understood(label_config), *filter(None, problems))[:_MAX_WARNINGS]:
        logger.warning(problem, extra={"event": "config_not_understood", "project": uid})
