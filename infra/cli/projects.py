"""Finds the project, the control and the version that a person means."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from shared.errors import BadRequest, NotKnown
from shared.labelstudio.requests import project_id
from shared.objectstore import ObjectStore
from shared.readable import readable
from shared.side_by_side import side_by_side
from shared.state.projects import projects, read_title
from shared.state.registry import Registry
from shared.state.versions import Manifest

_NAMED = 20  # projects that an error names


def find_project(store: ObjectStore, wanted: str | None) -> str:
    """The uid of the project that `wanted` (id or uid) names; None: the only one. Raises NotKnown."""
    known = list(projects(store))
    if wanted is None:
        found = known
    else:
        try:
            number = project_id(wanted)
        except BadRequest as error:
            raise NotKnown(f"{wanted!r} is neither the id nor the uid of a project (1 or 1.1795332051)") from error
        found = [uid for uid in known if uid == wanted or ("." not in wanted and project_id(uid) == number)]
    if len(found) == 1:
        return found[0]
    asked = "--project is needed" if wanted is None else f"project {wanted}"
    if not known:
        raise NotKnown(no_project_yet(store.url))
    if not found:
        raise NotKnown(f"the store {store.url} holds no {asked}; it holds {_named(store, known)}")
    raise NotKnown(
        f"{asked}: the store {store.url} holds {_named(store, found)}; give one of these ids as --project, or the uid "
        "where ids are the same"
    )


def no_project_yet(store_url: str) -> str:
    """What to do where the store holds nothing: perhaps it is the wrong store."""
    return (
        f"the store {store_url} holds no project yet: run `labelloop up --project N` or `labelloop connect` first; "
        "where one is connected already, run this in the folder in which `labelloop up` made labelloop.env, or set "
        "LABELLOOP_STORE"
    )


def _named(store: ObjectStore, uids: list[str]) -> str:
    """The projects with their titles, for a person."""
    shown = uids[:_NAMED]
    titles = side_by_side(partial(read_title, store), shown)
    names = [f"{uid} ({readable(title)})" if title else uid for uid, title in zip(shown, titles, strict=True)]
    more = len(uids) - len(shown)
    return ", ".join(names) + (f" and {more} more" if more else "")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The control of a project that a subcommand is about."""

    store: ObjectStore
    uid: str  # of the project
    control: str  # its name

    @property
    def registry(self) -> Registry:
        """Its versions."""
        return Registry(self.store, self.uid)

    def version(self, number: int) -> Manifest:
        """The manifest of one of its versions. Raises NotKnown, which names those there are."""
        return find_version(self.registry, self.control, number)

    def as_json(self) -> dict[str, Any]:
        """How answers for scripts begin."""
        return {"project": self.uid, "control": self.control}


def choose(store: ObjectStore, project: str | None, control: str | None) -> Chosen:
    """What --project and --control name; None: the only one that has versions. Raises NotKnown."""
    uid = find_project(store, project)
    return Chosen(store, uid, find_control(store, uid, control))


def find_control(store: ObjectStore, uid: str, wanted: str | None) -> str:
    """The name of a control that has versions; `wanted` None: the only one. Raises NotKnown."""
    registry = Registry(store, uid)
    folders = registry.controls()  # also of a control whose first training has uploaded files
    known = [name for name, numbers in zip(folders, side_by_side(registry.numbers, folders), strict=True) if numbers]
    if wanted in known:
        return wanted
    if wanted is None and len(known) == 1:
        return known[0]
    if not known:
        raise NotKnown(f"project {uid} has no version of any control yet")
    asked = "--control is needed" if wanted is None else f"project {uid} has no versions of a control {wanted!r}"
    raise NotKnown(f"{asked}; there are versions of {', '.join(map(repr, known))}")


def find_version(registry: Registry, control: str, version: int) -> Manifest:
    """The manifest of a version. Raises NotKnown, which names the versions there are."""
    registry.require(control, version)
    if registry.was_deleted(control, version):
        raise NotKnown(f"v{version} of {control!r} was deleted: its files are gone")
    return registry.manifest(control, version)
