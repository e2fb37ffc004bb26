"""`labelloop prune` and `labelloop forget`: remove what need not be kept, or a whole project, from the store."""

from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from functions.train_trigger.status.project import Unreadable
from infra.cli.output import table_of
from shared.errors import LabelloopError, StoreRefusal
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.keeping import Keep, Removal
from shared.state.projects import projects
from shared.state.pruning import keys_of, planned, prune

_LAST = ("/project.json", "/jobs.json")
"""Ends of the keys that `forget` removes last: while they are there, a second try knows the project and goes on."""


def known_uids(store: ObjectStore) -> list[str]:
    """The uids of all projects of which the store holds anything, also what a job wrote after `forget`."""
    return sorted({*projects(store), *projects(store, folder="runs")})


def prune_projects(
    store: ObjectStore, uids: list[str], settings: Settings, *, dry_run: bool
) -> tuple[dict[str, list[Removal]], list[Unreadable]]:
    """uid → what was removed, or with `dry_run` would be; and the projects that cannot be read. Raises StoreError.

    Images are removed only if jobs do not keep any in the store (LABELLOOP_IMAGE_CACHE_IN_STORE): which ones a project
    still names, only its runs know.
    """
    images = None if settings.image_cache_in_store else frozenset[str]()
    removals, unreadable = {}, []
    for uid in uids:
        try:
            removals[uid] = (planned if dry_run else prune)(store, uid, Keep.of(settings), images)
        except StoreRefusal as error:  # nothing of it is removed: a file may be one that the record names
            unreadable.append(Unreadable(uid, str(error)))
    return removals, unreadable


def removals_as_json(removals: dict[str, list[Removal]], *, dry_run: bool) -> dict[str, Any]:
    """The removals for scripts."""
    return {
        "dry_run": dry_run,
        "projects": {
            uid: [{"what": one.what, "why": one.why, "keys": list(one.keys)} for one in found]
            for uid, found in removals.items()
        },
    }


def render_removals(removals: dict[str, list[Removal]], *, dry_run: bool) -> RenderableType:
    """The removals for a terminal."""
    parts: list[RenderableType] = []
    for uid, found in removals.items():
        if not found:
            continue
        table = table_of("would go" if dry_run else "removed", "objects", "why")
        table.title, table.title_justify = f"project {uid}", "left"
        for one in found:
            table.add_row(escape(one.what), str(len(one.keys)), escape(one.why))
        parts.append(table)
    return Group(*parts) if parts else Text("Nothing to remove.")


def forget_project(store: ObjectStore, uid: str) -> int:
    """Remove everything of a project from the store; answers the number of objects. If killed, a second call goes on.

    Pointers are removed first, so that none names what is not there. Raises LabelloopError while a run is active.
    """
    jobs = Jobs(store, uid)

    def close(record: JobsRecord, now: datetime) -> JobsRecord:
        for claim in filter(None, (record.training, record.prelabel)):
            if claim.expires_at <= now:
                continue
            raise LabelloopError(
                f"run {claim.run_id} of project {uid} is active: wait until it has ended (`labelloop status`), or end "
                "it (`labelloop stop`)"
            )
        return evolve(record, closed=True, training=None, prelabel=None)

    jobs.update(close)  # so that no sweep starts anything for it meanwhile
    keys = keys_of(store, uid)
    last = [key for key in keys if key.endswith(_LAST) and key.count("/") == 2]
    rest = sorted((key for key in keys if key not in last), key=lambda key: not key.endswith("/pointer.json"))
    for key in rest:
        store.delete(key)
    left = jobs.read()
    if left.training or left.prelabel:
        raise LabelloopError(
            f"a run of project {uid} began meanwhile: take the connection away in Label Studio (Settings → Model) first"
        )
    for key in sorted(last, reverse=True):  # jobs.json after project.json
        store.delete(key)
    return len(keys)
