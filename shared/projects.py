"""What is kept about a project besides its models, in `projects/<uid>/project.json`: config, title, overrides."""

import json
import logging
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from pydantic import Field, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from shared.errors import AlreadyExists, NotFound, PreconditionFailed
from shared.objectstore import ObjectStore, Token
from shared.records import Record, load
from shared.settings import Settings, variable

logger = logging.getLogger(__name__)

OVERRIDABLE = (
    "min_annotations",
    "min_changes",
    "cool_down",
    "longest_run",
    "epochs",
    "image_size",
    "batch",
    "freeze",
    "patience",
    "fliplr",
    "flipud",
    "max_objects",
    "confidence",
)
"""Settings that a project may set for itself, by its backend's extra params in Label Studio."""
AT_MOST = ("longest_run", "epochs", "patience", "image_size", "batch", "max_objects")
AT_LEAST = ("cool_down",)
"""Of those, the operator's limits: what costs machines of others. A project may set less of the first, more of the
second. Patience 0 is without end, batch 0 as much as fits: as limits they are none, of a project they are the most."""
_PATIENCE = 2.0  # seconds of losing to other writers; Label Studio waits 3 s for a setup


class Project(Record):
    """`project.json`."""

    label_config: str
    title: str = ""
    overrides: dict[str, Any] = Field(default_factory=dict)


def read_project(store: ObjectStore, uid: str) -> Project | None:
    """None if nobody has set the project up yet."""
    return _read(store, uid)[0]


def write_project(
    store: ObjectStore,
    uid: str,
    *,
    label_config: str,
    title: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Project:
    """Store what changed, by compare-and-swap. None keeps what is stored. Raises StoreError."""
    for attempt in Retrying(
        retry=retry_if_exception_type((AlreadyExists, PreconditionFailed)),
        wait=wait_random_exponential(0.02, max=0.5),
        stop=stop_after_delay(_PATIENCE),
        reraise=True,
    ):
        with attempt:
            known, token = _read(store, uid)
            before = known or Project(label_config=label_config)
            changed = {
                "label_config": label_config,
                "title": before.title if title is None else title,
                "overrides": before.overrides if overrides is None else dict(overrides),
            }
            project = before.model_copy(update=changed)
            if project == known:
                break
            if token is None:
                store.create(_key(uid), project.to_json())
            else:
                store.replace(_key(uid), project.to_json(), token)
    return project


def parse_overrides(extra_params: Any) -> dict[str, Any] | None:
    """The overrides in a backend's extra params: a JSON object, or a string that holds one. None: nothing was given.

    What is unknown or wrong is logged by name and left out: a typing error in Label Studio's page must not disconnect
    the backend.
    """
    if isinstance(extra_params, str) and extra_params.strip():
        try:
            extra_params = json.loads(extra_params)
        except (ValueError, RecursionError):
            extra_params = ()
    if extra_params is None or extra_params == "":
        return None
    if not isinstance(extra_params, dict):
        logger.warning("the extra params are not a JSON object: ignored", extra={"event": "overrides_not_an_object"})
        return None
    overrides = {}
    for key, value in extra_params.items():
        if key not in OVERRIDABLE:
            _ignored(key, f"use {', '.join(OVERRIDABLE)}")
            continue
        try:
            checked = Settings.model_validate({variable(key): value})
        except ValidationError as error:
            _ignored(key, error.errors(include_url=False, include_input=False)[0]["msg"])
            continue
        overrides[key] = getattr(checked, key)
    return overrides


def with_overrides(settings: Settings, project: Project | None) -> Settings:
    """The settings as they hold for one project: its own, within the operator's limits."""
    if project is None or not project.overrides:
        return settings
    overrides = parse_overrides(project.overrides) or {}
    for key, asked in overrides.items():
        limit = getattr(settings, key)
        if (key in AT_MOST and (asked or math.inf) > (limit or math.inf)) or (key in AT_LEAST and asked < limit):
            overrides[key] = limit
            _limited(key, asked, limit)
    return settings.model_copy(update=overrides)


def _read(store: ObjectStore, uid: str) -> tuple[Project | None, Token | None]:
    try:
        return load(Project, store, _key(uid))
    except NotFound:
        return None, None


@lru_cache(maxsize=256)
def _limited(key: str, asked: float, limit: float) -> None:
    """Once for each value: settings are read at every look at a project."""
    bound = "at most" if key in AT_MOST else "at least"
    logger.warning(
        f"extra param {key!r} asks for {asked}, the operator allows {bound} {variable(key)}={limit}",
        extra={"event": "override_limited"},
    )


def _ignored(key: object, why: str) -> None:
    logger.warning(f"extra param {str(key)[:50]!r} is ignored: {why}", extra={"event": "override_ignored"})


def _key(uid: str) -> str:
    return f"projects/{quote(uid, safe='')}/project.json"
