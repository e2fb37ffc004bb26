"""What the store keeps: killed after any write, and beside any other process, all that is needed is still there."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from functions.train_trigger.status.project import read_status
from shared.errors import LabelloopError, NotFound, NotKnown, PreconditionFailed, StoreError
from shared.objectstore import ObjectStore
from shared.settings import Settings
from shared.state import keys
from shared.state.jobs import Jobs
from shared.state.keeping import Keep
from shared.state.pruning import planned, prune
from shared.state.registry import Registry
from shared.state.rollback import move_pointer
from tests.fakes.keeping_parts import BEGIN, UID, Fate, History, Killed, Memory
from tests.fakes.stores import Clocked

KEEP = Keep(runs=2, versions=2)


def whole(store: Any, control: str, version: int) -> bool:
    """Whether a version's manifest and files are in the store."""
    registry = Registry(store, UID)
    try:
        manifest = registry.manifest(control, version)
    except NotFound:
        return False
    return all(keys.file(UID, control, entry.sha256, entry.name) in set(store.list("")) for entry in manifest.files)


def needed(store: Any, keep: Keep) -> tuple[set[tuple[str, int]], set[str]]:
    """What must not be deleted, computed independently: (control, version) of versions, keys of runs and records."""
    jobs, registry = Jobs(store, UID), Registry(store, UID)
    runs = sorted({key.split("/")[2] for key in store.list("runs/")})[-keep.runs :]
    claim = jobs.read().training
    versions: set[tuple[str, int]] = set()
    for control in registry.controls():
        pointer, rejected = registry.pointer(control), registry.rejected(control)
        good = [one.version for one in registry.versions(control) if one.gate.passed and one.version not in rejected]
        if pointer:
            versions |= {(control, pointer.version)}
            versions |= {(control, one) for one in [one for one in good if one < pointer.version][-keep.versions :]}
            if serving := registry.serving(control):
                versions.add((control, serving.version))
        versions |= {(control, one.version) for one in registry.versions(control) if one.run_id in runs}
    keys = {f"projects/{UID}/jobs.json"}
    for run_id in runs:
        mine = set(store.list(f"runs/{UID}/{run_id}/"))
        keys |= mine if claim and claim.run_id == run_id else {key for key in mine if "/checkpoints/" not in key}
    if claim:  # what it uploaded and has not published
        keys |= {key for key in store.list(f"projects/{UID}/models/") if "/files/" in key and key in UPLOADED}
    return versions, keys


UPLOADED: set[str] = set()
"""Keys of the live run's files that no manifest names yet."""


def assert_all_there(store: Any, versions: set[tuple[str, int]], keys: set[str]) -> None:
    assert keys <= set(store.list(""))
    for control, version in versions:
        assert whole(store, control, version), f"v{version} of {control} is not whole"
    shown = {control.name for control in read_status(store, UID, Settings()).controls}
    assert shown >= {control for control, _ in versions}


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[str, bytes], set[str]]:
    """The store of a project after some runs, with the uploads of a run in progress."""
    store = Memory()
    history = History(store)
    fates_of_one: list[Fate] = ["promoted", "promoted", "held back", "nothing"]
    fate = st.sampled_from(fates_of_one)
    for fates in draw(st.lists(st.fixed_dictionaries({"a": fate, "b": fate}), min_size=1, max_size=7)):
        history.run(fates)
        for control in ("a", "b"):
            pointer, versions = history.registry.pointer(control), history.registry.versions(control)
            what = draw(st.sampled_from(["", "", "roll back", "reject"]))
            if what == "reject" and versions:
                history.registry.reject(control, draw(st.sampled_from(versions)).version, "damaged")
            if what == "roll back" and pointer:
                attempt(store, control, draw(st.sampled_from(versions)).version)
    uploaded: set[str] = set()
    if draw(st.booleans()):
        claim = history.begin()
        if draw(st.booleans()):
            history.publish("a", claim)
        entry = history.upload("b")
        uploaded = {keys.file(UID, "b", entry.sha256, entry.name)}
    return store.objects, uploaded


def attempt(store: Any, control: str, version: int) -> None:
    """A person rolls back; a refusal is fine."""
    try:
        move_pointer(store, UID, control, version)
    except LabelloopError:
        return


def operations(objects: dict[str, bytes], kind: str, act: Callable[[Memory], object]) -> int:
    """Number of operations of a kind that `act` does."""
    store, counted = Memory(objects), itertools.count()
    store.before = lambda operation: next(counted) if operation == kind else None
    act(store)
    return next(counted)


@given(histories())
@hypothesis_settings(max_examples=8)
def test_killed_after_any_write_everything_that_is_needed_is_there(made: tuple[dict[str, bytes], set[str]]) -> None:
    objects, uploaded = made
    UPLOADED.clear()
    UPLOADED.update(uploaded)
    versions, keys = needed(Memory(objects), KEEP)
    numbers = {control: Registry(Memory(objects), UID).numbers(control) for control in ("a", "b")}
    writes = operations(objects, "write", lambda store: prune(store, UID, KEEP))
    for kill_at in range(writes + 1):
        store = Memory(objects)
        counted = itertools.count()

        def kill(operation: str, counted: Any = counted, kill_at: int = kill_at) -> None:
            if operation == "write" and next(counted) == kill_at:
                raise Killed

        store.before = kill
        try:
            prune(store, UID, KEEP)
        except Killed:
            assert kill_at < writes
        store.before = lambda _: None
        assert_all_there(store, versions, keys)
        prune(store, UID, KEEP)
        assert planned(store, UID, KEEP) == []
        assert_all_there(store, versions, keys)
    for control in ("a", "b"):
        kept = Registry(store, UID).numbers(control)
        assert len(kept) <= 1 + 2 * KEEP.versions + KEEP.runs + 1
        assert kept[-1:] == numbers[control][-1:], "no number is given twice"
    assert len({key.split("/")[2] for key in store.list("runs/")}) <= KEEP.runs + 1
    before = len(store.objects)
    assert before <= 2 * (3 * (2 + 2 * KEEP.versions + KEEP.runs) + 2) + 6 * (KEEP.runs + 1) + 1


@pytest.mark.parametrize("version", [1, 3, 4])
def test_a_rollback_at_any_moment_of_it_ends_with_a_whole_version(version: int) -> None:
    """And a whole prune at any moment of a rollback: to one that goes, to the newest that goes, to one that stays."""
    made, control = Memory(), "a"
    for _ in range(6):
        History(made).run({"a": "promoted"})
    objects = made.objects
    one: Callable[[Any], object] = lambda store: prune(store, UID, KEEP)  # noqa: E731
    other: Callable[[Any], object] = lambda store: attempt(store, control, version)  # noqa: E731
    for first, second in ((one, other), (other, one)):
        for kind in ("read", "write"):
            for moment in range(operations(objects, kind, first)):
                store, counted = Memory(objects), itertools.count()

                def meddle(
                    operation: str, store: Memory = store, counted: Any = counted, kind: str = kind,
                    moment: int = moment, second: Callable[[Any], object] = second,
                ) -> None:  # fmt: skip
                    if operation == kind and next(counted) == moment:
                        store.before = lambda _: None
                        second(store)

                store.before = meddle
                first(store)
                pointer = Registry(store, UID).pointer(control)
                assert pointer is not None
                assert whole(store, control, pointer.version), f"{kind} {moment}"
                prune(store, UID, KEEP)
                assert whole(store, control, pointer.version)


def test_what_goes_and_why(store: Any) -> None:
    """On every kind of store: eight runs of which the third and the last were held back, one rollback too far."""
    history = History(Clocked(store, BEGIN))
    for number in range(8):
        history.run({"a": "held back" if number in (2, 7) else "promoted"})
    store.put(f"projects/{UID}/runs/20250101-000000-0000abcd/dataset.json", b"{}")
    removed = {removal.what: removal.why for removal in prune(store, UID, KEEP)}
    assert {what: why for what, why in removed.items() if what.startswith("v")} == {
        "v1 of 'a'": "more than 2 good ones are newer",
        "v2 of 'a'": "more than 2 good ones are newer",
        "v3 of 'a'": "the gate held it back, and its run is not one of the newest 2",
        "v4 of 'a'": "more than 2 good ones are newer",
    }
    assert sum(what.startswith("run 20") for what in removed) == 6
    assert sum(what.startswith("checkpoints of run 20") for what in removed) == 2
    assert removed["runs of an older labelloop"] == "nothing reads them any more"
    assert "no version names them" in removed["files of 'a'"]
    assert Registry(store, UID).numbers("a") == [5, 6, 7, 8]
    with pytest.raises(NotKnown, match="has no version v4; there are v5, v6, v7, v8"):
        move_pointer(store, UID, "a", 4)
    assert move_pointer(store, UID, "a", 5)[1].moved
    assert prune(store, UID, KEEP) == []


def test_a_version_that_is_on_its_way_out_is_never_pointed_at(file_store: ObjectStore) -> None:
    history = History(Clocked(file_store, BEGIN))
    for _ in range(4):
        history.run({"a": "promoted"})
    pointer = history.registry.pointer("a")
    assert pointer is not None
    history.registry.withdraw("a", [1], seen=pointer)  # and the process is killed
    with pytest.raises(NotKnown, match="v1 of 'a' is being removed"):
        move_pointer(file_store, UID, "a", 1)
    with pytest.raises(PreconditionFailed):
        history.registry.withdraw("a", [2], seen=pointer)
    generous = Keep(runs=100, versions=100)
    assert [one.what for one in prune(file_store, UID, generous) if one.version] == ["v1 of 'a'"]
    assert prune(file_store, UID, generous) == []
    found = history.registry.pointer("a")
    assert found is not None
    assert (found.withdrawn, found.version) == ((), 4)


def test_a_control_without_a_pointer_keeps_its_manifests(file_store: ObjectStore) -> None:
    """They cannot be withdrawn; their files are deleted."""
    history = History(Clocked(file_store, BEGIN))
    for _ in range(5):
        history.run({"a": "held back"})
    prune(file_store, UID, KEEP)
    assert history.registry.numbers("a") == [1, 2, 3, 4, 5]
    assert [whole(file_store, "a", number) for number in range(1, 6)] == [False, False, False, True, True]
    assert prune(file_store, UID, KEEP) == []


def test_what_cannot_be_read_is_not_pruned(file_store: ObjectStore) -> None:
    history = History(Clocked(file_store, BEGIN))
    for _ in range(5):
        history.run({"a": "promoted"})
    key = keys.manifest(UID, "a", 3)
    file_store.put(key, json.dumps({"version": "of a much newer labelloop"}).encode())
    before = list(file_store.list(""))
    with pytest.raises(StoreError, match=key):
        prune(file_store, UID, KEEP)
    assert list(file_store.list("")) == before
