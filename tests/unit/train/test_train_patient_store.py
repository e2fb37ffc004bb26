"""An outage is waited out whatever is asked of the store; its answers are answers; a lost claim ends the waiting."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.train.patient_store import PatientStore
from shared.errors import AlreadyExists, ClaimLost, NotFound, PreconditionFailed, StoreError
from shared.objectstore import ObjectStore, Token
from shared.state import claims, launches
from shared.state.heartbeat import Heartbeat
from shared.state.jobs import Jobs
from tests.fakes.stores import UNREACHABLE
from tests.fakes.train_parts import UID, begin_run


class Away:
    """A store that does not answer the next `times` questions; `meanwhile` happens at each."""

    def __init__(self, inside: ObjectStore) -> None:
        self.inside, self.url = inside, inside.url
        self.times = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        def ask(*arguments: Any) -> Any:
            if self.times:
                self.times -= 1
                self.meanwhile()
                raise UNREACHABLE
            return getattr(self.inside, name)(*arguments)

        return ask


class World:
    """A claim that is held, and a store that is asked while it is."""

    def __init__(self, store: ObjectStore) -> None:
        self.jobs, self.lost = Jobs(store, UID), threading.Event()
        self.claim = self.jobs.update(claims.start, begin_run(store).run_id, nonce="ours", lifetime=600).held
        self.heartbeat = Heartbeat(self.jobs, self.claim, lifetime=0.06, longest_run=3600, on_lost=self.lost.set)
        self.away = Away(store)
        self.store: ObjectStore = PatientStore(self.away, self.heartbeat)

    def lose(self) -> None:
        self.jobs.update(launches.next_attempt, self.claim, lifetime=600, error="it was silent")
        assert self.lost.wait(30)


@pytest.fixture
def world(file_store: ObjectStore) -> World:
    return World(file_store)


def test_every_verb_waits_out_an_outage(world: World, file_store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"file")
    token = file_store.put("there/one", b"1")
    asked: dict[str, Callable[[], object]] = {
        "get": lambda: world.store.get("there/one"),
        "get unchanged": lambda: world.store.get("there/one", token),
        "create": lambda: world.store.create("created", b"2"),
        "replace": lambda: world.store.replace("there/one", b"3", token),
        "put": lambda: world.store.put("put", b"4"),
        "delete": lambda: world.store.delete("put"),
        "list": lambda: list(world.store.list("there/")),
        "folders": lambda: list(world.store.folders("projects")),
        "upload": lambda: world.store.upload("uploaded", tmp_path / "file"),
        "download": lambda: world.store.download("uploaded", tmp_path / "copy"),
        "now": lambda: world.store.now(),
    }
    for verb, ask in asked.items():
        world.away.times = 1
        answer = ask()
        assert world.away.times == 0, verb
        if verb in ("list", "get unchanged"):
            assert answer == {"list": ["there/one"], "get unchanged": None}[verb]
    assert (tmp_path / "copy").read_bytes() == b"file"
    found = file_store.get("there/one")
    assert found is not None
    assert found.data == b"3"


def test_answers_are_not_waited_out(world: World, file_store: ObjectStore) -> None:
    file_store.put("there", b"1")
    with pytest.raises(NotFound):
        world.store.get("nothing")
    with pytest.raises(AlreadyExists):
        world.store.create("there", b"2")
    with pytest.raises(PreconditionFailed):
        world.store.replace("there", b"2", Token("another"))


def test_a_lost_claim_ends_the_waiting_and_all_that_follows(world: World) -> None:
    world.away.times, world.away.meanwhile = 1, world.lose
    with world.heartbeat:
        with pytest.raises(StoreError, match="the network broke"):
            world.store.put("key", b"1")
        assert world.heartbeat.lost
        with pytest.raises(ClaimLost):
            world.store.put("key", b"1")
