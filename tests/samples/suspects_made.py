"""A list of suspects beside a version, as a job leaves it."""

from hashlib import sha256
from typing import Any

from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.suspects import SUSPECTS, Suspect, SuspectList, identity
from shared.state.versions import FileEntry, Manifest


def suspect(task: int, kind: str = "missing", **fields: Any) -> Suspect:
    """One of a task; by default something that nobody annotated."""
    given: dict[str, Any] = {
        "kind": kind,
        "rarity": 0.97,
        "task": task,
        "annotation": 100 + task,
        "digest": f"{task:064x}",
        "found": "Tree",
        "found_box": (10.0, 20.0, 5.0, 6.0),
        "confidence": 0.31,
        "reason": "Tree is found here, and nothing is annotated",
    } | fields
    return Suspect(id=identity(task, kind, *fields.items()), **given)


def with_suspects(
    store: ObjectStore, uid: str, manifest: Manifest, *suspects: Suspect, data: bytes | None = None
) -> Manifest:
    """The manifest with a list, which is put into the store. `data`: its bytes, if they are to be others."""
    found = SuspectList(
        control=manifest.control, judge="", judged=20, tasks=100, count=len(suspects), suspects=suspects
    )
    body = found.to_json() if data is None else data
    digest = sha256(body).hexdigest()
    store.put(keys.file(uid, manifest.control, digest, SUSPECTS), body)
    entry = FileEntry(name=SUSPECTS, sha256=digest, size=len(body))
    lineage = manifest.lineage | {"suspects": len(suspects)}
    return evolve(manifest, files=(*manifest.files, entry), lineage=lineage)
