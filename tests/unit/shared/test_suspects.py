"""Lists of suspects beside versions, and what people dismissed of them."""

from typing import Any

import pytest

from shared.errors import StoreRefusal
from shared.evolve import evolve
from shared.objectstore import ObjectStore
from shared.state import keys
from shared.state.deletion import delete_version
from shared.state.registry import Registry
from shared.state.suspects import SUSPECTS, Listed, dismiss, newest_first, read_dismissals, read_suspects
from tests.samples.shown_projects import manifest, publish
from tests.samples.suspects_made import suspect, with_suspects

UID = "1.1700000000"


def listed(store: ObjectStore) -> Listed | None:
    return read_suspects(store, UID, "label", newest_first(Registry(store, UID), "label"))


def put(store: ObjectStore, version: int, *suspects: Any, **more: Any) -> None:
    made = with_suspects(store, UID, manifest(version, store.now()), *suspects, **more)
    publish(store, UID, "label", made)


def test_the_newest_version_that_has_a_list_is_asked(file_store: ObjectStore) -> None:
    assert listed(file_store) is None
    put(file_store, 1, suspect(1), suspect(2))
    put(file_store, 2, suspect(3))
    publish(file_store, UID, "label", manifest(3, file_store.now()))  # of an older labelloop
    file_store.put(keys.manifest(UID, "label", 4), b"{")
    found = listed(file_store)
    assert found is not None
    assert (found.version, found.judge, [one.task for one in found.open]) == (2, "v2", [3])


def test_the_list_of_a_version_that_was_deleted_is_none(file_store: ObjectStore) -> None:
    put(file_store, 1, suspect(1))
    held_back = manifest(2, file_store.now())
    held_back = evolve(held_back, gate=evolve(held_back.gate, passed=False))
    publish(file_store, UID, "label", with_suspects(file_store, UID, held_back, suspect(2)))
    delete_version(file_store, UID, "label", 2)
    found = listed(file_store)
    assert found is not None
    assert (found.version, [one.task for one in found.open]) == (1, [1])


def test_what_is_dismissed_stays_so_until_the_annotation_changes(file_store: ObjectStore) -> None:
    first, second = suspect(1), suspect(2, "loose", label="Tree", box=(10.0, 20.0, 6.0, 6.0))
    put(file_store, 1, first, second)
    dismiss(file_store, UID, "label", [first])
    dismiss(file_store, UID, "label", [first])
    assert len(read_dismissals(file_store, UID, "label").dismissed) == 1
    found = listed(file_store)
    assert found is not None
    assert (found.open, found.dismissed) == ((second,), 1)

    moved = evolve(first, found_box=(10.5, 20.0, 5.0, 6.0), id="another")  # the next version sees it a little elsewhere
    elsewhere = evolve(first, found_box=(60.0, 20.0, 5.0, 6.0))
    other = evolve(first, kind="swapped", label="Rock")
    changed = evolve(first, digest="f" * 64)
    put(file_store, 2, moved, elsewhere, other, changed)
    found = listed(file_store)
    assert found is not None
    assert found.open == (elsewhere, other, changed)


def test_whole_images_are_dismissed_too(file_store: ObjectStore) -> None:
    chosen = suspect(1, "swapped", label="Clear", found="Cloudy", found_box=None)
    dismiss(file_store, UID, "label", [chosen])
    assert read_dismissals(file_store, UID, "label").hold(evolve(chosen, confidence=0.9))


def test_a_newer_labelloops_dismissals_are_kept(file_store: ObjectStore) -> None:
    dismiss(file_store, UID, "label", [suspect(1)])
    key = keys.dismissals(UID, "label")
    stored = file_store.get(key)
    assert stored
    file_store.put(key, stored.data.replace(b'"serial"', b'"of_a_newer": 1, "serial"'))
    dismiss(file_store, UID, "label", [suspect(2)])
    stored = file_store.get(key)
    assert stored
    assert b'"of_a_newer": 1' in stored.data
    assert len(read_dismissals(file_store, UID, "label").dismissed) == 2


def test_a_damaged_list_says_so(file_store: ObjectStore) -> None:
    put(file_store, 1, data=b"[]")
    with pytest.raises(StoreRefusal, match="is no list of suspects"):
        listed(file_store)
    put(file_store, 2, suspect(1))
    entry = next(file for file in Registry(file_store, UID).manifest("label", 2).files if file.name == SUSPECTS)
    file_store.put(keys.file(UID, "label", entry.sha256, SUSPECTS), b"{}")
    with pytest.raises(StoreRefusal, match="is damaged"):
        listed(file_store)
