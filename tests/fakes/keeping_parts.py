"""A store in memory, and the history of a project as the real parts write it: for the tests of what is kept."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from shared.errors import AlreadyExists, NotFound, PreconditionFailed
from shared.objectstore import Stored, Token
from shared.state import claims, keys
from shared.state.jobs import Jobs
from shared.state.jobs_record import Claim
from shared.state.registry import Registry
from shared.state.runs import Progress, RunRequest, new_run_id
from shared.state.versions import GRAPH, WEIGHTS, FileEntry, Gate, Manifest
from tests.fakes.stores import Clocked

UID = "7.1700000000"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
Fate = Literal["promoted", "held back", "nothing"]


class Killed(BaseException):
    """No `except Exception` saves a process from that."""


class Memory:
    """A store in a dictionary. `before(operation)` is called before each: it may end the process, or do anything."""

    url = "memory:"

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})
        self.before: Callable[[str], object] = lambda _: None
        self.time = BEGIN

    def get(self, key: str, if_changed_from: Token | None = None) -> Stored | None:
        self.before("read")
        if key not in self.objects:
            raise NotFound(key)
        return Stored(self.objects[key], Token(self.objects[key].hex()))

    def create(self, key: str, data: bytes) -> Token:
        self.before("write")
        if key in self.objects:
            raise AlreadyExists(key)
        return self._set(key, data)

    def replace(self, key: str, data: bytes, token: Token) -> Token:
        self.before("write")
        if key not in self.objects or self.objects[key].hex() != token:
            raise PreconditionFailed(key)
        return self._set(key, data)

    def put(self, key: str, data: bytes) -> Token:
        self.before("write")
        return self._set(key, data)

    def delete(self, key: str) -> None:
        self.before("write")
        self.objects.pop(key, None)

    def list(self, prefix: str) -> Iterator[str]:
        self.before("read")
        yield from sorted(key for key in self.objects if key.startswith(prefix))

    def folders(self, folder: str) -> Iterator[str]:
        keys = self.list(f"{folder}/")
        yield from sorted({key.removeprefix(f"{folder}/").partition("/")[0] for key in keys})

    def upload(self, key: str, path: Path) -> None:
        self.create(key, path.read_bytes())

    def download(self, key: str, path: Path) -> None:
        stored = self.get(key)
        assert stored
        path.write_bytes(stored.data)

    def now(self) -> datetime:
        return self.time

    def _set(self, key: str, data: bytes) -> Token:
        self.objects[key] = data
        return Token(data.hex())


class History:
    """Runs of a project, as the real parts write them."""

    def __init__(self, store: Memory | Clocked) -> None:
        self.store: Any = store
        self.jobs, self.registry = Jobs(self.store, UID), Registry(self.store, UID)
        self.files = itertools.count(len(list(store.list(""))))

    def run(self, fates: dict[str, Fate]) -> None:
        claim = self.begin()
        for control, fate in fates.items():
            self.upload(control)  # of an attempt that was killed before it published
            if fate != "nothing":
                manifest = self.publish(control, claim, passed=fate == "promoted")
                if fate == "promoted":
                    pointer = self.registry.pointer(control)
                    expected = pointer.version if pointer else None
                    fence = max(claim.fence, self.registry.fence())
                    self.registry.promote(
                        control, manifest.version, fence=fence, run_id=claim.run_id, expected=expected
                    )
        self.jobs.update(claims.release, claim, outcome="promoted")
        self.jobs.runs.write_progress(claim.run_id, Progress(phase="finished", attempt=1, updated_at=BEGIN))

    def begin(self) -> Claim:
        self.store.time += timedelta(minutes=1)
        claim = self.jobs.update(claims.take, new_run_id(self.store.now()), lifetime=600, forced=True).held
        self.jobs.runs.write_request(
            RunRequest(run_id=claim.run_id, project_uid=UID, project_id=7, reason="test", created_at=BEGIN)
        )
        claim = self.jobs.update(claims.start, claim.run_id, nonce=claim.run_id, lifetime=600).held
        self.store.create(keys.run(UID, claim.run_id, "dataset.json"), b"{}")
        for name in ("1-1.pt", keys.checkpoint_index(1)):
            self.store.put(f"{keys.checkpoints(UID, claim.run_id, 'a')}/{name}", b"")
        return claim

    def upload(self, control: str, name: str = WEIGHTS) -> FileEntry:
        entry = FileEntry(name=name, sha256=f"{next(self.files):064x}", size=1)
        self.store.create(keys.file(UID, control, entry.sha256, entry.name), b"x")
        return entry

    def publish(self, control: str, claim: Claim, *, passed: bool = True) -> Manifest:
        gate = Gate(metric="m", challenger=1, champion=None, champion_version=None, passed=passed, reason="test")
        files = self.upload(control), self.upload(control, GRAPH)

        def build(number: int) -> Manifest:
            return Manifest(
                version=number, control=control, yolo_task="detect", labels=("a",), files=files, metrics={},
                gate=gate, lineage={}, run_id=claim.run_id, fence=claim.fence, created_at=BEGIN,
            )  # fmt: skip

        return self.registry.publish(control, build)
