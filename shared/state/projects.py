"""`projects/<uid>/project.json`: labeling config, title, and the settings that a project has for itself."""

import json
import logging
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field, ValidationError

from shared.errors import StoreRefusal
from shared.evolve import evolve
from shared.labelstudio.requests import is_uid
from shared.objectstore import ObjectStore
from shared.settings import Settings, variable
from shared.state import keys
from shared.state.records import Record, find, update

logger = logging.getLogger(__name__)

OVERRIDABLE = (
    "min_annotations",
    "changed_share",
    "cool_down",
    "longest_run",
    "budget_day",
    "budget_month",
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
NEVER_ABOVE = ("longest_run", "budget_day", "budget_month", "epochs", "patience", "image_size", "batch", "max_objects")
NEVER_BELOW = ("cool_down",)
"""The operator's values of these are limits, since they cost machine time: a project may lower those of NEVER_ABOVE and
raise those of NEVER_BELOW. Patience 0 is without end, epochs and batch 0 are chosen: as the operator's value they are
no limit, as a project's they count as the greatest."""
_PATIENCE = 2.0  # seconds of losing to other writers; Label Studio waits 3 s for a setup


Connection = Literal["inbound", "outbound", "none"]
"""Whether Label Studio calls labelloop (backend, webhook), or the sweep alone asks Label Studio, or nothing happens by
itself since a person disconnected the project."""


class Project(Record):
    """`project.json`."""

    label_config: str
    title: str = ""
    overrides: dict[str, Any] = Field(default_factory=dict)
    push: bool = False  # predictions are written into Label Studio ahead (`labelloop connect`, LABELLOOP_PUSH)
    connection: Connection = "inbound"
    shown_before: str = ""  # the model_version that annotators saw before; `labelloop disconnect` puts it back
    hidden_before: bool = False  # annotators were shown no predictions before; so they are after `labelloop disconnect`
    sampling_before: str = ""  # Label Studio's order of tasks before a job set its own; empty: none has


def projects(store: ObjectStore, *, folder: Literal["projects", "runs"] = "projects") -> Iterator[str]:
    """The uid of every project that has something in the folder. Other folders in it, such as a copy, are none."""
    yield from filter(is_uid, map(keys.decode, store.folders(folder)))


def projects_of(store: ObjectStore, number: int) -> list[str]:
    """The uids of the projects with an id, ascending: several installations may have one. Lists keys, reads nothing."""
    return sorted({keys.decode(key.split("/")[1]) for key in store.list(f"{keys.PROJECTS}/{number}.")})


def read_project(store: ObjectStore, uid: str) -> Project | None:
    """None if nobody has set the project up yet."""
    return find(Project, store, keys.project(uid))[0]


def read_title(store: ObjectStore, uid: str) -> str:
    """What people call it; empty if nobody has said, or if the record is no valid one: nothing depends on it."""
    try:
        project = read_project(store, uid)
    except StoreRefusal:
        return ""
    return project.title if project else ""


def write_project(
    store: ObjectStore,
    uid: str,
    *,
    label_config: str | None = None,
    title: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    push: bool | None = None,
    connection: Connection | None = None,
    shown_before: str | None = None,
    hidden_before: bool | None = None,
    sampling_before: str | None = None,
) -> Project:
    """Store what has changed, by compare-and-swap; answers the record. None keeps what is stored. Raises StoreError."""

    def change(known: Project | None) -> Project | None:
        before = known or Project(label_config="")
        project = evolve(
            before,
            label_config=before.label_config if label_config is None else label_config,
            title=before.title if title is None else title,
            overrides=before.overrides if overrides is None else dict(overrides),
            push=before.push if push is None else push,
            connection=connection or before.connection,
            shown_before=before.shown_before if shown_before is None else shown_before,
            hidden_before=before.hidden_before if hidden_before is None else hidden_before,
            sampling_before=before.sampling_before if sampling_before is None else sampling_before,
        )
        return None if project == known else project

    project = update(Project, store, keys.project(uid), change, patience=_PATIENCE)
    assert project is not None  # `change` answers None only for a project that is stored
    return project


def parse_overrides(extra_params: Any) -> dict[str, Any] | None:
    """The overrides in a backend's extra params, a JSON object or a string that holds one. None: there are no params.

    Unknown and wrong ones are logged by name and left out: a typing error in Label Studio's page must not disconnect
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
    """The settings of one project: its overrides, within the operator's limits, over the operator's settings."""
    if project is None or not project.overrides:
        return settings
    overrides = parse_overrides(project.overrides) or {}
    for key, asked in overrides.items():
        limit = getattr(settings, key)
        if (key in NEVER_ABOVE and (asked or math.inf) > (limit or math.inf)) or (key in NEVER_BELOW and asked < limit):
            overrides[key] = limit
            _limited(key, asked, limit)
    return evolve(settings, **overrides)


@lru_cache(maxsize=256)
def _limited(key: str, asked: float, limit: float) -> None:
    """Log it once for each value: settings are read each time that a project is reconciled."""
    bound = "at most" if key in NEVER_ABOVE else "at least"
    logger.warning(
        f"extra param {key!r} asks for {asked}, the operator allows {bound} {variable(key)}={limit}",
        extra={"event": "override_limited"},
    )


def _ignored(key: object, why: str) -> None:
    logger.warning(f"extra param {str(key)[:50]!r} is ignored: {why}", extra={"event": "override_ignored"})
