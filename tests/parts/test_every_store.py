"""What versions and claims ask of a store, on every kind of it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shared.errors import PreconditionFailed
from shared.objectstore import ObjectStore
from shared.objectstore.selftest import check_store, ensure_checked
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.registry import Registry
from shared.state.versions import WEIGHTS
from tests.fakes.stores import OverwritesOnCreate
from tests.samples.versions import UID, publish, served


def test_concurrent_publishes_take_one_number_each(store: ObjectStore) -> None:
    runs = [f"run-{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(lambda run_id: publish(Registry(store, UID), run_id), runs))
    assert sorted(numbers) == list(range(1, 9))
    found = Registry(store, UID).versions("label")
    assert [(one.version, one.run_id) for one in found] == sorted(zip(numbers, runs, strict=True))


def test_of_concurrent_promotions_one_wins(store: ObjectStore) -> None:
    for number in range(1, 9):
        publish(Registry(store, UID), f"run-{number}")

    def promote(number: int) -> bool:
        try:
            return (
                Registry(store, UID).promote("label", number, fence=1000, run_id=f"run-{number}", expected=None).moved
            )
        except PreconditionFailed:
            return False

    with ThreadPoolExecutor(8) as threads:
        winners = [number for number, won in zip(range(1, 9), threads.map(promote, range(1, 9)), strict=True) if won]
    assert winners == [served(Registry(store, UID))]


def test_files_are_stored_once_and_verified(store: ObjectStore, tmp_path: Path) -> None:
    registry = Registry(store, UID)
    weights = tmp_path / WEIGHTS
    weights.write_bytes(b"weights")
    entry = registry.upload_file("label", WEIGHTS, weights)
    assert registry.upload_file("label", WEIGHTS, weights) == entry
    assert len(list(store.list("projects/"))) == 1
    registry.download_file("label", entry, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"weights"


def test_of_concurrent_claims_one_wins(store: ObjectStore) -> None:
    def compete(number: int) -> str:
        return Jobs(store, UID).update(claims.take, f"run-{number}", lifetime=600).held.run_id

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(compete, range(8)))
    assert len(set(answers)) == 1


def test_a_good_store_passes_and_is_left_as_it_was(store: ObjectStore) -> None:
    check_store(store)
    assert list(store.list("")) == []


def test_the_result_is_kept_in_the_store(store: ObjectStore) -> None:
    ensure_checked(store)
    assert list(store.list("")) == ["labelloop/selftest.json"]
    ensure_checked(OverwritesOnCreate(store))  # not run again
